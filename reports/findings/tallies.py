"""Figures of sums over test predictions, with the interval the protocol's primary procedure gives them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.case import Case
from reports.errors import StatisticsError
from reports.measures import RESAMPLED, Measures, rounds_of
from reports.statistics._statistic import Measured
from reports.statistics.clustered_bootstrap import FEWEST_GROUPS, group_weights

SHARE = (0.0, 1.0)
SIGNED = (-1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A figure and its interval; `reason` says why one of them is None, or what to mind.

    The estimate is the mean over the repeats in which the figure is defined, in a clustered design that of all test
    parts together.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def row(self, name: str) -> dict[str, Any]:
        """Return the figure and its interval as cells of a table: `name`, `name_low`, `name_high`."""
        return {name: self.estimate, f"{name}_low": self.low, f"{name}_high": self.high}


class Tallies:
    """Sums over test predictions by repeat and, in a clustered design, by draws of whole groups.

    Predictions are those of all test parts in a row, (N,); the draws are those of `reports/measures.py`, as
    many of them as the report asks for at least.
    """

    def __init__(self, case: Case) -> None:
        parts = case.evidence.held_out
        self.sizes = [len(part.labels) for part in parts]
        self._measures = case.measures
        self._repeat = np.repeat(np.arange(len(parts)), self.sizes)
        self._draws: np.ndarray | None = None
        if case.evidence.protocol not in RESAMPLED:
            turn, (names, group) = rounds_of(parts), case.evidence.group_index
            self._rounds, self._unit = int(turn.max()) + 1, turn * len(names) + group
            draws = case.config.draws if len(names) >= FEWEST_GROUPS else 0
            self._draws = group_weights(len(names), draws, case.config.seed)

    def rates(
        self,
        slots: np.ndarray,
        n_slots: int,
        values: Sequence[np.ndarray | None],
        figure: Callable[[np.ndarray], np.ndarray],
        bounds: tuple[float, float],
    ) -> list[Rate]:
        """Return what `figure` makes of the sums, (..., n_slots, V) -> (..., R), as R rates cut at `bounds`.

        `slots` (N,) int64 is the slot a prediction is added to; `values` are V of (N,) float64, or None to count.
        """
        repeats = figure(self._sums(self._repeat, len(self.sizes), slots, n_slots, values))
        if self._draws is None:
            return [rate_of(self._measures, Measured(repeats=own), bounds) for own in repeats.T]
        sums = self._sums(self._unit, self._rounds * self._draws.shape[1], slots, n_slots, values)
        by_group = sums.reshape(self._rounds, -1, n_slots, len(values)).swapaxes(0, 1)
        drawn = (self._draws @ by_group.reshape(len(by_group), -1)).reshape(-1, *by_group.shape[1:])
        pooled, draws = figure(by_group.sum(axis=0)).mean(axis=0), figure(drawn).mean(axis=1)
        return [
            rate_of(self._measures, Measured(repeats=own, pooled=float(point), draws=draw), bounds)
            for own, point, draw in zip(repeats.T, pooled, draws.T, strict=True)
        ]

    def _sums(
        self, unit: np.ndarray, units: int, slots: np.ndarray, n_slots: int, values: Sequence[np.ndarray | None]
    ) -> np.ndarray:
        """Return (units, n_slots, V) float64."""
        cell = unit * n_slots + slots
        found = [np.bincount(cell, weights=own, minlength=units * n_slots) for own in values]
        return np.stack(found, axis=-1).astype(np.float64).reshape(units, n_slots, len(values))


def rate_of(measures: Measures, measured: Measured, bounds: tuple[float, float]) -> Rate:
    """Return a measured figure with its interval, cut at `bounds`; NaN is a repeat in which it is undefined."""
    defined = np.isfinite(measured.repeats)
    estimate = measured.pooled
    if estimate is None:
        estimate = float(measured.repeats[defined].mean()) if defined.any() else np.nan
        if not defined.all():
            reason = f"undefined in {int((~defined).sum())} of {len(defined)} repeats"
            return Rate(estimate=estimate if defined.any() else None, reason=reason)
    if not np.isfinite(estimate):
        return Rate(estimate=None, reason="undefined")
    try:
        found = measures.primary.interval(measured, measures.design)
    except StatisticsError as error:
        return Rate(estimate=estimate, reason=str(error))
    if found.low is None or found.high is None:
        return Rate(estimate=estimate, reason=found.note)
    return Rate(estimate=estimate, low=max(bounds[0], found.low), high=min(bounds[1], found.high), reason=found.note)
