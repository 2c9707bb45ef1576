"""The page: one HTML file with its style and figures inside, read without a network; its one script only sorts."""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports import words
from reports.chapters._chapter import chapters
from reports.chapters.hypotheses import Hypotheses
from reports.drawing import Figure, palette_css
from reports.metrics import METRICS, PAPER_METRICS
from reports.results import Results
from reports.selection import listed
from reports.summary import summary

FILTERS = ("percent", "points", "exact", "number", "listed", "sentence")


@dataclass(frozen=True, kw_only=True)
class Section:
    """A chapter as it stands on the page."""

    name: str
    title: str
    body: Markup


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("reports", "page"), PackageLoader("reports", "chapters")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(words, name) for name in FILTERS})
    return environment


def render_page(results: Results, figures: Mapping[str, Sequence[Figure]]) -> str:
    """Return `index.html`. Every text from data is escaped; only our own style, script and SVG are not."""
    common, script, asked = _common(results), _own("sort.js"), results.value(Hypotheses)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            **common,
            figures=_by_group(figures["summary"]),
            chapters=_sections(results, figures, common),
            style=Markup(palette_css() + "\n" + _own("style.css")),  # noqa: S704
            script=Markup(script),  # noqa: S704
            script_digest=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
            summary=summary(results),
            answers=asked.answers if asked else (),
            shape=words.shape_of(results),
        )
    )


def _sections(results: Results, figures: Mapping[str, Sequence[Figure]], common: Mapping[str, Any]) -> list[Section]:
    found = []
    for name, chapter in chapters().items():
        if name in results.chapters:
            value = results.chapters[name]
            template = _environment().get_template(f"{name}.html.j2")
            body = template.render(
                **common, value=value, figures=_by_group(figures[name]), **chapter.context(value, results)
            )
            found.append(Section(name=name, title=chapter.title, body=Markup(body)))  # noqa: S704
    return found


def _common(results: Results) -> dict[str, Any]:
    """Return what every template may use."""
    shown = listed(results)
    more = len(results.models) - len(shown)
    return {
        "results": results,
        "facts": results.facts,
        "method": results.method,
        "svg": lambda figure: Markup(figure.svg),  # noqa: S704
        "labels": words.labels_of(results),
        "names": words.NAMES,
        "shown": shown,
        "others": f" {more} models on other modalities, or trained otherwise, are in the tables." if more else "",
        "verdict_of": words.verdict_of,
        "rival_of": words.rival_of,
        "span": words.span,
        "metrics": METRICS,
        "paper_metrics": PAPER_METRICS,
    }


def _by_group(figures: Sequence[Figure]) -> Mapping[str, list[Figure]]:
    """Return figures by group; a group without any is empty."""
    found: dict[str, list[Figure]] = defaultdict(list)
    for figure in figures:
        found[figure.group].append(figure)
    return found


def _own(name: str) -> str:
    return files("reports.page").joinpath(name).read_text(encoding="utf-8")
