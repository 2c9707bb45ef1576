"""What epochs tell: measures over trainings of different lengths, and which were not trained to the end."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.evidence import Evidence

MANY = 0.25  # of a model's runs: if more are unfinished, nothing is told to be above it
KEY = "weight of "  # what an epoch of a curve calls the weight of a modality


@dataclass(frozen=True, kw_only=True)
class EpochBand:
    """Median and quartiles over the trainings that reached each epoch."""

    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def band_by_epoch(runs: Sequence[Sequence[float]]) -> EpochBand:
    """Return the band of trainings, each a value an epoch; it is as long as the longest."""
    table = np.full((len(runs), max(map(len, runs))), np.nan)
    for row, run in zip(table, runs, strict=True):
        row[: len(run)] = run
    low, median, high = (tuple(own.tolist()) for own in np.nanquantile(table, [0.25, 0.5, 0.75], axis=0))
    return EpochBand(median=median, low=low, high=high)


def unfinished(evidence: Evidence) -> dict[str, int]:
    """Return, by model, how many of its runs the limit of epochs ended; none where there are none.

    A run that combines single modalities is as unfinished as any of these; runs of before this was noted say nothing.
    """
    if "unfinished" not in evidence.runs.column_names:
        return {}  # simulated, and nothing was trained
    rows = evidence.runs.select(["model", "repeat", "curves", "unfinished"]).to_pylist()
    combined = {row["model"] for row in rows if row["curves"] == "[]"}
    found = {}
    for model in evidence.trained:
        parts = {(modality,) for modality in model.modalities}
        voters = {m.name for m in evidence.trained if m.variant == model.variant and m.modalities in parts}
        own = voters if model.name in combined else {model.name}
        repeats = {row["repeat"] for row in rows if row["unfinished"] and row["model"] in own}
        if repeats:
            found[model.name] = len(repeats)
    return found


@dataclass(frozen=True, kw_only=True)
class WeightPath:
    """Weight of one modality after every epoch: median and quartiles over the repeats that reached it, at most `n`."""

    model: str
    modality: str
    n: int
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def weight_paths(evidence: Evidence, given: Sequence[str]) -> tuple[WeightPath, ...]:
    """Return the paths of all models whose curves hold weights, but of the heads `given`, which learn none."""
    curves: dict[tuple[str, str], list[list[float]]] = {}
    for row in evidence.runs.select(["model", "head", "curves"]).to_pylist():
        epochs: list[Mapping[str, float]] = json.loads(row["curves"]) if row["head"] not in given else []
        for key in (key for key in (epochs[0] if epochs else ()) if key.startswith(KEY)):
            own = curves.setdefault((row["model"], key.removeprefix(KEY)), [])
            own.append([epoch[key] for epoch in epochs])
    return tuple(
        WeightPath(model=model, modality=modality, n=len(own), **vars(band_by_epoch(own)))
        for (model, modality), own in sorted(curves.items())
    )
