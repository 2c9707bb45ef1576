"""One-way analysis of variance, as in the reference paper."""

from dataclasses import replace

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
        models = float(n * ((x.mean(axis=0) - x.mean()) ** 2).sum())
        within = float(((x - x.mean(axis=0)) ** 2).sum())
        df1, df2 = k - 1, n * k - k
        result = AnovaResult(test=self.title, k=k, n=n, df1=df1, df2=df2, independence_violated=True)
        if is_constant(within**0.5, float(x.mean())):
            return replace(result, note=CONSTANT)
        f = (models / df1) / (within / df2)
        return replace(
            result,
            f=f,
            p=float(stats.f.sf(f, df1, df2)),
            eta2=models / (models + within),
            omega2=df1 * (f - 1) / (df1 * (f - 1) + n * k),
        )
