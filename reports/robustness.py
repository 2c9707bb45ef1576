"""What a study has stored of its models beyond their predictions: scores under disturbances, and what a call costs."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.evidence import CHANCE, Evidence
from reports.measures import Measures
from stores.studies import StudyStore

REMOVED, NOISE = "removed", "noise"


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """One model on one metric under one condition: mean and standard deviation over `n` repeats.

    `undisturbed` is the mean of the same repeats as they are; None where the metric is undefined there. `sd` is None
    of a single repeat. `level` of noise is in standard deviations.
    """

    model: str
    condition: str
    modality: str | None
    level: float | None
    metric: str
    mean: float
    sd: float | None
    n: int
    undisturbed: float | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a call of one model takes for `batch` samples, in microseconds, measured on `device`.

    `flops` are those of the matrix products of the call.
    """

    model: str
    batch: int
    median_us: float
    p95_us: float
    parameters: int
    input_width: int
    flops: int
    device: str


def read_robustness(store: StudyStore, evidence: Evidence, measures: Measures) -> tuple[Disturbed, ...]:
    """Return the scores under disturbances of the runs of a report; empty if the study has none."""
    position = {part.repeat: i for i, part in enumerate(evidence.held_out)}
    runs = evidence.runs.select(["run_id", "model", "repeat"]).to_pylist()
    place = {row["run_id"]: (row["model"], position[row["repeat"]]) for row in runs}
    found: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
    for row in store.log("robustness").to_pylist():
        if row["run_id"] in place:
            model, where = place[row["run_id"]]
            found[model, row["condition"], row["modality"], row["level"], row["metric"]][where] = row["value"]
    return tuple(_disturbed(key, found[key], measures) for key in sorted(found, key=_order))


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    model, condition, modality, level, metric = key
    return model, condition != REMOVED, modality or "", level or 0.0, metric


def _disturbed(key: tuple[Any, ...], by_repeat: dict[int, float], measures: Measures) -> Disturbed:
    model, condition, modality, level, metric = key
    order = sorted(by_repeat)
    values, clean = np.array([by_repeat[i] for i in order]), measures.table[model].get(metric)
    return Disturbed(
        model=model,
        condition=condition,
        modality=modality,
        level=level,
        metric=metric,
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        n=len(values),
        undisturbed=None if clean is None else float(np.asarray(clean.repeats)[order].mean()),
    )


def read_costs(store: StudyStore, evidence: Evidence) -> tuple[Cost, ...]:
    """Return what the models of a report cost, by model and batch; empty if the study has not timed them.

    Rows of other settings of a model are left out; those of before rows named their run are taken for want of better.
    """
    run_ids = set(evidence.runs["run_id"].to_pylist())
    models = {model.name for model in evidence.models} - {CHANCE}
    rows = [row for row in store.log("latency").to_pylist() if row["run_id"] in run_ids or row["run_id"] is None]
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["run_id"] is None, row["median_us"], row["p95_us"])):
        if row["model"] in models:
            best.setdefault((row["model"], row["batch"]), row)
    return tuple(_cost(best[key]) for key in sorted(best))


def _cost(row: dict[str, Any]) -> Cost:
    return Cost(**{name: value for name, value in row.items() if name != "run_id"})
