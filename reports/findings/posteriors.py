"""Posteriors taken at their word: how far they are from what happens, and how well they rank each emotion."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.case import Case
from reports.evidence import Evidence
from reports.findings.tallies import SHARE, Rate, Tallies, rate_of
from reports.measures import RESAMPLED
from reports.metrics import BINS, CLIP, brier_scores, calibration_error, confidence_bins, log_losses, ratio
from reports.statistics._statistic import Measured

GRID = tuple(i / 50 for i in range(51))
DIGITS = 5  # of curves, so that results.json stays small
BIASED = "draws of whole groups hold fewer different samples, which raises the error: no interval"
POOLED = "leave-one-group-out"  # its test parts are single groups, too small and one-sided for curves of their own


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One class against the rest: `hits` of its samples and `alarms` of others get at least a posterior, (t,) int64.

    One entry a distinct posterior, the strictest first; the last counts all samples.
    """

    hits: np.ndarray
    alarms: np.ndarray

    @property
    def told(self) -> bool:
        """Whether there are samples of the class, and others."""
        return bool(self.hits[-1] and self.alarms[-1])


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far posteriors of a model are from what happens. `ece` is of BINS equal bins of the top-label confidence.

    It has no interval where groups are resampled. `brier` is summed over classes, 0 to 2; `log_loss` in nats; `clipped`
    is the share of samples whose true class got a posterior below CLIP, which the log loss takes for CLIP.
    """

    model: str
    ece: Rate
    brier: Rate
    log_loss: Rate
    clipped: float


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How well the posterior of an emotion ranks its samples before all others; by luck: 0.5 and `share`."""

    model: str
    label: str
    auc: Rate
    average_precision: Rate
    share: float


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Test predictions of all repeats whose confidence fell in one bin; shares are None if there are none."""

    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """The bins of a model, the least confident first."""

    model: str
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class Band:
    """A curve on GRID: mean over repeats at each point, and the quartiles."""

    mean: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One emotion against the rest: recall by false positive rate, precision by recall, over the parts that have it."""

    model: str
    label: str
    parts: int
    roc: Band
    precision: Band


def calibrate(evidence: Evidence, tallies: Tallies, model: str) -> tuple[Calibration, Reliability]:
    """Return how a model is calibrated, and its bins over all repeats."""
    posteriors = np.concatenate(evidence.posteriors[model])
    labels = evidence.labels
    hits = (evidence.predicted(model) == labels).astype(np.float64)
    confidence = posteriors.max(axis=1).astype(np.float64)
    bins = confidence_bins(confidence)
    losses = [brier_scores(labels, posteriors), log_losses(labels, posteriors)]
    everyone = np.zeros(len(labels), dtype=np.int64)
    [ece] = tallies.rates(bins, BINS, [hits, confidence, None], lambda s: calibration_error(s)[..., None], SHARE)
    if evidence.protocol not in RESAMPLED:
        ece = Rate(estimate=ece.estimate, reason=BIASED)
    brier, log_loss = (
        tallies.rates(everyone, 1, [own, None], lambda s: ratio(s[..., 0], s[..., 1]), (0.0, most))[0]
        for own, most in zip(losses, (2.0, np.inf), strict=True)
    )
    clipped = float((posteriors[np.arange(len(labels)), labels] < CLIP).mean())
    sums = [np.bincount(bins, weights=own, minlength=BINS) for own in (hits, confidence, None)]
    return (
        Calibration(model=model, ece=ece, brier=brier, log_loss=log_loss, clipped=clipped),
        Reliability(model=model, bins=tuple(_bin(*own) for own in zip(*(each.tolist() for each in sums), strict=True))),
    )


def _bin(hits: float, confidence: float, count: float) -> Bin:
    if not count:
        return Bin(count=0, confidence=None, accuracy=None)
    return Bin(count=int(count), confidence=confidence / count, accuracy=hits / count)


def sweeps_of(evidence: Evidence, model: str) -> list[tuple[Sweep, ...]]:
    """Return the sweeps of every repeat by class; where test parts are single groups, one of all of them together."""
    labels, posteriors = [part.labels for part in evidence.held_out], evidence.posteriors[model]
    if evidence.protocol == POOLED:
        return [sweep(np.concatenate(labels), np.concatenate(posteriors))]
    return [sweep(own, p) for own, p in zip(labels, posteriors, strict=True)]


def rank_classes(case: Case, model: str, sweeps: Sequence[Sequence[Sweep]]) -> list[Ranking]:
    """Return AUC and average precision of a model by class, as means over its sweeps."""
    found = np.array([areas(own) for own in sweeps])  # (parts, 2, K)
    shares = np.mean([_shares(own) for own in sweeps], axis=0)
    rates = [[rate_of(case.measures, Measured(repeats=own), SHARE) for own in both] for both in found.swapaxes(0, 2)]
    return [
        Ranking(model=model, label=label, auc=auc, average_precision=precision, share=float(share))
        for label, (auc, precision), share in zip(case.evidence.classes, rates, shares, strict=True)
    ]


def _shares(sweeps: Sequence[Sweep]) -> list[float]:
    return [own.hits[-1] / (own.hits[-1] + own.alarms[-1]) for own in sweeps]


def average_curves(evidence: Evidence, model: str, sweeps: Sequence[Sequence[Sweep]]) -> list[Curve]:
    """Return the curves of a model averaged at each point of GRID (vertically: Fawcett 2006)."""
    both = np.array([curves(own, np.array(GRID)) for own in sweeps])  # (parts, 2, K, G)
    found = []
    for k, label in enumerate(evidence.classes):
        own = both[np.isfinite(both[:, 0, k]).all(axis=1), :, k]
        if len(own):
            found.append(
                Curve(model=model, label=label, parts=len(own), roc=_band(own[:, 0]), precision=_band(own[:, 1]))
            )
    return found


def _band(values: np.ndarray) -> Band:
    lower, upper = np.quantile(values, [0.25, 0.75], axis=0)
    mean, lower, upper = (np.round(own, DIGITS).tolist() for own in (values.mean(axis=0), lower, upper))
    return Band(mean=tuple(mean), lower=tuple(lower), upper=tuple(upper))


def sweep(labels: np.ndarray, posteriors: np.ndarray) -> tuple[Sweep, ...]:
    """Return the sweep of every class of a test part: labels (n,), posteriors (n, K)."""
    return tuple(_sweep(labels == k, np.ascontiguousarray(own)) for k, own in enumerate(posteriors.T))


def _sweep(truth: np.ndarray, posterior: np.ndarray) -> Sweep:
    order = np.argsort(-posterior)
    values = posterior[order]
    ends = np.flatnonzero(np.r_[values[1:] != values[:-1], True])
    hits = np.cumsum(truth[order])[ends]
    return Sweep(hits=hits, alarms=ends + 1 - hits)


def areas(found: Sequence[Sweep]) -> np.ndarray:
    """Return AUC and average precision by class, (2, K) float64; NaN of a class that has no samples, or all.

    Average precision is the sum over thresholds of precision times the step in recall, without interpolation.
    """
    return np.array([(_auc(own), _average_precision(own)) if own.told else (np.nan, np.nan) for own in found]).T


def _auc(own: Sweep) -> float:
    heights = own.hits + np.r_[0, own.hits[:-1]]
    return float((np.diff(own.alarms, prepend=0) * heights).sum() / 2 / (own.hits[-1] * own.alarms[-1]))


def _average_precision(own: Sweep) -> float:
    precision = own.hits / (own.hits + own.alarms)
    return float((np.diff(own.hits, prepend=0) * precision).sum() / own.hits[-1])


def curves(found: Sequence[Sweep], grid: np.ndarray) -> np.ndarray:
    """Return recall by false positive rate, and precision by recall, (2, K, G) on `grid` (G,); NaN as in `areas`.

    ROC points are joined by lines, and the highest is taken where one rate has several. Precision is that of the
    strictest threshold that reaches a recall, as average precision takes it.
    """
    curves = np.full((2, len(found), len(grid)), np.nan)
    for k, own in enumerate(found):
        if own.told:
            curves[0, k] = np.interp(grid, np.r_[0, own.alarms] / own.alarms[-1], np.r_[0, own.hits] / own.hits[-1])
            reached = np.searchsorted(own.hits, grid * own.hits[-1] - 1e-9)
            curves[1, k] = (own.hits / (own.hits + own.alarms))[reached]
    return curves
