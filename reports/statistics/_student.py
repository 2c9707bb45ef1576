"""The t test that all t statistics are: they differ in the variance factor and in what they take for granted."""

import math
from dataclasses import replace

from scipy.special import stdtr, stdtrit

from reports.statistics._assumptions import correlated, independent, normal
from reports.statistics._effects import effect_sizes
from reports.statistics._statistic import CONSTANT, Design, Measured, PairResult, differences, is_constant


def naive(a: Measured, b: Measured, design: Design, *, test: str) -> PairResult:
    """Test the mean of a - b as if the repeats were independent."""
    result = _student(a, b, design, test=test, ratio=0.0)
    assumptions = (independent(design), *result.assumptions)
    return replace(result, independence_violated=design.overlap, assumptions=assumptions)


def corrected(a: Measured, b: Measured, design: Design, *, test: str) -> PairResult:
    """Test the mean of a - b with n2/n1 added to the variance factor for the samples that repeats share."""
    result = _student(a, b, design, test=test, ratio=design.ratio)
    return replace(result, assumptions=(correlated(design), *result.assumptions))


def _student(a: Measured, b: Measured, design: Design, *, test: str, ratio: float) -> PairResult:
    """Test with the standard error s sqrt(1/J + `ratio`) and J - 1 degrees of freedom."""
    d = differences(a, b)
    mean, sd, n = float(d.mean()), float(d.std(ddof=1)), len(d)
    result = PairResult(test=test, difference=mean, n=n, unit="repeats", df=n - 1)
    result = replace(result, **effect_sizes(a, b))
    if is_constant(sd, mean):
        return replace(result, note=CONSTANT)
    error = sd * math.sqrt(1 / n + ratio)
    reach = float(stdtrit(n - 1, 1 - design.alpha / 2)) * error
    return replace(
        result,
        low=mean - reach,
        high=mean + reach,
        p=float(2 * stdtr(n - 1, -abs(mean) / error)),
        statistic=mean / error,
        assumptions=(normal(d, design),),
    )
