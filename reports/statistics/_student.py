"""The t test both t statistics are: they differ in the variance factor alone."""

import math
from dataclasses import replace

from scipy import stats

from reports.statistics._statistic import (
    CONSTANT,
    Design,
    Measured,
    PairResult,
    differences,
    hedges_factor,
    is_constant,
)


def student(a: Measured, b: Measured, design: Design, *, test: str, ratio: float, violated: bool) -> PairResult:
    """Test the mean of a - b with the standard error s sqrt(1/J + `ratio`), J - 1 degrees of freedom."""
    d = differences(a, b)
    mean, sd, n = float(d.mean()), float(d.std(ddof=1)), len(d)
    result = PairResult(test=test, difference=mean, n=n, unit="repeats", df=n - 1, independence_violated=violated)
    if is_constant(sd, mean):
        return replace(result, note=CONSTANT)
    error = sd * math.sqrt(1 / n + ratio)
    reach = float(stats.t.ppf(1 - design.alpha / 2, n - 1)) * error
    return replace(
        result,
        low=mean - reach,
        high=mean + reach,
        p=float(2 * stats.t.sf(abs(mean) / error, n - 1)),
        statistic=mean / error,
        d_z=mean / sd,
        hedges_gz=mean / sd * hedges_factor(n - 1),
    )
