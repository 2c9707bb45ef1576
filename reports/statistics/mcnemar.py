"""McNemar's test: two models on one test set, sample by sample."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, ndtri
from scipy.stats import binom

from reports.errors import StatisticsError
from reports.statistics._statistic import Assumption, Statistic

ENOUGH_DISCORDANT = 25  # for the chi-squared law; Fagerland, Lydersen & Laake 2013


@dataclass(frozen=True, kw_only=True)
class McNemarResult:
    """How often each model alone is right on `n` samples, and what that says; undefined figures are None.

    `difference` is the gain in accuracy of a over b, a share, with its Wald interval. `p` is exact; `mid_p` counts half
    of what is exactly as extreme; the chi-squared values have one degree of freedom.
    """

    test: str
    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    n: int
    difference: float
    se: float
    low: float
    high: float
    p: float
    mid_p: float
    smallest_p: float
    chi2: float
    chi2_p: float
    chi2_continuity: float
    chi2_continuity_p: float
    df: int = 1
    unit: str = "samples"
    odds_ratio: float | None = None
    cohen_g: float | None = None
    independence_violated: bool = False
    assumptions: tuple[Assumption, ...] = ()


class McNemar(Statistic):
    """Only samples that one model alone gets right tell the two apart: under no difference, b ~ Bin(b + c, 1/2)."""

    title = "McNemar"
    source = "McNemar 1947, Psychometrika 12; mid-p: Fagerland, Lydersen & Laake 2013"

    def compare(self, a: np.ndarray, b: np.ndarray, *, alpha: float, groups: int | None = None) -> McNemarResult:
        """Return the table of `a` and `b`, (n,) bool: whether each model is right on a sample, the same in both.

        `groups` is how many speakers, dialogues or the like the samples come from. Raises StatisticsError for unequal
        lengths, for nothing to compare, and for values that are neither right nor wrong.
        """
        right, other = _right(a), _right(b)
        if right.shape != other.shape:
            raise StatisticsError(
                f"expected two models on the same samples, got {right.size} and {other.size}: pair them by sample first"
            )
        n, only_a, only_b = len(right), int((right & ~other).sum()), int((other & ~right).sum())
        apart = only_a + only_b
        gain, se = (only_a - only_b) / n, math.sqrt(apart - (only_a - only_b) ** 2 / n) / n
        reach = float(ndtri(1 - alpha / 2)) * se
        p, mid_p = _binomial(only_a, only_b)
        plain, continuity = ((abs(only_a - only_b) - c) ** 2 / apart if apart else 0.0 for c in (0, 1))
        return McNemarResult(
            test=self.title,
            both_right=int((right & other).sum()),
            only_a=only_a,
            only_b=only_b,
            both_wrong=int((~right & ~other).sum()),
            n=n,
            difference=gain,
            se=se,
            low=gain - reach,
            high=gain + reach,
            p=p,
            mid_p=mid_p,
            smallest_p=min(1.0, 2.0 ** (1 - apart)),
            chi2=plain,
            chi2_p=float(chdtrc(1, plain)),
            chi2_continuity=continuity,
            chi2_continuity_p=float(chdtrc(1, continuity)),
            odds_ratio=only_a / only_b if only_b else None,
            cohen_g=only_a / apart - 0.5 if apart else None,
            independence_violated=groups is not None and groups < n,
            assumptions=(_independent(n, groups), _enough(apart)),
        )


def _right(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if odd := np.flatnonzero(~np.isin(values, (0, 1))).tolist():
        raise StatisticsError(f"expected every sample to be right or wrong, got neither at {odd[:5]}: drop or fix them")
    if not values.size:
        raise StatisticsError("expected at least one sample, got none: there is nothing to compare")
    return values.astype(bool)


def _binomial(only_a: int, only_b: int) -> tuple[float, float]:
    """Return the exact p and the mid-p, which counts only half of the outcomes just as far from the middle."""
    apart, least = only_a + only_b, min(only_a, only_b)
    if not apart:
        return 1.0, 1.0
    as_far = float(binom.pmf(least, apart, 0.5)) * (1 if only_a == only_b else 2)
    p = min(1.0, 2 * float(binom.cdf(least, apart, 0.5)))
    return p, p - as_far / 2


def _independent(n: int, groups: int | None) -> Assumption:
    if groups is None or groups == n:
        outcome = "holds: every sample is a group of its own" if groups else "not checked: the samples have no groups"
    else:
        outcome = f"violated: {n} samples come from {groups} groups"
    return Assumption(name="independent samples", checked_on="groups of the test part", outcome=outcome)


def _enough(apart: int) -> Assumption:
    told = "enough" if apart >= ENOUGH_DISCORDANT else "too few: read the exact p"
    return Assumption(
        name="enough samples for chi-squared",
        checked_on="samples that one model alone gets right",
        outcome=f"{told} ({ENOUGH_DISCORDANT} asked for)",
        statistic=float(apart),
    )
