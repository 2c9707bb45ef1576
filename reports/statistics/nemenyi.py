"""Nemenyi's test: all pairs of models at once, by their mean ranks over several corpora."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, sqrt

import numpy as np
from scipy.stats import studentized_range

from reports.statistics._corpora import CorporaTest, blocks, ranks
from reports.statistics._statistic import ColumnPair, PairResult


@dataclass(frozen=True, kw_only=True)
class NemenyiResult:
    """Mean ranks, 1 the best, and all pairs; those further apart than `cd` are told apart.

    `q` is the studentised range divided by sqrt 2. Pairs hold differences of mean ranks, so a is better where they are
    below 0. `note` says so if ranks over n corpora can never be `cd` apart.
    """

    test: str
    k: int
    n: int
    mean_ranks: tuple[float, ...]
    q: float
    cd: float
    pairs: tuple[ColumnPair, ...]
    note: str = ""


class Nemenyi(CorporaTest[NemenyiResult]):
    """Critical difference q sqrt(k (k + 1) / (6 n)) of mean ranks, after Friedman's test; `alpha` over all pairs."""

    title = "Nemenyi"
    source = "Nemenyi 1963; Demsar 2006, JMLR 7"

    def __init__(self, alpha: float = 0.05) -> None:
        self.alpha = alpha

    def compare(self, scores: np.ndarray, corpora: Sequence[str]) -> NemenyiResult:
        ranked = ranks(blocks(scores, corpora))
        n, k = ranked.shape
        means, error = ranked.mean(axis=0), sqrt(k * (k + 1) / (6 * n))
        q = float(studentized_range.isf(self.alpha, k, inf)) / sqrt(2)
        pairs = list(combinations(range(k), 2))
        gaps = np.array([means[a] - means[b] for a, b in pairs])
        tails = studentized_range.sf(np.abs(gaps) / error * sqrt(2), k, inf)
        return NemenyiResult(
            test=self.title,
            k=k,
            n=n,
            mean_ranks=tuple(means.tolist()),
            q=q,
            cd=q * error,
            pairs=tuple(
                ColumnPair(a=a, b=b, result=self._pair(float(gap), float(p), n, error, q))
                for (a, b), gap, p in zip(pairs, gaps, tails, strict=True)
            ),
            note=""
            if q * error < k - 1
            else "with so few corpora no gap of mean ranks can reach the critical difference",
        )

    def _pair(self, gap: float, p: float, n: int, error: float, q: float) -> PairResult:
        return PairResult(
            test=self.title,
            difference=gap,
            n=n,
            unit="corpora",
            low=gap - q * error,
            high=gap + q * error,
            p=p,
            statistic=abs(gap) / error,
        )
