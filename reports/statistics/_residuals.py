"""What analyses of several models take for granted about their residuals, checked."""

import numpy as np
from scipy import stats

from reports.statistics._assumptions import told
from reports.statistics._statistic import Assumption, Design

MOST_FOR_SHAPIRO = 5000  # Royston's p holds up to here


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
