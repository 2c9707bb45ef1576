"""Bayesian correlated t test: how probable it is that two models differ by an amount that matters."""

import math
from dataclasses import dataclass, replace

from scipy.special import stdtr, stdtrit

from reports.errors import StatisticsError
from reports.statistics._assumptions import correlated, normal
from reports.statistics._statistic import (
    CONSTANT,
    Assumption,
    Design,
    Measured,
    Statistic,
    differences,
    is_constant,
)


@dataclass(frozen=True, kw_only=True)
class PosteriorResult:
    """The posterior of the mean difference a - b: Student t at `difference` with `scale` and `df`.

    `p_left`, `p_rope`, `p_right` are the probabilities below, within and above +- `rope`, `p_positive` that above 0;
    `low` to `high` holds the mean with probability 1 - alpha. Probabilities are None of constant differences.
    """

    test: str
    difference: float
    n: int
    df: int
    rope: float
    scale: float | None = None
    low: float | None = None
    high: float | None = None
    p_left: float | None = None
    p_rope: float | None = None
    p_right: float | None = None
    p_positive: float | None = None
    assumptions: tuple[Assumption, ...] = ()
    note: str = ""


class BayesianCorrelatedT(Statistic):
    """Posterior of the mean gain under a flat prior, repeats correlated by rho with rho / (1 - rho) = n2/n1.

    `rope` is half the width of the region of practical equivalence, in the unit of the scores: 0.01 is one point.
    """

    title = "Bayesian correlated t"
    source = "Corani & Benavoli 2015, Machine Learning 100"

    def __init__(self, rope: float = 0.01) -> None:
        if not 0 <= rope < math.inf:
            raise StatisticsError(f"expected a ROPE of at least 0, got {rope}: it is half a width, in the score's unit")
        self.rope = rope

    def compare(self, a: Measured, b: Measured, design: Design) -> PosteriorResult:
        """Return the posterior of a - b. Raises StatisticsError for NaN, unequal lengths or too few repeats."""
        d = differences(a, b)
        mean, sd, n = float(d.mean()), float(d.std(ddof=1)), len(d)
        result = PosteriorResult(test=self.title, difference=mean, n=n, df=n - 1, rope=self.rope)
        if is_constant(sd, mean):
            return replace(result, note=CONSTANT)
        scale = sd * math.sqrt(1 / n + design.ratio)
        reach = float(stdtrit(n - 1, 1 - design.alpha / 2)) * scale
        left, right = (float(stdtr(n - 1, (sign * mean - self.rope) / scale)) for sign in (-1, 1))
        return replace(
            result,
            scale=scale,
            low=mean - reach,
            high=mean + reach,
            p_left=left,
            p_rope=max(0.0, 1 - left - right),
            p_right=right,
            p_positive=float(stdtr(n - 1, mean / scale)),
            assumptions=(correlated(design), normal(d, design)),
        )
