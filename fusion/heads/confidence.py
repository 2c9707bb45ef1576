"""The paper's confidence rules: sure modalities that agree weigh more."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fusion.heads._head import Combined, Combiner, HeadConfig
from stores.errors import ConfigError

MEASURES = ("maximum", "entropy")


@dataclass(frozen=True, kw_only=True)
class ConfidenceConfig(HeadConfig):
    """`measure` is how sure a posterior is: its maximum, or `entropy` for 1 - entropy / log K.

    With a `threshold` (0 is off; the paper's example is 0.8) only modalities surer than that have a weight. Of a sample
    with none so sure, all count as if there was no threshold. Agreement is counted among all modalities either way.
    """

    measure: str = "maximum"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ConfigError(f"measure should be one of {', '.join(MEASURES)}, got {self.measure!r}")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"threshold should be in [0, 1), got {self.threshold}")


class Confidence(Combiner):
    """`c_m = max_k p_mk`, `a_m` = how many of the other modalities prefer the same class, the first of equals;
    `r_m = c_m (1 + a_m / (M - 1))`, `w_m = r_m / sum r`, `p = sum_m w_m p_m`; nothing in it is trained.

    M counts the modalities a sample has; an absent one has weight 0, a single one weight 1. Posteriors are calibrated
    first, else whoever is over-confident wins. Where all are as unsure as can be (`entropy` alone allows it) the
    weights are equal. Source: reference paper, section 3.1.3, which gives no amounts, made exact by rule D4 (A16).
    """

    version = 1
    config_type = ConfidenceConfig
    calibrated = True

    def combine(self, posteriors: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]) -> Combined:
        names = sorted(posteriors)
        there = np.stack([present[m] for m in names], axis=1)  # (n, modalities)
        p = np.stack([posteriors[m] for m in names], axis=1).astype(np.float64)  # (n, modalities, K)
        weights = _shares(self._sureness(p, there) * _agreement(p.argmax(axis=2), there), there)
        fused = (weights[..., None] * np.where(there[..., None], p, 0)).sum(axis=1)
        return Combined(posteriors=fused.astype(np.float32), weights=weights.astype(np.float32))

    def _sureness(self, p: np.ndarray, there: np.ndarray) -> np.ndarray:
        sure = np.where(there, p.max(axis=2) if self.config.measure == "maximum" else _certainty(p), 0.0)
        counts = sure > self.config.threshold
        return np.where(counts | ~counts.any(axis=1, keepdims=True), sure, 0.0)


def _certainty(p: np.ndarray) -> np.ndarray:
    """Return 1 - entropy / log K (n, modalities) of posteriors (n, modalities, K)."""
    terms = p * np.log(np.where(p > 0, p, 1.0))
    return np.asarray(np.clip(1 + terms.sum(axis=2) / np.log(p.shape[2]), 0.0, 1.0))


def _agreement(preferred: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return `1 + a_m / (M - 1)` (n, modalities) of the preferred classes (n, modalities)."""
    same = (preferred[:, :, None] == preferred[:, None]) & there[:, None]
    others = np.maximum(there.sum(axis=1, keepdims=True) - 1, 1)
    return np.where(there, 1 + (same.sum(axis=2) - 1) / others, 0.0)


def _shares(raw: np.ndarray, there: np.ndarray) -> np.ndarray:
    raw = np.where(raw.any(axis=1, keepdims=True), raw, there)
    return np.asarray(raw / np.maximum(raw.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny))
