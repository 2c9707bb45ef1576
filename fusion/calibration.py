"""How sure a voter really is: one temperature a modality, fitted where nothing was trained."""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

HOTTEST = 20.0
_TINY = float(np.finfo(np.float32).tiny)  # stored posteriors are float32, where a class can be exactly 0


def fit_temperature(posteriors: np.ndarray, labels: np.ndarray) -> float:
    """Return the T that minimises the mean `-log p_y` of `p^(1/T)`, normalised; 1 if there is no sample.

    `posteriors` (n, K), `labels` (n,) integers. T is sought between 1 / HOTTEST and HOTTEST: a voter that is right in
    all its samples would have it go to 0, one that knows nothing to infinity. In log T there is one minimum.
    Source: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017 (temperature scaling).
    """
    if not len(labels):
        return 1.0
    logs, rows = _logs(posteriors), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logs / np.exp(log_temperature), axis=1)[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(-np.log(HOTTEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def soften(posteriors: np.ndarray, temperature: float) -> np.ndarray:
    """Return `p^(1/T)`, normalised, (n, K) float32: flatter if T > 1, sharper if T < 1, preferring the same class."""
    softened: np.ndarray = softmax(_logs(posteriors) / temperature, axis=1).astype(np.float32)
    return softened


def fit_temperatures(
    posteriors: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray], labels: np.ndarray
) -> dict[str, float]:
    """Return each modality's temperature, fitted on the samples that have it: `present[modality]` (n,) bool."""
    return {m: fit_temperature(own[present[m]], labels[present[m]]) for m, own in posteriors.items()}


def _logs(posteriors: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(posteriors.astype(np.float64), _TINY))
