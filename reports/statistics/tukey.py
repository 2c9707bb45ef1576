"""Tukey's honestly significant differences: all pairs of models at once, where repeats are independent."""

from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np
from scipy.stats import studentized_range

from reports.errors import StatisticsError
from reports.statistics._statistic import AnovaResult, ColumnPair, Design, ModelsTest, PairResult

TAIL = 1e-12  # tails below this are rounding of an integral
ROUNDED = f"p below {TAIL:g} are rounding, not exact"


@dataclass(frozen=True, kw_only=True)
class TukeyResult:
    """All pairs of k models with simultaneous intervals; q has `df` degrees of freedom.

    Where there are no pairs `note` says why; it also says so where a p is too small for the integral that it is.
    """

    test: str
    k: int
    n: int
    df: int
    pairs: tuple[ColumnPair, ...] = ()
    note: str = ""


class Tukey(ModelsTest[TukeyResult]):
    """q = |a - b| / sqrt(MS / n), with the error mean square and df of the analysis of variance that it follows.

    After the repeated-measures form repeats are blocks; after the one-way form they are not. Valid on one fixed split
    with independent seeds: what it finds is beyond the noise of training there, and says nothing about other data.
    """

    title = "Tukey HSD"
    source = "Tukey 1949, Biometrics 5; Kramer 1956, Biometrics 12"

    def __init__(self, anova: ModelsTest[AnovaResult]) -> None:
        self.anova = anova

    def compare(self, scores: np.ndarray, design: Design) -> TukeyResult:
        if design.overlap:
            raise StatisticsError(
                "expected independent repeats, got repeats that share samples: "
                "compare pairs by the corrected resampled t with Holm's correction"
            )
        table = self.anova.compare(scores, design)
        test, k, n, df = f"{self.title} after {table.test}", table.k, table.n, table.df2
        if table.f is None:
            return TukeyResult(test=test, k=k, n=n, df=df, note=table.note)
        error = sqrt(table.ss_error / df / n)
        reach = float(studentized_range.isf(design.alpha, k, df)) * error
        means = np.asarray(scores, dtype=np.float64).mean(axis=0)
        pairs = list(combinations(range(k), 2))
        gains = np.array([means[a] - means[b] for a, b in pairs])
        tails = studentized_range.sf(np.abs(gains) / error, k, df)
        found = (
            PairResult(
                test=test,
                difference=gain,
                n=n,
                unit="repeats",
                low=gain - reach,
                high=gain + reach,
                p=p,
                statistic=abs(gain) / error,
                df=df,
            )
            for gain, p in zip(gains.tolist(), tails.tolist(), strict=True)
        )
        columns = tuple(ColumnPair(a=a, b=b, result=pair) for (a, b), pair in zip(pairs, found, strict=True))
        return TukeyResult(test=test, k=k, n=n, df=df, pairs=columns, note=ROUNDED if tails.min() < TAIL else "")
