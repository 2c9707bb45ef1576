"""The page: one HTML file with its style and figures inside, read without a network or a script."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports import words
from reports.drawing import Figure, palette_css
from reports.metrics import METRICS, PAPER_METRICS
from reports.results import Results
from reports.robustness_figures import batches, cost_rows, removed_rows
from reports.searches import in_words, opened
from reports.selection import listed
from reports.tables import weights_by_emotion
from reports.tried import tried_settings

GROUPS = (
    "gains", "scores", "confusions", "recalls", "weights", "emotion_weights", "dropped", "noise", "curves", "classes",
)  # fmt: skip
COST_STAGES = ("read", "decode", "embed", "write", "waiting")
FILTERS = ("percent", "points", "exact", "number", "listed", "sentence")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(words, name) for name in FILTERS})
    return environment


def render_page(results: Results, figures: Sequence[Figure]) -> str:
    """Return `index.html`. Every text from data is escaped; only our own style and SVG are not."""
    room = files("reports")
    by_group = {group: [figure for figure in figures if figure.group == group] for group in GROUPS}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            results=results,
            facts=results.facts,
            method=results.method,
            figures=by_group,
            style=Markup(palette_css() + "\n" + room.joinpath("report.css").read_text(encoding="utf-8")),  # noqa: S704
            svg=lambda figure: Markup(figure.svg),  # noqa: S704
            paper=json.loads(room.joinpath("paper.json").read_text(encoding="utf-8")),
            summary=words.summary(results),
            shape=words.shape_of(results),
            labels=words.labels_of(results),
            names=words.NAMES,
            listed=listed(results),
            by_emotion=weights_by_emotion(results),
            titles=words.TITLES,
            verdict_of=words.verdict_of,
            rival_of=words.rival_of,
            span=words.span,
            metrics=METRICS,
            paper_metrics=PAPER_METRICS,
            provenance=_provenance(results.facts),
            stages=COST_STAGES,
            costs=[(name, _cost(cost)) for name, cost in sorted(results.facts.get("extraction", {}).items())],
            tried=tried_settings(results.facts),
            removed=removed_rows(results),
            cost_rows=cost_rows(results),
            batches=batches(results.costs),
            searched=words.sentence(in_words(results.searches)),
            opened=opened(results.openings),
            features=[(name, _feature(feature)) for name, feature in sorted(results.facts["features"].items())],
        )
    )


def _provenance(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts of a study that fit on one line each."""
    corpus, protocol = facts["corpus"], facts["protocol"]
    return [
        ("study", facts["name"]),
        ("snapshot", facts["snapshot"]),
        ("seed", str(facts["seed"])),
        ("corpus", f"{corpus['name']} ({corpus['pairing']})"),
        ("source", corpus["source"]),
        ("licence", corpus["licence"]),
        ("label scheme", facts["scheme"]),
        ("groups kept together", ", ".join(facts["groups"]) or "none"),
        ("protocol", ", ".join(f"{name} = {value}" for name, value in sorted(protocol.items()) if value is not None)),
        ("absent modalities", facts["missing"]),
    ]


def _feature(feature: Mapping[str, Any]) -> list[str]:
    """Return extractor, weights, feature ids, encoders, rows, devices and versions of a feature as text."""
    encoders = _first_of(feature.get("encoders") or ())
    computed_on = feature.get("computed_on") or {}
    return [
        feature["extractor"],
        feature["weights"],
        _first_of(feature["ids"]),
        f"{encoders} ({feature['encoder_samples']})" if encoders else "none",
        str(feature["rows"]),
        "; ".join(f"{name}: {value}" for name, value in sorted(computed_on.items())),
        "; ".join(feature.get("versions") or ()),
    ]


def _cost(cost: Mapping[str, Any]) -> list[str]:
    """Return rows, seconds, rows a second, seconds of every stage, and how busy the device was, as text.

    Stages of one thread have their share too; several read and decode, how many no seal says.
    """
    rows, seconds, stages = cost["rows"], cost["seconds"], cost["stages"]
    if not rows or not seconds:  # sealed before receipts told of stages
        return [str(rows), *["\N{EN DASH}"] * (3 + len(COST_STAGES))]
    shares = {stage: f"{100 * stages.get(stage, 0.0) / seconds:.0f} %" for stage in ("embed", "write", "waiting")}
    told = [", ".join([f"{stages.get(name, 0.0):.1f} s", *filter(None, [shares.get(name)])]) for name in COST_STAGES]
    return [str(rows), f"{seconds:.1f}", f"{rows / seconds:.1f}", *told, shares["embed"]]


def _first_of(ids: Sequence[str]) -> str:
    return " and ".join([*ids[:1], *([f"{len(ids) - 1} more"] if len(ids) > 1 else [])])
