"""One-way analysis of variance, as in the reference paper."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from reports.statistics._assumptions import equal_spread, independent, normal_residuals
from reports.statistics._statistic import CONSTANT, AnovaResult, Assumption, Design, ModelsTest, is_constant

SHARED = Assumption(
    name="independent models", checked_on="samples of the parts", outcome="violated: models share every repeat"
)


@dataclass(frozen=True, kw_only=True)
class OneWayResult(AnovaResult):
    """`eta2` is the models' share of all variation, `omega2` the same without what chance alone would give."""

    eta2: float | None = None
    omega2: float | None = None


class OneWayAnova(ModelsTest[OneWayResult]):
    """F of the models against the spread within them; it ignores that they share splits, so it is always flagged."""

    title = "one-way ANOVA"
    source = "Fisher 1925; reference paper, section 3.1.4"

    def compare(self, scores: np.ndarray, design: Design) -> OneWayResult:
        x = self.models(scores)
        n, k = x.shape
        by_model = x.mean(axis=0) - x.mean()
        residuals = x - x.mean() - by_model
        result = OneWayResult(
            test=self.title,
            k=k,
            n=n,
            df1=k - 1,
            df2=n * k - k,
            ss_models=float(n * (by_model**2).sum()),
            ss_error=float((residuals**2).sum()),
            independence_violated=True,
        )
        if is_constant(result.ss_error**0.5, float(x.mean())):
            return replace(result, note=CONSTANT)
        f = (result.ss_models / result.df1) / (result.ss_error / result.df2)
        return replace(
            result,
            f=f,
            p=float(stats.f.sf(f, result.df1, result.df2)),
            eta2=result.ss_models / (result.ss_models + result.ss_error),
            omega2=result.df1 * (f - 1) / (result.df1 * (f - 1) + n * k),
            assumptions=(
                SHARED,
                independent(design),
                equal_spread(x, design),
                normal_residuals(residuals, design),
            ),
        )
