"""Bayesian signed-rank test: two models over several corpora, with a region of practical equivalence (ROPE)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.errors import StatisticsError
from reports.statistics._corpora import CorporaTest, blocks

PRIOR = 0.5  # weight of the pseudo-corpus on which both models are alike


@dataclass(frozen=True, kw_only=True)
class SignedRankResult:
    """Probabilities that a is worse by more than `rope`, that both are practically alike, that a is better.

    They are the shares of `draws` in which each is the likeliest for two corpora drawn at random, so each has a Monte
    Carlo error of up to `error` (one standard deviation). `theta_rope` is the mean chance of being alike.
    """

    test: str
    n: int
    rope: float
    draws: int
    error: float
    p_worse: float
    p_alike: float
    p_better: float
    theta_rope: float


class BayesianSignedRank(CorporaTest[SignedRankResult]):
    """Dirichlet weights over corpora and one pseudo-corpus; scores have two columns, a and b, and `rope` their unit."""

    title = "Bayesian signed-rank"
    source = "Benavoli, Corani, Demsar & Zaffalon 2017, JMLR 18"

    def __init__(self, *, rope: float = 0.01, draws: int = 50_000, seed: int = 0) -> None:
        self.rope, self.draws, self.seed = rope, draws, seed

    def compare(self, scores: np.ndarray, corpora: Sequence[str]) -> SignedRankResult:
        x = blocks(scores, corpora)
        if x.shape[1] != 2:
            raise StatisticsError(f"expected the scores of two models, a and b, got {x.shape[1]}: compare pairs")
        z = np.r_[0.0, x[:, 0] - x[:, 1]]
        weights = np.random.default_rng(self.seed).dirichlet(np.r_[PRIOR, np.ones(len(x))], self.draws)
        sums = z[:, None] + z
        worse, better = (_chance(weights, np.heaviside(side - 2 * self.rope, 0.5)) for side in (-sums, sums))
        alike = 1 - worse - better
        theta = np.stack([worse, alike, better])
        won = theta == theta.max(axis=0)
        shares = (won / won.sum(axis=0)).mean(axis=1)
        return SignedRankResult(
            test=self.title,
            n=len(x),
            rope=self.rope,
            draws=self.draws,
            error=float(np.sqrt((shares * (1 - shares)).max() / self.draws)),
            p_worse=float(shares[0]),
            p_alike=float(shares[1]),
            p_better=float(shares[2]),
            theta_rope=float(alike.mean()),
        )


def _chance(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return (draws,): the weighted share of pairs of corpora that count."""
    share: np.ndarray = ((weights @ counts) * weights).sum(axis=1)
    return share
