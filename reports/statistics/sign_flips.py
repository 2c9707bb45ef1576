"""Exact sign-flip test over repeats."""

import numpy as np

from reports.errors import StatisticsError
from reports.statistics._assumptions import independent, symmetric
from reports.statistics._effects import effect_sizes
from reports.statistics._statistic import Design, Measured, PairResult, PairTest, differences

EXACT_UP_TO = 40  # repeats: two halves of a million patterns each
_ROUNDING = 1e-12


class SignFlips(PairTest):
    """The share of all 2^J patterns of signs whose mean difference is as far from 0 as the one observed, or further.

    It has no interval. Flagged where repeats overlap. Refuses more than 40 repeats.
    """

    title = "sign flips"
    source = "Fisher 1935, The Design of Experiments, section 21"

    def between(self, a: Measured, b: Measured, design: Design) -> PairResult:
        d = differences(a, b)
        if len(d) > EXACT_UP_TO:
            raise StatisticsError(f"expected at most {EXACT_UP_TO} repeats, got {len(d)}: their patterns are too many")
        return PairResult(
            test=self.title,
            difference=float(d.mean()),
            n=len(d),
            unit="repeats",
            p=_as_far(d) / 2.0 ** len(d),
            **effect_sizes(a, b),
            smallest_p=2.0 ** (1 - len(d)),
            assumptions=(independent(design), symmetric(d, design)),
            independence_violated=design.overlap,
        )


def _as_far(d: np.ndarray) -> int:
    """Return how many patterns of signs of `d` (J,) sum at least as far from 0: one half against the other, sorted."""
    first, second = _sums(d[::2]), np.sort(_sums(d[1::2]))
    far = abs(d.sum()) - _ROUNDING * max(1.0, float(np.abs(d).sum()))
    if far <= 0:
        return len(first) * len(second)
    above = len(second) - np.searchsorted(second, far - first, side="left")
    below = np.searchsorted(second, -far - first, side="right")
    return int((above + below).sum())


def _sums(d: np.ndarray) -> np.ndarray:
    """Return the sums of `d` (m,) under all 2^m patterns of signs."""
    sums = np.zeros(1)
    for step in d:
        sums = np.concatenate([sums + step, sums - step])
    return sums
