"""Paired bootstrap over groups: leave-one-group-out and fixed splits."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from scipy import stats

from reports.errors import StatisticsError
from reports.statistics._statistic import (
    CONSTANT,
    Assumption,
    Design,
    Measured,
    PairResult,
    PairTest,
    is_constant,
)

FEWEST_GROUPS = 5
FEW_GROUPS = 10  # fewer can hardly show what their law is like, and the interval takes it as smooth
OFF_CENTRE = 0.05  # share of draws; half of them lie on either side of an unbiased estimate


class ClusteredBootstrap(PairTest):
    """Expanded percentile interval and p of a - b over draws that resample whole groups, the same for both models.

    Draws of few groups vary too little, by sqrt((n - 1) / n), and have the tails of a normal law; so the interval ends
    at the shares `tail_share` names, beyond alpha / 2, and p reads the share beyond 0 the same way. One draw is added
    to the count, so p has a least value.
    """

    title = "paired bootstrap over groups"
    source = "Hesterberg 2015, The American Statistician 69; clusters as in Field & Welsh 2007, JRSS B 69"

    def __init__(self, n_groups: int) -> None:
        self.n_groups = n_groups

    def compare(self, a: Measured, b: Measured, design: Design) -> PairResult:
        d, asked = self._differences(a, b)
        gain, spread = a.estimate - b.estimate, float(d.std(ddof=1))
        result = PairResult(
            test=self.title,
            difference=gain,
            n=self.n_groups,
            unit="groups",
            smallest_p=two_sided(1 / (len(d) + 1), self.n_groups),
            assumptions=(self._many_groups(), *_draws(d, gain, asked=asked)),
        )
        if is_constant(spread, gain):
            return replace(result, note=CONSTANT)
        share = tail_share(design.alpha, self.n_groups)
        low, high = np.quantile(d, [share, 1 - share])
        tail = 1 + min(int((d <= 0).sum()), int((d >= 0).sum()))
        few = f"only {self.n_groups} groups: the interval may be too narrow"
        return replace(
            result,
            low=float(low),
            high=float(high),
            p=two_sided(tail / (len(d) + 1), self.n_groups),
            note=few if self.n_groups < FEW_GROUPS else "",
        )

    def _many_groups(self) -> Assumption:
        told = "enough" if self.n_groups >= FEW_GROUPS else "too few: the interval may be too narrow"
        return Assumption(
            name="many independent groups",
            checked_on=f"{self.n_groups} groups; whether one tells of another is not checked",
            outcome=f"{told} ({FEW_GROUPS} asked for)",
            statistic=float(self.n_groups),
        )

    def _differences(self, a: Measured, b: Measured) -> tuple[np.ndarray, int]:
        """Return the draws of a - b that are defined, and how many there are in all."""
        if self.n_groups < FEWEST_GROUPS:
            raise StatisticsError(
                f"expected at least {FEWEST_GROUPS} groups to resample, got {self.n_groups}: "
                "an interval over so few would be fiction; collect more groups"
            )
        if a.draws is None or b.draws is None:
            raise StatisticsError("expected bootstrap draws of both scores, got none: this score has no interval here")
        every = a.draws - b.draws
        d: np.ndarray = every[np.isfinite(every)]
        if len(d) < 2 or not np.isfinite([a.estimate, b.estimate]).all():
            raise StatisticsError("expected finite scores, got NaN: a class or group is missing from the test parts")
        return d, len(every)


def tail_share(alpha: float, n_groups: int) -> float:
    """Return the share of draws to leave out at either end for an interval of level 1 - alpha over so many groups."""
    reach = stats.t.ppf(1 - alpha / 2, n_groups - 1) * (n_groups / (n_groups - 1)) ** 0.5
    return float(stats.norm.sf(reach))


def two_sided(share: float, n_groups: int) -> float:
    """Return the p that a share of draws beyond 0 stands for; alpha of `tail_share`."""
    reach = float(stats.norm.isf(min(share, 0.5))) * ((n_groups - 1) / n_groups) ** 0.5
    return float(2 * stats.t.sf(reach, n_groups - 1))


def _draws(d: np.ndarray, gain: float, *, asked: int) -> Iterable[Assumption]:
    """Say how far the draws (B,) lie to one side of the gain, which a percentile interval does not mend."""
    below = float((d < gain).mean() + (d == gain).mean() / 2)
    yield Assumption(
        name="draws centred on the gain",
        checked_on=f"share of {len(d)} draws of whole groups that are below it",
        outcome="not contradicted"
        if abs(below - 0.5) <= OFF_CENTRE
        else "contradicted: the interval leans to one side",
        statistic=below,
    )
    if len(d) < asked:
        yield Assumption(
            name="score defined in every draw",
            checked_on=f"{asked} draws of whole groups",
            outcome=f"violated: {asked - len(d)} draws lack a class and are left out",
            statistic=len(d) / asked,
        )


def group_weights(n_groups: int, draws: int, seed: int) -> np.ndarray:
    """Return (draws, n_groups) float64: how often each group is drawn when n_groups are drawn with replacement."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws)
    return drawn.astype(np.float64)
