"""Cochran's Q: are several models right equally often on one test set?"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from reports.errors import StatisticsError
from reports.statistics._statistic import Statistic


@dataclass(frozen=True, kw_only=True)
class CochranResult:
    """Q over n samples and k models; only the `n_mixed` samples that some get right and some wrong tell anything.

    `eta2` = Q / (n (k - 1)), the share of the largest Q there can be. `independence_violated`: samples belong together
    by group, and Q takes them as independent.
    """

    test: str
    k: int
    n: int
    n_mixed: int
    df: int
    independence_violated: bool
    q: float | None = None
    p: float | None = None
    eta2: float | None = None
    note: str = ""


class CochranQ(Statistic):
    """Q against chi-squared, k - 1 degrees of freedom; McNemar's test with Holm's correction tells pairs apart."""

    title = "Cochran Q"
    source = "Cochran 1950, Biometrika 37; eta squared: Serlin, Carr & Marascuilo 1982, Psychological Bulletin 92"

    def compare(self, right: np.ndarray, *, groups: int | None = None) -> CochranResult:
        """Return what `right` (n samples, k models), whether each model is right on each sample, says.

        `groups` is how many speakers, dialogues or the like the samples come from. Raises StatisticsError for fewer
        than two models, no samples, and values that are neither right nor wrong.
        """
        hits = _hits(right)
        (n, k), by_model, by_sample = hits.shape, hits.sum(axis=0), hits.sum(axis=1)
        result = CochranResult(
            test=self.title,
            k=k,
            n=n,
            n_mixed=int(((by_sample > 0) & (by_sample < k)).sum()),
            df=k - 1,
            independence_violated=groups is not None and groups < n,
        )
        if not result.n_mixed:
            return replace(result, note="all models are right on the same samples, so no test is possible")
        spread = k * by_sample.sum() - (by_sample**2).sum()
        q = float((k - 1) * (k * (by_model**2).sum() - by_model.sum() ** 2) / spread)
        return replace(result, q=q, p=float(stats.chi2.sf(q, k - 1)), eta2=q / (n * (k - 1)))


def _hits(right: np.ndarray) -> np.ndarray:
    hits = np.asarray(right, dtype=np.float64)
    if hits.ndim != 2 or len(hits) < 1 or hits.shape[1] < 2:
        raise StatisticsError(f"expected samples by at least 2 models, got shape {hits.shape}: stack them by model")
    if odd := np.flatnonzero(~np.isin(hits, (0, 1)).all(axis=1)).tolist():
        raise StatisticsError(f"expected every sample to be right or wrong, got neither at {odd[:5]}: drop or fix them")
    return hits
