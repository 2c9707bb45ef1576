"""The t test both t statistics are: they differ in the variance factor alone."""

import math

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


def student(a: Measured, b: Measured, design: Design, *, test: str, factor: float, violated: bool) -> PairResult:
    """Test the mean of a - b with the standard error s sqrt(`factor`), J - 1 degrees of freedom."""
    d = differences(a, b)
    mean, sd, df = float(d.mean()), float(d.std(ddof=1)), len(d) - 1
    if is_constant(sd, mean):
        return PairResult(
            test=test, difference=mean, low=None, high=None, p=None, n=len(d), unit="repeats", df=df,
            independence_violated=violated, note=CONSTANT,
        )  # fmt: skip
    error = sd * math.sqrt(factor)
    reach = float(stats.t.ppf(1 - design.alpha / 2, df)) * error
    return PairResult(
        test=test,
        difference=mean,
        low=mean - reach,
        high=mean + reach,
        p=float(2 * stats.t.sf(abs(mean) / error, df)),
        n=len(d),
        unit="repeats",
        statistic=mean / error,
        df=df,
        d_z=mean / sd,
        hedges_gz=mean / sd * hedges_factor(df),
        independence_violated=violated,
    )
