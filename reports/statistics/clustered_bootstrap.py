"""Paired bootstrap over groups: leave-one-group-out and fixed splits."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

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
FEW_GROUPS = 20
OFF_CENTRE = 0.05  # share of draws; half of them lie on either side of an unbiased estimate


class ClusteredBootstrap(PairTest):
    """Percentile interval and p of a - b over draws that resample whole groups, the same for both models.

    p = 2 min(share <= 0, share >= 0), with one draw added to each count, so it is never below 2 / (B + 1).
    """

    title = "paired bootstrap over groups"
    source = "Efron & Tibshirani 1993; clusters as in Field & Welsh 2007, JRSS B 69"

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
            smallest_p=2 / (len(d) + 1),
            assumptions=(self._many_groups(), *_draws(d, gain, asked=asked)),
        )
        if is_constant(spread, gain):
            return replace(result, note=CONSTANT)
        low, high = np.quantile(d, [design.alpha / 2, 1 - design.alpha / 2])
        tail = 1 + min(int((d <= 0).sum()), int((d >= 0).sum()))
        few = f"only {self.n_groups} groups: the interval is likely too narrow"
        return replace(
            result,
            low=float(low),
            high=float(high),
            p=min(1.0, 2 * tail / (len(d) + 1)),
            note=few if self.n_groups < FEW_GROUPS else "",
        )

    def _many_groups(self) -> Assumption:
        told = "enough" if self.n_groups >= FEW_GROUPS else "too few: the interval is likely too narrow"
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
