"""Repeated-measures analysis of variance: the repeats are blocks that every model shares."""

import numpy as np
from scipy import stats

from reports.statistics._statistic import CONSTANT, AnovaResult, Design, ModelsTest, checked, is_constant


class RepeatedAnova(ModelsTest):
    """F with Greenhouse-Geisser degrees of freedom, and F corrected for overlapping repeats (own extension)."""

    title = "repeated-measures ANOVA"
    source = "Greenhouse & Geisser 1959, Psychometrika 24"

    def compare(self, scores: np.ndarray, design: Design) -> AnovaResult:
        x = checked(scores)
        n, k = x.shape
        total = float(((x - x.mean()) ** 2).sum())
        models = float(n * ((x.mean(axis=0) - x.mean()) ** 2).sum())
        blocks = float(k * ((x.mean(axis=1) - x.mean()) ** 2).sum())
        residual, df1, df2 = total - models - blocks, k - 1, (k - 1) * (n - 1)
        table = {"test": self.title, "k": k, "n": n, "df1": df1, "df2": df2, "independence_violated": design.overlap}
        if is_constant(max(residual, 0.0) ** 0.5, x.mean()):
            return AnovaResult(**table, f=None, p=None, eta2=None, note=CONSTANT)
        f, epsilon = (models / df1) / (residual / df2), greenhouse_geisser(x)
        f_overlap = f * (1 / n) / (1 / n + design.ratio)
        return AnovaResult(
            **table,
            f=f,
            p=float(stats.f.sf(f, df1, df2)),
            eta2=models / total,
            partial_eta2=models / (models + residual),
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
