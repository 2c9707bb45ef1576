"""Effect sizes of paired differences, the same whatever test they are given beside."""

import math
from typing import TypedDict

import numpy as np
from scipy.special import gammaln
from scipy.stats import rankdata

from reports.statistics._statistic import Measured, is_constant

DECIMALS = 12  # float noise beyond them must not break a tie


class Effects(TypedDict):
    """d_z is the mean over the deviation of the differences, d_av over the root of the mean of the models' variances;
    hedges_gz is d_z times Hedges' factor, rank_biserial (W+ - W-) / (W+ + W-). None where undefined.
    """

    d_z: float | None
    d_av: float | None
    hedges_gz: float | None
    rank_biserial: float | None


def effect_sizes(a: Measured, b: Measured) -> Effects:
    """Return the effect sizes of a - b by repeat. They depend on the split design: the gain itself comes first."""
    d = a.repeats - b.repeats
    mean, own = float(d.mean()), math.sqrt((a.repeats.var(ddof=1) + b.repeats.var(ddof=1)) / 2)
    ranks = signed_ranks(d)
    d_z = None if is_constant(float(d.std(ddof=1)), mean) else mean / float(d.std(ddof=1))
    return {
        "d_z": d_z,
        "d_av": None if is_constant(own, float(a.repeats.mean())) else mean / own,
        "hedges_gz": None if d_z is None else d_z * _hedges_factor(len(d) - 1),
        "rank_biserial": float(ranks.sum() / np.abs(ranks).sum()) if len(ranks) else None,
    }


def signed_ranks(d: np.ndarray) -> np.ndarray:
    """Return the ranks of |d|, each with the sign of its difference, without zeros; ties have their mean rank."""
    rounded = np.round(d, DECIMALS)
    kept = rounded[rounded != 0]
    ranks: np.ndarray = np.sign(kept) * rankdata(np.abs(kept))
    return ranks


def _hedges_factor(df: float) -> float:
    return math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / math.sqrt(df / 2)
