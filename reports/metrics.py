"""Scores from labels and posteriors; every name carries its averaging.

All but the AUCs follow from one confusion matrix, rows actual, columns predicted. A class that is absent from a
test part has no recall there: macro averages run over the classes that are present, and the absence is flagged.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

COUNTED = (
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
)
BY_CLASS = tuple(name for name in COUNTED if name.startswith(("balanced", "macro")))  # plain means over classes
RANKED = ("auc_macro_ovr", "auc_micro_ovr", "auc_weighted_ovr")
METRICS = COUNTED + RANKED
BINS = 15  # of confidence, for the calibration error
CLIP = float(np.finfo(np.float32).eps)  # the least posterior the log loss sees: 1.2e-7, as posteriors are float32
PAPER_METRICS = ("accuracy", "macro_precision", "macro_recall", "macro_f1")


def confusion(labels: np.ndarray, posteriors: np.ndarray) -> np.ndarray:
    """Return (K, K) int64, rows actual, columns predicted; the lowest index wins a tie."""
    k = posteriors.shape[1]
    return np.bincount(k * labels.astype(np.int64) + posteriors.argmax(axis=1), minlength=k * k).reshape(k, k)


@dataclass(frozen=True, kw_only=True)
class Margins:
    """What all counted scores need of a confusion matrix: counts (..., K) of `hits`, `support` and `predicted`."""

    hits: np.ndarray
    support: np.ndarray
    predicted: np.ndarray


def margins(matrix: np.ndarray) -> Margins:
    """Return the margins, by class, of confusion matrices (..., K, K)."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return Margins(hits=hits, support=matrix.sum(axis=-1), predicted=matrix.sum(axis=-2))


def class_scores(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall, f1 and support by class, each (..., K), of matrices (..., K, K).

    A class that is absent has recall NaN; one that is never predicted has precision 0.
    """
    counts = margins(matrix)
    return {name: _by_class(name, counts) for name in ("precision", "recall", "f1")} | {"support": counts.support}


def counted_scores(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores named in COUNTED, each (...), of confusion matrices (..., K, K)."""
    counts = margins(matrix)
    return {name: counted_score(name, counts) for name in COUNTED}


def counted_score(name: str, counts: Margins) -> np.ndarray:
    """Return one of the scores named in COUNTED, (...) float64."""
    if name == "accuracy":
        return ratio(counts.hits.sum(axis=-1), counts.support.sum(axis=-1), np.nan)
    averaging, of = ("macro", "recall") if name == "balanced_accuracy" else name.split("_")
    weights = (counts.support if averaging == "weighted" else counts.support > 0).astype(np.float64)
    values = np.nan_to_num(_by_class(of, counts))
    return ratio((values * weights).sum(axis=-1), weights.sum(axis=-1), np.nan)


def _by_class(name: str, counts: Margins) -> np.ndarray:
    if name == "precision":
        return ratio(counts.hits, counts.predicted, 0.0)
    if name == "recall":
        return ratio(counts.hits, counts.support, np.nan)
    return ratio(2 * counts.hits, counts.support + counts.predicted, 0.0)


def chance_corrected(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return Cohen's kappa and the MCC, -1 to 1, each (...), of confusion matrices (..., K, K).

    Kappa is NaN if all samples are of, and are taken for, one class; the MCC is 0 if all are of, or taken for, one.
    Sources: Cohen 1960; Gorodkin 2004, Computational Biology and Chemistry 28.
    """
    counts = margins(np.asarray(matrix, dtype=np.float64))
    n = counts.support.sum(axis=-1)
    chance = (counts.support * counts.predicted).sum(axis=-1)
    above = n * counts.hits.sum(axis=-1) - chance
    actual, predicted = (n * n - (margin**2).sum(axis=-1) for margin in (counts.support, counts.predicted))
    return {"kappa": ratio(above, n * n - chance, np.nan), "mcc": ratio(above, np.sqrt(actual * predicted), 0.0)}


def f1_of_macro_means(matrix: np.ndarray) -> np.ndarray:
    """Return the harmonic mean of macro precision and macro recall, (...): not macro F1, though printed as such."""
    counts = margins(matrix)
    precision, recall = (counted_score(f"macro_{name}", counts) for name in ("precision", "recall"))
    return ratio(2 * precision * recall, precision + recall, 0.0)


def weighted_modality_recall(weights: np.ndarray, hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """Return Eq. 11 of the reference paper, (...): the mean over modalities of TP / (TP + FN), weighted, each (..., M).

    It reads single modalities and never a fused prediction: it lies between the least and the largest of their
    recalls, whatever a fusion does. NaN where a class is absent.
    """
    recalls = ratio(hits, np.asarray(hits) + misses, np.nan)
    total: np.ndarray = (weights * recalls).sum(axis=-1) / np.sum(weights, axis=-1)
    return total


def brier_scores(labels: np.ndarray, posteriors: np.ndarray) -> np.ndarray:
    """Return the Brier score of each sample, (n,) float64, 0 to 2: squared errors summed over classes (Brier 1950)."""
    truth = labels[:, None] == np.arange(posteriors.shape[1])
    losses: np.ndarray = ((posteriors - truth.astype(np.float64)) ** 2).sum(axis=1)
    return losses


def log_losses(labels: np.ndarray, posteriors: np.ndarray) -> np.ndarray:
    """Return -ln of the posterior of the true class of each sample, (n,) float64; what is below CLIP counts as CLIP."""
    true = posteriors[np.arange(len(labels)), labels].astype(np.float64)
    losses: np.ndarray = -np.log(np.maximum(true, CLIP))
    return losses


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, (n,) int64: BINS of equal width over 0..1, a border in the lower one."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)


def calibration_error(bins: np.ndarray) -> np.ndarray:
    """Return the expected calibration error, (...), of sums by bin (..., BINS, 3): hits, confidences, samples.

    The gap between accuracy and mean confidence of each bin, weighted by its samples. Source: Guo et al. 2017, ICML.
    """
    return ratio(np.abs(bins[..., 0] - bins[..., 1]).sum(axis=-1), bins[..., 2].sum(axis=-1), np.nan)


def ranked_scores(labels: np.ndarray, posteriors: np.ndarray) -> dict[str, float | None]:
    """Return the one-vs-rest AUCs named in RANKED; None where a class has no positives or no negatives.

    Macro is the plain mean over classes, weighted the mean by support, micro pools all (sample, class) pairs.
    """
    truth = labels[:, None] == np.arange(posteriors.shape[1])
    micro = float(_auc(truth.reshape(-1, 1), posteriors.reshape(-1, 1))[0])
    if not truth.any(axis=0).all() or truth.all(axis=0).any():
        return {"auc_macro_ovr": None, "auc_micro_ovr": micro, "auc_weighted_ovr": None}
    by_class = _auc(truth, posteriors)
    return {
        "auc_macro_ovr": float(by_class.mean()),
        "auc_micro_ovr": micro,
        "auc_weighted_ovr": float(np.average(by_class, weights=truth.sum(axis=0))),
    }


def _auc(truth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the AUC of every column, all at once: the Mann-Whitney form, ties counted half."""
    positives = truth.sum(axis=0)
    ranks = (rankdata(values, axis=0) * truth).sum(axis=0)
    auc: np.ndarray = (ranks - positives * (positives + 1) / 2) / (positives * (len(truth) - positives))
    return auc


def ratio(top: np.ndarray, bottom: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """Return top / bottom, `otherwise` where there is nothing to divide by."""
    out = np.full(np.broadcast_shapes(np.shape(top), np.shape(bottom)), otherwise)
    np.divide(top, bottom, out=out, where=np.asarray(bottom) > 0)
    return out
