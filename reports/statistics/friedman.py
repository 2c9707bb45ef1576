"""Friedman's test with Iman and Davenport's F: do several models rank alike over several corpora?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from reports.statistics._corpora import CorporaTest, blocks, ranks


@dataclass(frozen=True, kw_only=True)
class FriedmanResult:
    """Mean ranks, 1 the best; chi-squared corrected for ties, `f` with (df1, df2) made of it, and Kendall's W.

    W is 1 where all corpora rank alike; F is infinite then, and `f` and `p_f` are None.
    """

    test: str
    k: int
    n: int
    mean_ranks: tuple[float, ...]
    df1: int
    df2: int
    chi2: float | None = None
    p: float | None = None
    f: float | None = None
    p_f: float | None = None
    kendall_w: float | None = None
    note: str = ""


class Friedman(CorporaTest[FriedmanResult]):
    """Ranks of the models on each corpus, against models that are all alike."""

    title = "Friedman"
    source = "Friedman 1937, JASA 32; Iman & Davenport 1980; Demsar 2006, JMLR 7"

    def compare(self, scores: np.ndarray, corpora: Sequence[str]) -> FriedmanResult:
        ranked = ranks(blocks(scores, corpora))
        n, k = ranked.shape
        result = FriedmanResult(
            test=self.title,
            k=k,
            n=n,
            mean_ranks=tuple(ranked.mean(axis=0).tolist()),
            df1=k - 1,
            df2=(k - 1) * (n - 1),
        )
        middle = (k + 1) / 2
        spread = float(((ranked - middle) ** 2).sum()) / (k - 1)
        if not spread:
            return replace(result, note="all models tie on every corpus, so no test is possible")
        chi2 = float(n * n * ((ranked.mean(axis=0) - middle) ** 2).sum()) / spread
        result = replace(result, chi2=chi2, p=float(stats.chi2.sf(chi2, k - 1)), kendall_w=chi2 / (n * (k - 1)))
        left = n * (k - 1) - chi2
        if left <= 1e-12 * n * k:
            return replace(result, note="all corpora rank the models alike, so F is infinite")
        f = (n - 1) * chi2 / left
        return replace(result, f=f, p_f=float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))))
