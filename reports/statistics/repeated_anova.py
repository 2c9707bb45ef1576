"""Repeated-measures analysis of variance: the repeats are blocks that every model shares."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from reports.statistics._statistic import CONSTANT, AnovaResult, Design, ModelsTest, checked, is_constant


class RepeatedAnova(ModelsTest):
    """F with Greenhouse-Geisser degrees of freedom, and F corrected for overlapping repeats (own extension)."""

    title = "repeated-measures ANOVA"
    source = "Greenhouse & Geisser 1959, Psychometrika 24"

    def compare(self, scores: np.ndarray, design: Design) -> AnovaResult:
        x = checked(scores)
        n, k = x.shape
        df1, df2 = k - 1, (k - 1) * (n - 1)
        result = AnovaResult(test=self.title, k=k, n=n, df1=df1, df2=df2, independence_violated=design.overlap)
        centred = x - x.mean(axis=0)
        if is_constant(float(np.linalg.norm(centred - centred.mean(axis=1, keepdims=True))), float(x.mean())):
            return replace(result, note=CONSTANT)
        long = pd.DataFrame({"score": x.ravel(), "repeat": np.arange(n).repeat(k), "model": np.tile(np.arange(k), n)})
        f = float(AnovaRM(long, "score", "repeat", within=["model"]).fit().anova_table["F Value"].iloc[0])
        epsilon, f_overlap = greenhouse_geisser(x), f * (1 / n) / (1 / n + design.ratio)
        return replace(
            result,
            f=f,
            p=float(stats.f.sf(f, df1, df2)),
            eta2=float(n * ((x.mean(axis=0) - x.mean()) ** 2).sum() / ((x - x.mean()) ** 2).sum()),
            partial_eta2=f * df1 / (f * df1 + df2),
            gg_epsilon=epsilon,
            p_gg=float(stats.f.sf(f, df1 * epsilon, df2 * epsilon)),
            f_overlap=f_overlap,
            p_overlap=float(stats.f.sf(f_overlap, df1 * epsilon, df2 * epsilon)),
        )


def greenhouse_geisser(x: np.ndarray) -> float:
    """Return epsilon of `x` (n, k): 1 under sphericity, at least 1 / (k - 1)."""
    k = x.shape[1]
    centring = np.eye(k) - 1 / k
    d = centring @ np.cov(x, rowvar=False) @ centring
    return float(np.trace(d) ** 2 / ((k - 1) * np.trace(d @ d)))
