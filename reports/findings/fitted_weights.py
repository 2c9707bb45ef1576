"""Weights that a head gives all samples alike, over repeats."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from reports.errors import StatisticsError
from reports.evidence import Evidence
from reports.heads import GIVEN
from reports.statistics._statistic import Design, Measured
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.paired_t import PairedT
from stores.studies import StudyStore


@dataclass(frozen=True, kw_only=True)
class FittedWeight:
    """Weight of one modality in a head that weighs all samples alike: mean and standard deviation over `n` repeats.

    `label` is the emotion it is for in a head that learns weights for each, else None. `given` says that it is a
    setting, which no one fitted. The interval of the mean has the variance factor 1/J + n2/n1 where repeats overlap,
    else 1/J; it and `sd` are None where they are undefined.
    """

    model: str
    modality: str
    label: str | None
    given: bool
    mean: float
    low: float | None
    high: float | None
    sd: float | None
    n: int


def fitted_weights(evidence: Evidence, store: StudyStore, design: Design) -> tuple[FittedWeight, ...]:
    """Return the weights, learned or given, of every model that weighs all samples alike."""
    found = weights_by_repeat(evidence, store)
    given = {model.name for model in evidence.models if model.head in GIVEN}
    return tuple(
        _fitted(model, modality, label, model in given, own, design)
        for (model, modality, label), by_repeat in found.items()
        for own in [list(by_repeat.values())]
    )


def weights_by_repeat(evidence: Evidence, store: StudyStore) -> dict[tuple[str, str, str | None], dict[int, float]]:
    """Return fitted weights by (model, modality, emotion or None), then by repeat."""
    table = store.weights()
    if table is None:
        return {}
    runs = {row["run_id"]: row for row in evidence.runs.select(["run_id", "model", "repeat"]).to_pylist()}
    rows = table.filter(pc.is_in(table["run_id"], evidence.runs["run_id"].combine_chunks())).to_pylist()
    number = {None: -1} | {label: k for k, label in enumerate(evidence.classes)}
    rows.sort(
        key=lambda row: (
            runs[row["run_id"]]["model"], row["modality"], number[row["label"]], runs[row["run_id"]]["repeat"]
        )
    )  # fmt: skip
    values: dict[tuple[str, str, str | None], dict[int, float]] = {}
    for row in rows:
        run = runs[row["run_id"]]
        values.setdefault((run["model"], row["modality"], row["label"]), {})[run["repeat"]] = row["weight"]
    return values


def _fitted(
    model: str, modality: str, label: str | None, given: bool, own: Sequence[float], design: Design
) -> FittedWeight:
    low, high = (None, None) if given else _interval(own, design)
    return FittedWeight(
        model=model,
        modality=modality,
        label=label,
        given=given,
        mean=statistics.fmean(own),
        low=low,
        high=high,
        sd=statistics.stdev(own) if len(own) > 1 else None,
        n=len(own),
    )


def _interval(own: Sequence[float], design: Design) -> tuple[float | None, float | None]:
    """Return the interval of a mean weight, cut at 0 and 1."""
    test = CorrectedResampledT() if design.overlap else PairedT()
    try:
        found = test.interval(Measured(repeats=np.array(own)), design)
    except StatisticsError:
        return None, None
    if found.low is None or found.high is None:
        return None, None
    return max(0.0, found.low), min(1.0, found.high)
