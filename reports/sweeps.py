"""Every threshold on a posterior, one class against the rest: ROC, precision and recall, and what they sum up to."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Samples ordered by the posterior of each class, the largest first; all arrays are (n, K) int64 but `positives`.

    At each rank, once all samples tied with it are taken: `hits` are the true and `alarms` the false positives;
    `alarms_above` are the false positives above the tie, `truth` whether this sample is of the class. `positives` (K,).
    """

    truth: np.ndarray
    hits: np.ndarray
    alarms: np.ndarray
    alarms_above: np.ndarray
    positives: np.ndarray


def sweep(labels: np.ndarray, posteriors: np.ndarray) -> Sweep:
    """Order a test part of labels (n,) and posteriors (n, K) by every class."""
    n, classes = posteriors.shape
    order = np.argsort(-posteriors, axis=0, kind="stable")
    values = np.take_along_axis(posteriors, order, axis=0)
    truth = labels[order] == np.arange(classes)
    ranks = np.arange(n)[:, None]
    ends = np.concatenate([values[1:] != values[:-1], np.ones((1, classes), dtype=bool)])
    starts = np.concatenate([np.ones((1, classes), dtype=bool), ends[:-1]])
    last = np.minimum.accumulate(np.where(ends, ranks, n)[::-1], axis=0)[::-1]
    first = np.maximum.accumulate(np.where(starts, ranks, 0), axis=0)
    counted = np.cumsum(truth, axis=0)
    hits = np.take_along_axis(counted, last, axis=0)
    return Sweep(
        truth=truth.astype(np.int64),
        hits=hits,
        alarms=last + 1 - hits,
        alarms_above=first - np.take_along_axis(counted - truth, first, axis=0),
        positives=counted[-1],
    )


def areas(found: Sweep) -> tuple[np.ndarray, np.ndarray]:
    """Return AUC and average precision by class, each (K,); NaN of a class without positives or without negatives.

    Average precision is the sum over thresholds of precision times the step in recall, without interpolation.
    """
    n = len(found.truth)
    positives = found.positives.astype(np.float64)
    told = (positives > 0) & (positives < n)
    with np.errstate(invalid="ignore", divide="ignore"):
        alarms = (found.truth * (found.alarms_above + found.alarms)).sum(axis=0) / 2
        auc = 1 - alarms / (positives * (n - positives))
        precision = (found.truth * found.hits / (found.hits + found.alarms)).sum(axis=0) / positives
    return np.where(told, auc, np.nan), np.where(told, precision, np.nan)


def curves(found: Sweep, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return recall by false positive rate and precision by recall, each (K, G) on `grid` (G,); NaN as in `areas`.

    ROC points are joined by lines, and the highest is taken where one rate has several. Precision is that of the
    strictest threshold that reaches a recall, as average precision takes it.
    """
    n, classes = found.truth.shape
    roc, precision = np.full((2, classes, len(grid)), np.nan)
    for k in np.flatnonzero((found.positives > 0) & (found.positives < n)):
        hits, alarms, positives = found.hits[:, k], found.alarms[:, k], found.positives[k]
        roc[k] = np.interp(grid, np.r_[0, alarms] / (n - positives), np.r_[0, hits] / positives)
        reached = np.searchsorted(hits, grid * positives - 1e-9)
        precision[k] = hits[reached] / (hits + alarms)[reached]
    return roc, precision
