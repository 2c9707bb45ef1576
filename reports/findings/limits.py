"""What a study of this size can see: detectable gains, power, what it would take, and the least p of each test.

Under a true gain g the t statistic follows a noncentral t with J - 1 degrees of freedom and noncentrality g / se (Cohen
1988, chapter 2). That se is the corrected one, s sqrt(1/J + n2/n1), is an extension of ours: s, the standard deviation
of the differences, is taken from the study itself. Where groups are resampled, se is what the test itself reckons with:
the standard deviation of the draws times sqrt(G / (G - 1)), and with seeds on one split the noise of training besides;
so is its critical t. All figures are for one comparison alone unless they say otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import optimize, stats

from reports.comparisons import Family
from reports.errors import StatisticsError
from reports.evidence import Evidence
from reports.measures import Measures
from reports.statistics._statistic import FEWEST_REPEATS, differences, is_constant
from reports.statistics.clustered_bootstrap import FEW_GROUPS, ClusteredBootstrap, noise_of, overlap_of, two_sided

POWER = 0.8
GAINS = (0.01, 0.02, 0.04)  # true gains the power is told for
MOST = 1_000_000  # of repeats or groups; who needs more gets no number
_LARGE = 60.0  # a noncentrality beyond which the gain's own noise is nothing beside that of the spread


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How the mean difference varies: `sd` from one of `n` repeats to the next, of which `ratio`, n2/n1, is shared."""

    sd: float
    n: float
    ratio: float = 0.0
    fewest: ClassVar[int] = FEWEST_REPEATS

    def df(self, n: float) -> float:
        return n - 1

    def critical(self, alpha: float, n: float) -> float:
        """Return the t beyond which the test rejects."""
        return float(stats.t.isf(alpha / 2, self.df(n)))

    def error(self, n: float) -> float:
        """Return the standard error of the mean of `n` differences."""
        return self.sd * math.sqrt(1 / n + self.ratio)

    def power(self, gain: float, alpha: float, n: float | None = None) -> float:
        """Return the chance that a true gain is significant at `alpha`, in either direction."""
        n = n or self.n
        return _power(abs(gain) / self.error(n), self.df(n), self.critical(alpha, n))

    def detectable(self, alpha: float, n: float | None = None) -> float:
        """Return the true gain that is significant with a chance of POWER; `n` may be infinite."""
        n = n or self.n
        high, df, critical = _LARGE, self.df(n), self.critical(alpha, n)
        while _power(high, df, critical) < POWER:
            high *= 2
        found = optimize.brentq(lambda noncentrality: _power(noncentrality, df, critical) - POWER, 0.0, high)
        return float(found) * self.error(n)

    def needed(self, gain: float, alpha: float) -> int | None:
        """Return the least n that shows `gain` with a chance of POWER; None if no number below MOST does."""
        low, high = self.fewest - 1, self.fewest  # not enough, and perhaps enough
        while self.power(gain, alpha, high) < POWER:
            low, high = high, 2 * high
            if high > MOST:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.power(gain, alpha, middle) >= POWER else (middle, high)
        return high


@dataclass(frozen=True, kw_only=True)
class GroupSpread(Spread):
    """`n` groups that are resampled; `sd` is their standard error times sqrt(n).

    `seeds` is the variance that the noise of training in `n_seeds` seeds adds; no number of groups takes it away.
    """

    seeds: float = 0.0
    n_seeds: int = 1
    fewest: ClassVar[int] = FEW_GROUPS

    def df(self, n: float) -> float:
        """Return the degrees of freedom of both noises together (Satterthwaite), or infinity."""
        groups = self.sd**2 / n
        own = groups**2 / (n - 1) + (self.seeds**2 / (self.n_seeds - 1) if self.seeds else 0.0)
        return (groups + self.seeds) ** 2 / own if own else math.inf

    def critical(self, alpha: float, n: float) -> float:
        share = self.seeds / self.error(n) ** 2 if self.seeds else 0.0
        both = [stats.t.isf(alpha / 2, df) for df in (n - 1, max(1, self.n_seeds - 1))]
        return float((1 - share) * both[0] + share * both[1])

    def error(self, n: float) -> float:
        return math.sqrt(self.sd**2 / n + self.seeds)


def _power(noncentrality: float, df: float, critical: float) -> float:
    """Return the chance of a t with `df` beyond `critical`, on either side."""
    if math.isinf(df):
        return float(stats.norm.sf(critical - noncentrality) + stats.norm.cdf(-critical - noncentrality))
    if noncentrality > _LARGE:
        return float(stats.chi2.cdf(df * (noncentrality / critical) ** 2, df))
    wrong = float(stats.nct.cdf(-critical, df, noncentrality))  # NaN where the chance is below what its series can say
    return float(stats.nct.sf(critical, df, noncentrality)) + (0.0 if math.isnan(wrong) else wrong)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What the study can see between a and b. `gain` is the one observed, all gains are shares (0.01 is one point).

    `detectable` is the true gain found with a chance of POWER at alpha, `detectable_in_family` the same at Holm's first
    step, alpha over the size of the family, None where the test has no p that small. `powers` belong to GAINS. `needed`
    units show the observed gain, None if no number of them does; `floor` is the least gain that any number of them
    could show, None if there is no such bound.
    """

    a: str
    b: str
    gain: float
    sd: float
    detectable: float
    detectable_in_family: float | None
    powers: tuple[float, ...]
    needed: int | None
    floor: float | None


@dataclass(frozen=True, kw_only=True)
class PowerCurve:
    """Power over true gains: of the comparisons that vary least, in the median, and most."""

    gains: tuple[float, ...]
    least: tuple[float, ...]
    median: tuple[float, ...]
    most: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a study on one metric; `n` counts `unit`s.

    `without` are pairs whose test is refused, flat or never below alpha.
    """

    metric: str
    alpha: float
    unit: str
    n: int
    ratio: float
    pairs: tuple[Limit, ...]
    without: tuple[tuple[str, str], ...]
    curve: PowerCurve | None


def find_limits(evidence: Evidence, measures: Measures, families: Sequence[Family], metric: str) -> Limits:
    """Return the limits for families of comparisons on one metric."""
    alpha, primary = measures.design.alpha, measures.primary
    found = {pair: (spread_of(measures, metric, *pair), family) for family in families for pair in family.pairs}
    known = {pair: (spread, len(family.pairs)) for pair, (spread, family) in found.items() if spread}
    clustered = isinstance(primary, ClusteredBootstrap)
    return Limits(
        metric=metric,
        alpha=alpha,
        unit="groups" if clustered else "repeats",
        n=primary.n_groups if isinstance(primary, ClusteredBootstrap) else len(evidence.held_out),
        ratio=0.0 if clustered else measures.design.ratio,
        pairs=tuple(_limit(measures, metric, *pair, spread, family) for pair, (spread, family) in known.items()),
        without=tuple(pair for pair in found if pair not in known),
        curve=_curve([spread for spread, _ in known.values()], alpha),
    )


def _curve(spreads: Sequence[Spread], alpha: float) -> PowerCurve | None:
    if not spreads:
        return None
    order = sorted(spreads, key=lambda spread: spread.error(spread.n))
    least, median, most = order[0], order[(len(order) - 1) // 2], order[-1]
    gains = [float(gain) for gain in np.linspace(0, 1.5 * most.detectable(alpha), 61)]
    powers = (tuple(spread.power(gain, alpha) for gain in gains) for spread in (least, median, most))
    return PowerCurve(gains=tuple(gains), **dict(zip(("least", "median", "most"), powers, strict=True)))


def spread_of(measures: Measures, metric: str, a: str, b: str) -> Spread | None:
    """Return how a - b varies in the primary test; None if it does not, or if that test is refused or never rejects."""
    first, second = measures.table[a].get(metric), measures.table[b].get(metric)
    if first is None or second is None:
        return None
    if isinstance(measures.primary, ClusteredBootstrap):
        n = measures.primary.effective
        if measures.primary.n_groups < FEW_GROUPS or first.draws is None or second.draws is None:
            return None
        draws = first.draws - second.draws
        draws = draws[np.isfinite(draws)]
        if len(draws) < 2 or two_sided(1 / (len(draws) + 1), n) >= measures.design.alpha:
            return None
        noise = noise_of(first, second, draws, n, measures.design)
        spread: Spread = GroupSpread(
            sd=math.sqrt(noise.groups * overlap_of(measures.design, measures.primary.n_groups) * n),
            n=n,
            seeds=float(noise.seeds),
            n_seeds=noise.n_seeds,
        )
    else:
        try:
            d = differences(first, second)
        except StatisticsError:
            return None
        spread = Spread(sd=float(d.std(ddof=1)), n=len(d), ratio=measures.design.ratio)
    return None if is_constant(spread.sd, 1.0) else spread


def _limit(measures: Measures, metric: str, a: str, b: str, spread: Spread, family: int) -> Limit:
    alpha, table = measures.design.alpha, measures.table
    gain = table[a][metric].estimate - table[b][metric].estimate
    least = _least_p(measures)
    return Limit(
        a=a,
        b=b,
        gain=gain,
        sd=spread.sd,
        detectable=spread.detectable(alpha),
        detectable_in_family=None if least and least >= alpha / family else spread.detectable(alpha / family),
        powers=tuple(spread.power(true, alpha) for true in GAINS),
        needed=spread.needed(gain, alpha),
        floor=spread.detectable(alpha, math.inf) if spread.error(math.inf) else None,
    )


def _least_p(measures: Measures) -> float | None:
    """Return the least p of the primary test; None if it has no bound, or no draws."""
    if not isinstance(measures.primary, ClusteredBootstrap) or not measures.draws:
        return None
    return two_sided(1 / (measures.draws + 1), measures.primary.effective)
