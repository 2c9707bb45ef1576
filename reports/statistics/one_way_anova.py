"""One-way analysis of variance, as in the reference paper."""

import numpy as np
from scipy import stats

from reports.statistics._statistic import CONSTANT, AnovaResult, Design, ModelsTest, checked, is_constant


class OneWayAnova(ModelsTest):
    """F of the models against the spread within them; it ignores that they share splits."""

    title = "one-way ANOVA"
    source = "Fisher 1925; reference paper, section 3.1.4"

    def compare(self, scores: np.ndarray, design: Design) -> AnovaResult:
        x = checked(scores)
        n, k = x.shape
        total = float(((x - x.mean()) ** 2).sum())
        models = float(n * ((x.mean(axis=0) - x.mean()) ** 2).sum())
        within, df1, df2 = total - models, k - 1, n * k - k
        table = {"test": self.title, "k": k, "n": n, "df1": df1, "df2": df2, "independence_violated": True}
        if is_constant(max(within, 0.0) ** 0.5, x.mean()):
            return AnovaResult(**table, f=None, p=None, eta2=None, note=CONSTANT)
        f = (models / df1) / (within / df2)
        return AnovaResult(
            **table,
            f=f,
            p=float(stats.f.sf(f, df1, df2)),
            eta2=models / total,
            omega2=df1 * (f - 1) / (df1 * (f - 1) + n * k),
        )
