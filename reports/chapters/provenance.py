"""Where everything came from: corpus, features, runs, and what it took, on which hardware.

Seconds and devices are those sealed with rows, encoders and runs when they were made, never of this machine now.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.chapters.costs import Costs
from reports.chapters.workflow import Workflow
from reports.findings.searches import opened
from reports.results import Results
from reports.words import NONE, number

COST_STAGES = ("read", "decode", "embed", "write", "waiting")
ONE_THREAD = ("embed", "write", "waiting")


@dataclass(frozen=True, kw_only=True)
class Took:
    """What one kind of work took in all, and where: `wall_s` None where no seconds are stored, `on` empty likewise."""

    work: str
    count: int
    unit: str
    wall_s: float | None
    on: str


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """What extracting a feature took: rows, seconds of the loop, and by stage seconds and their share of the loop's.

    What is not known of a feature sealed before receipts told of stages is None or empty. Stages of one thread have
    a share; several read and decode, how many no seal says.
    """

    feature: str
    rows: int
    seconds: float | None
    rows_per_s: float | None
    stages: Mapping[str, float]
    shares: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Origins:
    """What making this study took; where its inputs are from say the facts of results.json."""

    took: tuple[Took, ...]
    extraction: tuple[Extracted, ...]


class Provenance(Chapter[Origins]):
    """Everything needed to find the inputs again."""

    title = "Provenance"

    def compute(self, case: Case) -> Origins:
        costs = sorted(case.evidence.facts.get("extraction", {}).items())
        return Origins(took=tuple(_took(case)), extraction=tuple(_extracted(name, cost) for name, cost in costs))

    def tables(self, value: Origins, results: Results) -> Mapping[str, Rows]:
        return {"took": [vars(row) for row in value.took]}

    def context(self, value: Origins, results: Results) -> Mapping[str, Any]:
        return {
            "study": _study(results.facts),
            "features": [(name, _feature(feature)) for name, feature in sorted(results.facts["features"].items())],
            "extraction": [(own.feature, _cells(own)) for own in value.extraction],
            "upstream": _upstream(results.facts),
            "stages": COST_STAGES,
            "opened": opened(results.openings),
        }


def _took(case: Case) -> Iterable[Took]:
    """Yield extraction, training of encoders and of heads, and the timing of calls, as far as they are stored."""
    facts, making, timed = case.evidence.facts, case.value(Workflow), case.value(Costs)
    for name, cost in sorted(facts.get("extraction", {}).items()):
        on = "; ".join(sorted(facts["features"].get(name, {}).get("computed_on") or {}))
        seconds = cost["seconds"] or None
        yield Took(work=f"extraction of {name}", count=cost["rows"], unit="rows", wall_s=seconds, on=on)
    for encoder in making.encoders if making else ():
        if encoder.trained:
            work, unit = f"training of {encoder.modality} encoders", "encoder" if encoder.trained == 1 else "encoders"
            yield Took(work=work, count=encoder.trained, unit=unit, wall_s=encoder.training_s, on="")
    if making:
        trained = [model for model in making.models if model.total_s is not None]
        total, count = sum(model.total_s or 0.0 for model in trained), sum(model.runs for model in trained)
        yield Took(work="training of heads", count=count, unit="runs", wall_s=total or None, on="")
    if timed:
        devices = " and ".join(dict.fromkeys(cost.device for cost in timed.costs))
        yield Took(work="timing of calls", count=len(timed.costs), unit="timings", wall_s=None, on=devices)


def _study(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts of a study that fit on one line each."""
    corpus, protocol = facts["corpus"], facts["protocol"]
    return [
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


def _upstream(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (modality, what its rows are made from) where that are rows of another feature."""
    made = {m: (own.get("identity") or {}).get("upstream") for m, own in sorted(facts["features"].items())}
    return [(modality, name.rpartition("-")[0]) for modality, name in made.items() if name]


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


def _extracted(name: str, cost: Mapping[str, Any]) -> Extracted:
    rows, seconds = cost["rows"], cost["seconds"]
    if not rows or not seconds:
        return Extracted(feature=name, rows=rows, seconds=None, rows_per_s=None, stages={}, shares={})
    stages = {stage: cost["stages"].get(stage, 0.0) for stage in COST_STAGES}
    shares = {stage: stages[stage] / seconds for stage in ONE_THREAD}
    return Extracted(
        feature=name, rows=rows, seconds=seconds, rows_per_s=rows / seconds, stages=stages, shares=shares
    )  # fmt: skip


def _cells(own: Extracted) -> list[str]:
    """Return rows, seconds, rows a second, seconds of every stage with its share, and how busy the device was."""
    shares = {stage: f"{100 * share:.0f} %" for stage, share in own.shares.items()}
    told = [", ".join([f"{s:.1f} s", *filter(None, [shares.get(stage)])]) for stage, s in own.stages.items()]
    stages = told or [NONE] * len(COST_STAGES)
    return [str(own.rows), number(own.seconds, 1), number(own.rows_per_s, 1), *stages, shares.get("embed", NONE)]


def _first_of(ids: Sequence[str]) -> str:
    return " and ".join([*ids[:1], *([f"{len(ids) - 1} more"] if len(ids) > 1 else [])])
