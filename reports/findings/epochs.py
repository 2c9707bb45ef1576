"""A measure of every epoch, summed up over trainings of different lengths."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
