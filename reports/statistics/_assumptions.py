"""What tests on paired differences take for granted, checked on the data where that is possible."""

import math

import numpy as np
from scipy import stats

from reports.statistics._statistic import Assumption, Design, is_constant

MOST_FOR_SHAPIRO = 5000  # Royston's p holds up to here
FEWEST_FOR_SKEWNESS = 8  # D'Agostino's transformation holds from here on


def normal(d: np.ndarray, design: Design) -> Assumption:
    """Shapiro-Wilk on the differences (J,), which must not be constant."""
    w, p = stats.shapiro(d)
    return Assumption(
        name="normal differences",
        checked_on=_checked_on(d, design, "Shapiro-Wilk"),
        outcome=told(float(p), design),
        statistic=float(w),
        p=float(p),
    )


def symmetric(d: np.ndarray, design: Design) -> Assumption:
    """Skewness of the differences (J,), with D'Agostino's test where they are enough for it."""
    constant = is_constant(float(d.std()), float(d.mean()))
    enough = len(d) >= FEWEST_FOR_SKEWNESS and not constant
    p = float(stats.skewtest(d).pvalue) if enough else math.nan
    return Assumption(
        name="symmetric differences",
        checked_on=_checked_on(d, design, "skewness, D'Agostino"),
        outcome=told(p, design)
        if enough
        else f"cannot be told: this takes {FEWEST_FOR_SKEWNESS} differences that differ",
        statistic=0.0 if constant else float(stats.skew(d)),
        p=p if enough else None,
    )


def independent(design: Design) -> Assumption:
    """Whether repeats are independent draws, as the naive tests take them to be."""
    if not design.overlap:
        outcome = "holds for the noise of training on this one split, and for nothing beyond it"
    elif design.shared:
        outcome = f"violated: a repeat has {design.shared:.0%} of its test samples in common with another one"
    else:
        outcome = "violated: repeats train on parts that overlap"
    return Assumption(
        name="independent repeats", checked_on="samples of the parts", outcome=outcome, statistic=design.shared
    )


def correlated(design: Design) -> Assumption:
    """How far repeats are taken to be correlated, n2 / (n1 + n2): the price of their overlap."""
    rho = design.ratio / (1 + design.ratio)
    return Assumption(
        name="correlation of repeats",
        checked_on="sizes of the parts",
        outcome=f"taken to be n2/(n1+n2) = {rho:.3f}: a single corpus cannot show it",
        statistic=rho,
    )


def _checked_on(d: np.ndarray, design: Design, test: str) -> str:
    overlap = "; they share samples, so p is a guide" if design.overlap else ""
    return f"{len(d)} differences ({test}{overlap})"


def told(p: float, design: Design) -> str:
    """Return the outcome of a check; that nothing was found does not show that nothing is there."""
    return "not contradicted" if p >= design.alpha else "contradicted"


def normal_residuals(residuals: np.ndarray, design: Design) -> Assumption:
    """Shapiro-Wilk on `residuals`, any shape, which must not be constant; its p takes them as independent."""
    name, count = "normal residuals", residuals.size
    if count > MOST_FOR_SHAPIRO:
        few = f"cannot be told: p is known for at most {MOST_FOR_SHAPIRO}"
        return Assumption(name=name, checked_on=f"{count} residuals (Shapiro-Wilk)", outcome=few)
    w, p = stats.shapiro(residuals)
    return Assumption(
        name=name,
        checked_on=f"{count} residuals (Shapiro-Wilk{'; repeats share samples, so p is a guide' * design.overlap})",
        outcome=told(float(p), design),
        statistic=float(w),
        p=float(p),
    )


def equal_spread(x: np.ndarray, design: Design) -> Assumption:
    """Brown-Forsythe on `x` (n repeats, k models): do deviations from the models' medians differ in size?"""
    name, checked_on = "equal spread", f"{x.size} deviations from the models' medians (Brown-Forsythe)"
    deviations = np.abs(x - np.median(x, axis=0))
    if not (deviations - deviations.mean(axis=0)).any():
        return Assumption(name=name, checked_on=checked_on, outcome="cannot be told: within a model all are the same")
    f, p = stats.levene(*x.T, center="median")
    return Assumption(name=name, checked_on=checked_on, outcome=told(float(p), design), statistic=float(f), p=float(p))
