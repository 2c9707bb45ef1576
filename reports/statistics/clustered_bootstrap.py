"""Paired bootstrap over groups: leave-one-group-out and fixed splits."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

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
FEW_GROUPS = 10  # fewer get no p: between equal models it would be below 5 % in up to 8 % of studies
SHARED_TRAINING = 0.15  # of n2/n1; without it one group out errs in 6 to 7 %, with all of it in 1 %
OFF_CENTRE = 0.05  # share of draws; half of them lie on either side of an unbiased estimate
MOST_DRAWS = 20_000
_SPARE = 5  # draws beyond 0, one added, that a p at the level asked for is read from
_LEVELS = np.linspace(0.02, 5.0, 250)  # reaches t at which two laws are compared
OF_THESE_MODELS = "of these trained models, not of ways of training"


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Variances of a gain: `groups`, of its `n_groups` groups, and `seeds`, of training anew, seen in `n_seeds` seeds.

    `seeds` is 0 where training cannot be told apart from the groups, or was not repeated.
    """

    groups: float | np.ndarray
    n_groups: float
    seeds: float | np.ndarray = 0.0
    n_seeds: int = 1

    def stretch(self, reach: np.ndarray) -> np.ndarray:
        """Return how much further from the gain than the draws of groups say the same t reaches with both noises.

        `reach` is the quantile of t over groups; over seeds the same level has another, and the mean of both, weighted
        by the variances, holds for their sum.
        """
        other = -stdtrit(max(1, self.n_seeds - 1), stdtr(self.n_groups - 1, -reach))
        share = self.seeds / self.groups
        further: np.ndarray = (1 + other / reach * share) / np.sqrt(1 + share)
        return further


class ClusteredBootstrap(PairTest):
    """Expanded percentile interval and p of a - b over draws that resample whole groups, the same for both models.

    Draws of few groups vary too little, by sqrt((n - 1) / n), and have the tails of a normal law; so the interval ends
    at the shares `tail_share` names, beyond alpha / 2, and p reads the share beyond 0 the same way. One draw is added
    to the count, so p has a least value.

    Where the repeats are independent seeds on one split, a draw of groups says nothing of the noise of training. What
    the paired differences vary by from seed to seed is then added: the draws are widened about the gain, so that the
    half width is sqrt(v_groups + v_seeds) times the mean of t(G - 1) and t(J - 1), weighted by the variances (Cochran
    1964). Degrees of freedom by Welch and Satterthwaite would err too often with three seeds.

    Folds that leave one group out train on nearly the same samples, which the draws do not see: their variance gets a
    share of what Nadeau & Bengio 2003 add for that, measured in simulations.

    Unequal groups tell less than as many equal ones: wherever their number enters a law, it is that of equal groups
    whose mean varies as much, (sum of sizes)^2 / sum of squared sizes (Kish 1965).
    """

    title = "paired bootstrap over groups"
    source = (
        "Hesterberg 2015, The American Statistician 69; clusters as in Field & Welsh 2007, JRSS B 69; "
        "two noises as in Cochran 1964, Biometrics 20; unequal groups as in Kish 1965, Survey Sampling"
    )

    def __init__(self, n_groups: int, effective: float | None = None) -> None:
        self.n_groups, self.effective = n_groups, max(2.0, n_groups if effective is None else effective)

    @classmethod
    def over(cls, groups: np.ndarray) -> "ClusteredBootstrap":
        """Return the test over the `groups` (N,) int64 that N test samples belong to."""
        sizes = np.unique(groups, return_counts=True)[1]
        return cls(len(sizes), effective_groups(sizes))

    def between(self, a: Measured, b: Measured, design: Design) -> PairResult:
        d, asked = self._differences(a, b)
        gain, noise = a.estimate - b.estimate, noise_of(a, b, d, self.effective, design)
        one_training, enough = not design.overlap and noise.n_seeds < 2, self.n_groups >= FEW_GROUPS
        result = PairResult(
            test=self.title,
            difference=gain,
            n=self.n_groups,
            unit="groups",
            smallest_p=two_sided(1 / (len(d) + 1), self.effective) if enough else None,
            assumptions=(self._many_groups(), *_draws(d, gain, asked=asked), *_training(noise, design)),
        )
        if is_constant(float(d.std(ddof=1)), gain):
            return replace(result, note=CONSTANT)
        if noise.seeds:
            d = _widened(d, gain, noise)
        if (wider := overlap_of(design, self.n_groups)) > 1:
            d = gain + (d - gain) * wider**0.5
        share = tail_share(design.alpha, self.effective)
        low, high = np.quantile(d, [share, 1 - share])
        tail = 1 + min(int((d <= 0).sum()), int((d >= 0).sum()))
        few = "" if enough else f"{self.n_groups} groups are too few for a verdict, which takes {FEW_GROUPS}"
        return replace(
            result,
            low=float(low),
            high=float(high),
            p=two_sided(tail / (len(d) + 1), self.effective) if enough else None,
            note="; ".join(filter(None, (few, OF_THESE_MODELS if one_training else ""))),
        )

    def _many_groups(self) -> Assumption:
        told = "enough" if self.n_groups >= FEW_GROUPS else "too few for a verdict: the interval may be too narrow"
        return Assumption(
            name="many independent groups",
            checked_on=f"{self.n_groups} groups, worth {self.effective:.1f} of one size; whether one tells of another "
            "is not checked",
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


def effective_groups(sizes: np.ndarray) -> float:
    """Return how many equal groups vary in the mean as groups of these `sizes` (G,) do."""
    return float(sizes.sum()) ** 2 / float((sizes.astype(np.float64) ** 2).sum())


def overlap_of(design: Design, n_groups: int) -> float:
    """Return by what training on nearly the same samples multiplies the variance of a gain over groups."""
    return 1 + SHARED_TRAINING * n_groups * design.ratio if design.overlap else 1.0


def tail_share(alpha: float, n_groups: float) -> float:
    """Return the share of draws to leave out at either end for an interval of level 1 - alpha over so many groups."""
    reach = stdtrit(n_groups - 1, alpha / 2) * (n_groups / (n_groups - 1)) ** 0.5
    return float(ndtr(reach))


def two_sided(share: float, n_groups: float) -> float:
    """Return the p that a share of draws beyond 0 stands for; alpha of `tail_share`."""
    reach = float(ndtri(min(share, 0.5))) * ((n_groups - 1) / n_groups) ** 0.5
    return float(2 * stdtr(n_groups - 1, reach))


def draws_for(alpha: float, family: int, n_groups: float, least: int) -> int:
    """Return how many draws let a p fall well below alpha / family, at least `least`; MOST_DRAWS may be too few."""
    return int(max(least, min(MOST_DRAWS, np.ceil(_SPARE / tail_share(alpha / family, n_groups)))))


def noise_of(a: Measured, b: Measured, d: np.ndarray, n_groups: float, design: Design) -> Noise:
    """Return what a - b varies by, of its draws `d` (B,), and of its repeats where these are independent seeds."""
    groups = float(d.var(ddof=1)) * n_groups / (n_groups - 1)
    n_seeds = len(a.repeats)
    if design.overlap or n_seeds < 2 or n_seeds != len(b.repeats):
        return Noise(groups=groups, n_groups=n_groups)
    seeds = float((a.repeats - b.repeats).var(ddof=1)) / n_seeds
    seen = np.isfinite(seeds) and not is_constant(seeds**0.5, 1.0)
    return Noise(groups=groups, n_groups=n_groups, seeds=seeds if seen else 0.0, n_seeds=n_seeds)


def _widened(d: np.ndarray, gain: float, noise: Noise) -> np.ndarray:
    """Return the draws (B,), sorted, each stretched from the gain by what its own place in their law asks for."""
    place = (np.arange(len(d)) + 1) / (len(d) + 1)
    reach = np.abs(ndtri(place)) * ((noise.n_groups - 1) / noise.n_groups) ** 0.5
    widened: np.ndarray = gain + (np.sort(d) - gain) * np.interp(reach, _LEVELS, noise.stretch(_LEVELS))
    return widened


def _training(noise: Noise, design: Design) -> Iterable[Assumption]:
    """Say what of the noise of training is seen; leave-one-group-out trains anew for every group."""
    if not design.overlap:
        yield Assumption(
            name="noise of training seen",
            checked_on=f"{noise.n_seeds} seeds on one split; statistic: its share of the variance",
            outcome="in the interval" if noise.n_seeds > 1 else f"violated: {OF_THESE_MODELS}",
            statistic=float(noise.seeds / (noise.seeds + noise.groups)) if noise.n_seeds > 1 and noise.groups else None,
        )


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
