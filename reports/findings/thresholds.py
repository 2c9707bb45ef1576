"""Every threshold on a posterior, one class against the rest: ROC, precision and recall, and what they sum up to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One class against the rest: `hits` of its samples and `alarms` of others get at least a posterior, (t,) int64.

    One entry a distinct posterior, the strictest first; the last counts all samples.
    """

    hits: np.ndarray
    alarms: np.ndarray

    @property
    def told(self) -> bool:
        """Whether there are samples of the class, and others."""
        return bool(self.hits[-1] and self.alarms[-1])


def sweep(labels: np.ndarray, posteriors: np.ndarray) -> tuple[Sweep, ...]:
    """Return the sweep of every class of a test part: labels (n,), posteriors (n, K)."""
    return tuple(_sweep(labels == k, np.ascontiguousarray(own)) for k, own in enumerate(posteriors.T))


def _sweep(truth: np.ndarray, posterior: np.ndarray) -> Sweep:
    order = np.argsort(-posterior)
    values = posterior[order]
    ends = np.flatnonzero(np.r_[values[1:] != values[:-1], True])
    hits = np.cumsum(truth[order])[ends]
    return Sweep(hits=hits, alarms=ends + 1 - hits)


def areas(found: Sequence[Sweep]) -> np.ndarray:
    """Return AUC and average precision by class, (2, K) float64; NaN of a class that has no samples, or all.

    Average precision is the sum over thresholds of precision times the step in recall, without interpolation.
    """
    return np.array([(_auc(own), _average_precision(own)) if own.told else (np.nan, np.nan) for own in found]).T


def _auc(own: Sweep) -> float:
    heights = own.hits + np.r_[0, own.hits[:-1]]
    return float((np.diff(own.alarms, prepend=0) * heights).sum() / 2 / (own.hits[-1] * own.alarms[-1]))


def _average_precision(own: Sweep) -> float:
    precision = own.hits / (own.hits + own.alarms)
    return float((np.diff(own.hits, prepend=0) * precision).sum() / own.hits[-1])


def curves(found: Sequence[Sweep], grid: np.ndarray) -> np.ndarray:
    """Return recall by false positive rate, and precision by recall, (2, K, G) on `grid` (G,); NaN as in `areas`.

    ROC points are joined by lines, and the highest is taken where one rate has several. Precision is that of the
    strictest threshold that reaches a recall, as average precision takes it.
    """
    curves = np.full((2, len(found), len(grid)), np.nan)
    for k, own in enumerate(found):
        if own.told:
            curves[0, k] = np.interp(grid, np.r_[0, own.alarms] / own.alarms[-1], np.r_[0, own.hits] / own.hits[-1])
            reached = np.searchsorted(own.hits, grid * own.hits[-1] - 1e-9)
            curves[1, k] = (own.hits / (own.hits + own.alarms))[reached]
    return curves
