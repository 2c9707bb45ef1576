"""What tests on paired differences take for granted, checked on the data where that is possible."""

import math

import numpy as np
from scipy import stats

from reports.statistics._statistic import Assumption, Design, is_constant

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
