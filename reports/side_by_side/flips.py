"""Two reports side by side: which verdicts flip, what came out on each side, and what the studies differ in."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.errors import EvidenceError
from reports.evidence import Model
from reports.results import SCHEMA_VERSION
from reports.side_by_side.changes import Change, find_changes
from reports.words import NAMES, VERDICTS, exact, label_of, listed, number, points
from stores.identity import short_id
from stores.root import Root
from stores.studies import StudyStore

COMPARISON_SCHEMA = 1
_Key = tuple[str, str, str, str]  # family, metric, a, b


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two: results.json of its report, and by model what its runs were made with."""

    title: str
    results: Mapping[str, Any]
    specs: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """Which report a side is of; `primary_metric` and `reference` are those it states its verdicts on."""

    title: str
    report: str
    study: str
    primary_metric: str
    reference: str
    repeats: int
    samples: int


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one side says of a - b, shares: gain, loss or cannot tell, with its interval and corrected p."""

    verdict: str
    difference: float | None
    low: float | None
    high: float | None
    holm_p: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class VerdictFlip:
    """One verdict that is not the same on both sides: `how` it moved, and `because` of which changes it may have."""

    family: str
    metric: str
    a: str
    b: str
    first: Told
    second: Told
    how: str
    because: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ScorePair:
    """One model on one metric on both sides; None where a side has no such score. Not a test."""

    model: str
    metric: str
    first: float | None
    second: float | None


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Two reports, compared. `kept` counts the verdicts that are the same; `remarks` what could not be compared.

    `labels` are the short names of models, by the full ones.
    """

    schema_version: int
    id: str
    first: Heading
    second: Heading
    remarks: tuple[str, ...]
    flips: tuple[VerdictFlip, ...]
    kept: int
    changes: tuple[Change, ...]
    scores: tuple[ScorePair, ...]
    labels: Mapping[str, str]


def read_side(root: Root, results: Mapping[str, Any]) -> Side:
    """Return a side from the results.json of a report. Raises EvidenceError if another version wrote it."""
    if (found := results.get("schema_version")) != SCHEMA_VERSION:
        raise EvidenceError(
            f"results.json of {results['id']} has schema version {found}, expected {SCHEMA_VERSION}: write the report "
            "again"
        )
    runs = StudyStore.open(root, results["study"]).runs()
    chosen = set(results["runs"])
    specs: dict[str, Mapping[str, Any]] = {}
    for row in [] if runs is None else runs.select(["run_id", "model", "spec"]).to_pylist():
        if row["run_id"] in chosen and row["model"] not in specs:
            spec = json.loads(row["spec"])
            specs[row["model"]] = {name: spec[name] for name in sorted(spec) if name not in ("study", "repeat")}
    return Side(title=results["name"], results=results, specs=specs)


def compare_sides(first: Side, second: Side) -> SideBySide:
    """Return what flips and what differs. Whatever only one side has is remarked on, not refused."""
    one, other = _verdicts(first), _verdicts(second)
    shared = [key for key in one if key in other]
    changes = find_changes(first.results, second.results, first.specs, second.specs)
    flips = tuple(
        _flip(key, one[key], other[key], changes, first) for key in shared if one[key].verdict != other[key].verdict
    )
    return SideBySide(
        schema_version=COMPARISON_SCHEMA,
        id=short_id("compare", {"first": first.results["id"], "second": second.results["id"]}),
        first=_heading(first),
        second=_heading(second),
        remarks=tuple(_remarks(first, second, bool(shared))),
        flips=flips,
        kept=len(shared) - len(flips),
        changes=changes,
        scores=_scores(first, second),
        labels=_labels((*first.results["models"], *second.results["models"])),
    )


def _labels(models: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the names of the reports; a model whose short name is another's too keeps its full one."""
    own = {it["name"]: Model(**{**it, "modalities": tuple(it["modalities"])}) for it in models}
    everything = max((model.modalities for model in own.values()), key=len)
    labels = {name: label_of(model, everything) for name, model in own.items()}
    often = Counter(labels.values())
    return {name: label if often[label] == 1 else name for name, label in labels.items()}


def _heading(side: Side) -> Heading:
    results = side.results
    return Heading(
        title=side.title,
        report=results["id"],
        study=results["study"],
        primary_metric=results["method"]["primary_metric"],
        reference=results["reference"],
        repeats=results["method"]["repeats"],
        samples=sum(count["used"] for count in results["classes"]),
    )


def _verdicts(side: Side) -> dict[_Key, Told]:
    return {(c["family"], c["metric"], c["a"], c["b"]): _told(c) for c in side.results["comparisons"]}


def _told(comparison: Mapping[str, Any]) -> Told:
    primary = comparison["primary"] or {}
    return Told(
        verdict=VERDICTS[comparison["verdict"]],
        difference=primary.get("difference"),
        low=primary.get("low"),
        high=primary.get("high"),
        holm_p=comparison["holm_p"],
        reason=comparison["reason"],
    )


def _flip(key: _Key, first: Told, second: Told, changes: Iterable[Change], side: Side) -> VerdictFlip:
    family, metric, a, b = key
    modalities = {m for it in side.results["models"] if it["name"] in (a, b) for m in it["modalities"]}
    concerned = {family, a, b, *modalities}
    return VerdictFlip(
        family=family,
        metric=metric,
        a=a,
        b=b,
        first=first,
        second=second,
        how=_how(first, second),
        because=tuple(change.words for change in changes if not change.bears_on or concerned & set(change.bears_on)),
    )


def _how(first: Told, second: Told) -> str:
    """Say in points how estimate, half the interval and corrected p moved."""
    parts = [f"difference {points(first.difference)} → {points(second.difference)} pp"]
    halves = [None if t.low is None or t.high is None else 50 * (t.high - t.low) for t in (first, second)]
    if None not in halves:
        parts.append(f"half interval {number(halves[0], 1)} → {number(halves[1], 1)} pp")
    parts.append(f"Holm p {exact(first.holm_p)} → {exact(second.holm_p)}")
    parts += [f"{name}: {t.reason}" for name, t in (("A", first), ("B", second)) if t.reason]
    return "; ".join(parts)


def _remarks(first: Side, second: Side, shared: bool) -> Iterable[str]:
    one, other = first.results, second.results
    if one["id"] == other["id"]:
        yield "A and B are the same report."
    metrics = [side["method"]["primary_metric"] for side in (one, other)]
    if metrics[0] != metrics[1]:
        yield (
            f"The primary metrics differ: {NAMES[metrics[0]]} in A, {NAMES[metrics[1]]} in B. Verdicts are set beside "
            "each other on every metric that both sides tested."
        )
    if one["reference"] != other["reference"]:
        yield f"The references differ: {one['reference']} in A, {other['reference']} in B."
    labels = [[count["label"] for count in side["classes"]] for side in (one, other)]
    if labels[0] != labels[1]:
        yield (
            f"The classes differ: {_names(labels[0])} in A, {_names(labels[1])} in B. Scores over other classes cannot "
            "be set against each other; verdicts are shown as they are."
        )
    models = [{model["name"] for model in side["models"]} for side in (one, other)]
    for name, own, rest in (("A", models[0], models[1]), ("B", models[1], models[0])):
        if own - rest:
            yield f"Only in {name}: {_names(sorted(own - rest))}."
    if not shared:
        yield "No comparison is made on both sides, so no verdict can be set against another."


def _names(names: list[str]) -> str:
    most = 6
    return listed(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def _scores(first: Side, second: Side) -> tuple[ScorePair, ...]:
    one, other = (
        {(s["model"], s["metric"]): s["estimate"] for s in side.results["scores"]} for side in (first, second)
    )
    keys = [key for key in one if key in other]
    return tuple(ScorePair(model=m, metric=of, first=one[m, of], second=other[m, of]) for m, of in keys)
