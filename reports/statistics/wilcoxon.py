"""Wilcoxon's signed-rank test over repeats."""

import math
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from reports.statistics._assumptions import independent, symmetric
from reports.statistics._effects import effect_sizes, signed_ranks
from reports.statistics._statistic import Design, Measured, PairResult, PairTest, differences

EXACT_UP_TO = 50


class Wilcoxon(PairTest):
    """W = min(W+, W-) of the ranked differences, zeros dropped, with its exact law also where ranks are tied.

    scipy's exact law holds without ties only, and beyond 13 repeats it falls back on the normal one; here that happens
    beyond 50. `difference` is the Hodges-Lehmann pseudo-median of all differences, zeros included, and the interval is
    of it. Flagged where repeats overlap.
    """

    title = "Wilcoxon signed rank"
    source = "Wilcoxon 1945, Biometrics Bulletin 1; Hodges & Lehmann 1963, Annals of Mathematical Statistics 34"

    def between(self, a: Measured, b: Measured, design: Design) -> PairResult:
        d = differences(a, b)
        ranks = signed_ranks(d)
        dropped = len(d) - len(ranks)
        middle, low, high = _hodges_lehmann(d, design.alpha)
        return PairResult(
            test=self.title,
            difference=middle,
            n=len(ranks),
            unit="repeats",
            low=low,
            high=high,
            p=_two_sided(ranks),
            statistic=float(min(ranks[ranks > 0].sum(), abs(ranks[ranks < 0].sum()))),
            **effect_sizes(a, b),
            smallest_p=min(1.0, 2.0 ** (1 - len(ranks))),
            assumptions=(independent(design), symmetric(d, design)),
            independence_violated=design.overlap,
            note=f"{dropped} of {len(d)} differences are zero and not ranked" if dropped else "",
        )


def _two_sided(ranks: np.ndarray) -> float:
    """Return p of signed ranks (n,): every sign pattern is as likely as any other."""
    if len(ranks) > EXACT_UP_TO:
        return float(2 * ndtr(-abs(ranks.sum()) / math.sqrt((ranks**2).sum())))
    doubled = np.rint(2 * np.abs(ranks)).astype(int)  # a tie of an even number has half a rank
    least = min(doubled[ranks > 0].sum(), doubled[ranks < 0].sum())
    return min(1.0, 2 * float(_law(tuple(sorted(doubled)))[: least + 1].sum()))


@lru_cache(maxsize=256)
def _law(steps: tuple[int, ...]) -> np.ndarray:
    """Return P(sum = 0), P(sum = 1) ... where each of `steps` is added or not by a fair coin."""
    law = np.ones(1)
    for step in steps:
        law = (np.pad(law, (0, step)) + np.pad(law, (step, 0))) / 2
    return law


def _hodges_lehmann(d: np.ndarray, alpha: float) -> tuple[float, float | None, float | None]:
    """Return the median of the means of all pairs, with its interval; None where the repeats are too few for one."""
    i, j = np.triu_indices(len(d))
    means = np.sort((d[i] + d[j]) / 2)
    cut = int(np.searchsorted(np.cumsum(_law(tuple(range(1, len(d) + 1)))), alpha / 2, side="right"))
    middle = float(np.median(means))
    return (middle, float(means[cut - 1]), float(means[-cut])) if cut else (middle, None, None)
