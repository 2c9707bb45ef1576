"""Repeated-measures analysis of variance: the repeats are blocks that every model shares."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.linalg import helmert

from reports.statistics._assumptions import independent, normal_residuals, told
from reports.statistics._statistic import CONSTANT, AnovaResult, Assumption, Design, ModelsTest, is_constant


@dataclass(frozen=True, kw_only=True)
class RepeatedResult(AnovaResult):
    """`p_gg` is F's with both df multiplied by Greenhouse and Geisser's epsilon, `p_hf` with Huynh and Feldt's.

    The latter is capped at 1; `hf_uncapped` is None where it is infinite. `f_overlap`, `p_overlap` (df as `p_gg`) are
    this project's own extension: F scaled for overlapping repeats, which for k = 2 is the square of the corrected t.
    Where repeats do not overlap they are F and `p_gg`.
    """

    ss_blocks: float
    partial_eta2: float | None = None
    generalised_eta2: float | None = None
    gg_epsilon: float | None = None
    df1_gg: float | None = None
    df2_gg: float | None = None
    p_gg: float | None = None
    hf_epsilon: float | None = None
    hf_uncapped: float | None = None
    df1_hf: float | None = None
    df2_hf: float | None = None
    p_hf: float | None = None
    f_overlap: float | None = None
    p_overlap: float | None = None


class RepeatedAnova(ModelsTest[RepeatedResult]):
    """F of the models against what is left once every repeat has its own level."""

    title = "repeated-measures ANOVA"
    source = "Greenhouse & Geisser 1959, Psychometrika 24; Huynh & Feldt 1976, Journal of Educational Statistics 1"

    def compare(self, scores: np.ndarray, design: Design) -> RepeatedResult:
        x = self.models(scores)
        n, k = x.shape
        by_model, by_repeat = x.mean(axis=0) - x.mean(), x.mean(axis=1, keepdims=True) - x.mean()
        residuals = x - x.mean() - by_model - by_repeat
        result = RepeatedResult(
            test=self.title,
            k=k,
            n=n,
            df1=k - 1,
            df2=(k - 1) * (n - 1),
            ss_models=float(n * (by_model**2).sum()),
            ss_error=float((residuals**2).sum()),
            ss_blocks=float(k * (by_repeat**2).sum()),
            independence_violated=design.overlap,
        )
        if is_constant(result.ss_error**0.5, float(x.mean())):
            return replace(result, note=CONSTANT)
        checks = (independent(design), sphericity(x, design), normal_residuals(residuals, design))
        return replace(_tested(result, greenhouse_geisser(x), design), assumptions=checks)


def _tested(r: RepeatedResult, gg: float, design: Design) -> RepeatedResult:
    f = (r.ss_models / r.df1) / (r.ss_error / r.df2)
    uncapped = huynh_feldt(gg, r.n, r.k)
    hf = 1.0 if uncapped is None else min(1.0, uncapped)
    df_gg, df_hf = ((r.df1 * epsilon, r.df2 * epsilon) for epsilon in (gg, hf))
    f_overlap = f * (1 / r.n) / (1 / r.n + design.ratio) if design.overlap else f
    return replace(
        r,
        f=f,
        p=float(stats.f.sf(f, r.df1, r.df2)),
        partial_eta2=r.ss_models / (r.ss_models + r.ss_error),
        generalised_eta2=r.ss_models / (r.ss_models + r.ss_error + r.ss_blocks),
        gg_epsilon=gg,
        df1_gg=df_gg[0],
        df2_gg=df_gg[1],
        p_gg=float(stats.f.sf(f, *df_gg)),
        hf_epsilon=hf,
        hf_uncapped=uncapped,
        df1_hf=df_hf[0],
        df2_hf=df_hf[1],
        p_hf=float(stats.f.sf(f, *df_hf)),
        f_overlap=f_overlap,
        p_overlap=float(stats.f.sf(f_overlap, *df_gg)),
    )


def contrasts(x: np.ndarray) -> np.ndarray:
    """Return the covariance (k - 1, k - 1) of orthonormal contrasts between the models of `x` (n, k)."""
    between: np.ndarray = helmert(x.shape[1])
    return np.atleast_2d(between @ np.cov(x, rowvar=False) @ between.T)


def greenhouse_geisser(x: np.ndarray) -> float:
    """Return epsilon of `x` (n, k): 1 under sphericity, at least 1 / (k - 1)."""
    m = contrasts(x)
    return float(np.trace(m) ** 2 / (len(m) * np.trace(m @ m)))


def huynh_feldt(gg: float, n: int, k: int) -> float | None:
    """Return Huynh and Feldt's epsilon, which may be above 1; None where it is infinite."""
    left = n - 1 - (k - 1) * gg
    return (n * (k - 1) * gg - 2) / ((k - 1) * left) if left > 1e-12 * n else None


def sphericity(x: np.ndarray, design: Design) -> Assumption:
    """Mauchly's test of `x` (n, k), second-order p as in R; without a p where it is undefined.

    Source: Mauchly 1940, Annals of Mathematical Statistics 11. It needs more repeats than models.
    """
    (n, k), m, name = x.shape, contrasts(x), "sphericity"
    d = len(m)
    if d == 1:
        return Assumption(name=name, checked_on="two models", outcome="holds: there is only one difference")
    checked_on = f"covariances of {k} models over {n} repeats (Mauchly's W; epsilon {greenhouse_geisser(x):.3f})"
    sign, log_det = np.linalg.slogdet(m)
    if n <= k or sign <= 0:
        return Assumption(name=name, checked_on=checked_on, outcome="cannot be told: W takes more repeats than models")
    log_w, df = float(log_det - d * np.log(np.trace(m) / d)), d * (d + 1) // 2 - 1
    rho = 1 - (2 * d**2 + d + 2) / (6 * d * (n - 1))
    second = (d + 2) * (d - 1) * (d - 2) * (2 * d**3 + 6 * d**2 + 3 * k + 2) / (288 * ((n - 1) * d * rho) ** 2)
    tails = stats.chi2.sf(-(n - 1) * rho * log_w, [df, df + 4])
    p = min(1.0, float(tails[0] + second * (tails[1] - tails[0])))
    return Assumption(name=name, checked_on=checked_on, outcome=told(p, design), statistic=float(np.exp(log_w)), p=p)
