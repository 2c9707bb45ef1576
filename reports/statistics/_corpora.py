"""What tests over several corpora share: every corpus is one block, and repeats of one corpus are none."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic

import numpy as np
from scipy.stats import rankdata

from reports.errors import StatisticsError
from reports.statistics._statistic import R, Statistic

FEWEST_CORPORA = 5


class CorporaTest(Statistic, Generic[R]):
    """Several models, each with one score on each of several independent corpora."""

    @abstractmethod
    def compare(self, scores: np.ndarray, corpora: Sequence[str]) -> R:
        """Return what came out of `scores` (n corpora, k models), row by row those of `corpora`.

        Raises StatisticsError for fewer than five corpora, one that comes twice, or NaN.
        """


def blocks(scores: np.ndarray, corpora: Sequence[str]) -> np.ndarray:
    """Return `scores` (n corpora, k models) as float64, or refuse them."""
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or len(x) != len(corpora) or x.shape[1] < 2:
        raise StatisticsError(f"expected scores (n corpora, k models) of {len(corpora)} corpora, got {x.shape}")
    distinct = len(set(corpora))
    if distinct < max(len(x), FEWEST_CORPORA):
        raise StatisticsError(
            f"repeats are not blocks: expected one row for each of at least {FEWEST_CORPORA} different corpora, "
            f"got {len(x)} rows of {distinct}; compare models on one corpus by the corrected resampled t with Holm"
        )
    if odd := [name for name, row in zip(corpora, x, strict=True) if not np.isfinite(row).all()]:
        raise StatisticsError(f"expected finite scores, got NaN or infinity on {', '.join(odd)}: drop or fix them")
    return x


def ranks(x: np.ndarray) -> np.ndarray:
    """Return the ranks (n, k) float64 of the models on each corpus, 1 the best, ties averaged.

    Scores are rounded to 1e-12 first, since float noise would break ties.
    """
    ranked: np.ndarray = rankdata(-np.round(x, 12), axis=1)
    return ranked
