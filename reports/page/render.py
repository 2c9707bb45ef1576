"""The page: one HTML file with its style and figures inside, read without a network; its one script only sorts."""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports import words
from reports.chapters._chapter import chapters as all_chapters
from reports.chapters._chapter import told
from reports.chapters.hypotheses import Hypotheses
from reports.drawing import Figure, palette_css
from reports.metrics import METRICS, PAPER_METRICS
from reports.results import Results
from reports.selection import shown_first
from reports.summary import summary

FILTERS = ("percent", "points", "exact", "number", "listed", "sentence", "counted", "plain")


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
    environment.globals["svg"] = lambda figure: Markup(figure.svg)  # noqa: S704
    environment.globals["style"] = Markup(palette_css() + "\n" + _own("style.css"))  # noqa: S704
    return environment


def render(template: str, /, **context: Any) -> Markup:
    """Return a filled template. Every text from data is escaped; only our own style, script and SVG are not."""
    return Markup(_environment().get_template(f"{template}.html.j2").render(**context))  # noqa: S704


def render_page(results: Results, figures: Mapping[str, Sequence[Figure]]) -> str:
    """Return `index.html`."""
    common, script, asked = _common(results), _own("sort.js"), results.value(Hypotheses)
    sections = [
        {
            "name": name,
            "title": chapter.title,
            "body": render(
                name, **common, value=value, figures=_by_group(figures[name]), **chapter.context(value, results)
            ),
        }
        for name, chapter, value in told(results)
    ]
    return render(
        "page",
        **common,
        figures=_by_group(figures["summary"]),
        chapters=sections,
        script=Markup(script),  # noqa: S704
        script_digest=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        summary=summary(results),
        absent=[chapter.title for name, chapter in all_chapters().items() if name not in results.chapters],
        answers=asked.answers if asked else (),
        shape=words.shape_of(results),
    )


def _common(results: Results) -> dict[str, Any]:
    """Return what every template may use."""
    shown = shown_first(results)
    more = len(results.models) - len(shown)
    return {
        "results": results,
        "facts": results.facts,
        "method": results.method,
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
