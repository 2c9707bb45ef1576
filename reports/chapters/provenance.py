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

COST_STAGES = ("read", "decode", "embed", "write", "waiting")


@dataclass(frozen=True, kw_only=True)
class Took:
    """What one kind of work took in all, and where: `wall_s` None where no seconds are stored, `on` empty likewise."""

    work: str
    count: int
    unit: str
    wall_s: float | None
    on: str


@dataclass(frozen=True, kw_only=True)
class Origins:
    """The facts of a study as text: `study` by name; `features` and `extraction` as one row of cells each."""

    took: tuple[Took, ...]
    study: tuple[tuple[str, str], ...]
    features: tuple[tuple[str, tuple[str, ...]], ...]
    extraction: tuple[tuple[str, tuple[str, ...]], ...]


class Provenance(Chapter[Origins]):
    """Everything needed to find the inputs again."""

    title = "Provenance"

    def compute(self, case: Case) -> Origins:
        facts = case.evidence.facts
        costs = sorted(facts.get("extraction", {}).items())
        return Origins(
            took=tuple(_took(case)),
            study=tuple(_provenance(facts)),
            features=tuple((name, tuple(_feature(feature))) for name, feature in sorted(facts["features"].items())),
            extraction=tuple((name, tuple(_cost(cost))) for name, cost in costs),
        )

    def tables(self, value: Origins, results: Results) -> Mapping[str, Rows]:
        return {"took": [vars(row) for row in value.took]}

    def context(self, value: Origins, results: Results) -> Mapping[str, Any]:
        return {"stages": COST_STAGES, "opened": opened(results.openings)}


def _took(case: Case) -> Iterable[Took]:
    """Yield extraction, training of encoders and of heads, and the timing of calls, as far as they are stored."""
    facts, making, timed = case.evidence.facts, case.value(Workflow), case.value(Costs)
    for name, cost in sorted(facts.get("extraction", {}).items()):
        on = "; ".join(sorted(facts["features"].get(name, {}).get("computed_on") or {}))
        seconds = cost["seconds"] or None
        yield Took(work=f"extraction of {name}", count=cost["rows"], unit="rows", wall_s=seconds, on=on)
    for encoder in making.encoders if making else ():
        if encoder.trained:
            work = f"training of {encoder.modality} encoders"
            yield Took(
                work=work,
                count=encoder.trained,
                unit="encoder" if encoder.trained == 1 else "encoders",
                wall_s=encoder.training_s,
                on="",
            )
    if making:
        total = sum(model.total_s for model in making.models)
        count = sum(model.runs for model in making.models)
        yield Took(work="training of heads", count=count, unit="runs", wall_s=total, on="")
    if timed:
        devices = " and ".join(dict.fromkeys(cost.device for cost in timed.costs))
        yield Took(work="timing of calls", count=len(timed.costs), unit="timings", wall_s=None, on=devices)


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
