"""Modality weights: of a head for all samples, and each sample's own, summed up. They describe; nothing is tested."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from reports.evidence import Evidence
from stores.studies import StudyStore

GIVEN = ("fixed",)  # heads whose weights are settings


@dataclass(frozen=True, kw_only=True)
class FittedWeight:
    """Weight of one modality in a head that weighs all samples alike: mean and standard deviation over `n` repeats.

    `label` is the emotion it is for in a head that learns weights for each, else None. `given` says that it is a
    setting, which no one fitted. `sd` is None of a single repeat.
    """

    model: str
    modality: str
    label: str | None
    given: bool
    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class SampleWeight:
    """Weight of one modality for the test samples of one emotion, in a head that weighs every sample by itself.

    Mean and standard deviation over the samples of a repeat, each averaged over the `repeats` that have any; `sd` is
    None if none has two. `n` counts test predictions over all repeats; samples a model sees nothing of are left out.
    """

    model: str
    modality: str
    label: str
    mean: float
    sd: float | None
    n: int
    repeats: int


def fitted_weights(evidence: Evidence, store: StudyStore) -> tuple[FittedWeight, ...]:
    """Return the weights, learned or given, of every model that weighs all samples alike."""
    table = store.weights()
    if table is None:
        return ()
    model_of = dict(zip(evidence.runs["run_id"].to_pylist(), evidence.runs["model"].to_pylist(), strict=True))
    table = table.filter(pc.is_in(table["run_id"], evidence.runs["run_id"].combine_chunks()))
    values: dict[tuple[str, str, int], list[float]] = {}
    for row in table.sort_by([("run_id", "ascending")]).to_pylist():
        number = -1 if row["label"] is None else evidence.classes.index(row["label"])
        values.setdefault((model_of[row["run_id"]], row["modality"], number), []).append(row["weight"])
    given = {model.name for model in evidence.models if model.head in GIVEN}
    return tuple(
        FittedWeight(
            model=model,
            modality=modality,
            label=None if number < 0 else evidence.classes[number],
            given=model in given,
            mean=statistics.fmean(own),
            sd=statistics.stdev(own) if len(own) > 1 else None,
            n=len(own),
        )
        for (model, modality, number), own in sorted(values.items())
    )


def sample_weights(evidence: Evidence) -> tuple[SampleWeight, ...]:
    """Return the weights by emotion of every model that weighs each sample by itself; none of an emotion untested."""
    labels = [part.labels for part in evidence.held_out]
    modalities = {model.name: sorted(model.modalities) for model in evidence.models}
    found = []
    for name, weights in sorted(evidence.weights.items()):
        for m, modality in enumerate(modalities[name]):
            for k, label in enumerate(evidence.classes):
                own = [
                    rows[(actual == k) & rows.any(axis=1), m].astype(np.float64)
                    for actual, rows in zip(labels, weights, strict=True)
                ]
                if seen := [rows for rows in own if len(rows)]:
                    found.append(_summed_up(name, modality, label, seen))
    return tuple(found)


def _summed_up(model: str, modality: str, label: str, rows: Sequence[np.ndarray]) -> SampleWeight:
    spreads = [float(own.std(ddof=1)) for own in rows if len(own) > 1]
    return SampleWeight(
        model=model,
        modality=modality,
        label=label,
        mean=statistics.fmean(float(own.mean()) for own in rows),
        sd=statistics.fmean(spreads) if spreads else None,
        n=sum(map(len, rows)),
        repeats=len(rows),
    )
