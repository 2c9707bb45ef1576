"""Weights of modalities: those a head gives all samples alike, and each sample's own by emotion and by group."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from reports.evidence import Evidence
from reports.heads import GIVEN
from reports.statistics._statistic import Design, Measured
from reports.statistics.clustered_bootstrap import FEWEST_GROUPS, group_weights, tail_share
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.paired_t import PairedT
from stores.studies import StudyStore


@dataclass(frozen=True, kw_only=True)
class FittedWeight:
    """Weight of one modality in a head that weighs all samples alike: mean and standard deviation over `n` repeats.

    `label` is the emotion it is for in a head that learns weights for each, else None. `given` says that it is a
    setting, which no one fitted. The interval of the mean has the variance factor 1/J + n2/n1 where repeats overlap,
    else 1/J; it and `sd` are None where they are undefined.
    """

    model: str
    modality: str
    label: str | None
    given: bool
    mean: float
    low: float | None
    high: float | None
    sd: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class SampleWeight:
    """Weight of one modality for the test samples of one emotion, in a head that weighs every sample by itself.

    Mean and standard deviation over the `n` test predictions of all repeats, a sample counting as often as it was
    tested; `label` None stands for all emotions. The interval is of the mean when groups are drawn anew, the same in
    all repeats, the trained heads staying as they are; None with fewer than FEWEST_GROUPS groups. Samples a model sees
    nothing of are left out.
    """

    model: str
    modality: str
    label: str | None
    mean: float
    low: float | None
    high: float | None
    sd: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Weights of samples summed by unit (group or repeat) and emotion: `totals` (U, modalities, K), `counts` (U, K)."""

    totals: np.ndarray
    counts: np.ndarray

    def means(self) -> np.ndarray:
        """Return the mean weights by unit, (U, modalities, K) float64; NaN where a unit has no such sample."""
        return _mean(self.totals, self.counts)

    def drawn(self, times: np.ndarray) -> np.ndarray:
        """Return the mean weights (B, modalities, K) over units drawn `times` (B, U); NaN without such a sample."""
        units, modalities, emotions = self.totals.shape
        totals = (times @ self.totals.reshape(units, -1)).reshape(-1, modalities, emotions)
        return _mean(totals, times @ self.counts)

    def pooled(self) -> np.ndarray:
        """Return the mean weights over all units, (modalities, K) float64."""
        means: np.ndarray = self.drawn(np.ones((1, len(self.counts))))[0]
        return means


def _mean(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    out = np.full(totals.shape, np.nan)
    counts = np.broadcast_to(counts[:, None], totals.shape)
    np.divide(totals, counts, out=out, where=counts > 0)
    return out


def by_repeat(evidence: Evidence, model: str) -> Tally:
    """Return what a model weighs, by repeat."""
    parts = evidence.held_out
    return _tally(evidence, model, np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts]))


def by_group(evidence: Evidence, model: str) -> Tally:
    """Return what a model weighs, by group, in the order of their names; the same in all repeats."""
    return _tally(evidence, model, evidence.group_index[1])


def _tally(evidence: Evidence, model: str, units: np.ndarray) -> Tally:
    rows, labels = np.concatenate(evidence.weights[model]).astype(np.float64), evidence.labels
    n, k = int(units.max()) + 1, len(evidence.classes)
    seen = rows.any(axis=1)
    cell = units[seen] * k + labels[seen]
    totals = [np.bincount(cell, weights=own, minlength=n * k).reshape(n, k) for own in rows[seen].T]
    counts = np.bincount(cell, minlength=n * k).reshape(n, k).astype(np.float64)
    return Tally(totals=np.stack(totals, axis=1), counts=counts)


def sample_weights(evidence: Evidence, *, alpha: float, draws: int, seed: int) -> tuple[SampleWeight, ...]:
    """Return the weights of every model that weighs each sample by itself: all emotions, then each that was tested."""
    n_groups = len(evidence.group_index[0])
    times = group_weights(n_groups, draws, seed) if n_groups >= FEWEST_GROUPS else None
    modalities = {model.name: sorted(model.modalities) for model in evidence.models}
    found: list[SampleWeight] = []
    for name in sorted(evidence.weights):
        limits = _limits(by_group(evidence, name), times, alpha) if times is not None else None
        rows, labels = np.concatenate(evidence.weights[name]).astype(np.float64), evidence.labels
        seen = rows.any(axis=1)
        for m, modality in enumerate(modalities[name]):
            for k, label in enumerate((None, *evidence.classes)):
                own = rows[seen & ((labels == k - 1) | (label is None)), m]
                if len(own):
                    found.append(
                        SampleWeight(
                            model=name,
                            modality=modality,
                            label=label,
                            mean=float(own.mean()),
                            low=None if limits is None else float(limits[0, m, k]),
                            high=None if limits is None else float(limits[1, m, k]),
                            sd=float(own.std(ddof=1)) if len(own) > 1 else None,
                            n=len(own),
                        )
                    )
    return tuple(found)


def _limits(tally: Tally, times: np.ndarray, alpha: float) -> np.ndarray:
    """Return expanded percentile limits (2, modalities, 1 + K), those of all emotions first."""
    totals = np.concatenate([tally.totals.sum(axis=2, keepdims=True), tally.totals], axis=2)
    counts = np.concatenate([tally.counts.sum(axis=1, keepdims=True), tally.counts], axis=1)
    drawn = Tally(totals=totals, counts=counts).drawn(times)
    tested = np.isfinite(drawn).any(axis=0)
    share = tail_share(alpha, times.shape[1])
    limits: np.ndarray = np.nanquantile(np.where(tested, drawn, 0.0), [share, 1 - share], axis=0)
    return limits


def fitted_weights(evidence: Evidence, store: StudyStore, design: Design) -> tuple[FittedWeight, ...]:
    """Return the weights, learned or given, of every model that weighs all samples alike."""
    found = weights_by_repeat(evidence, store)
    given = {model.name for model in evidence.models if model.head in GIVEN}
    return tuple(
        _fitted(model, modality, label, model in given, own, design)
        for (model, modality, label), by_repeat in found.items()
        for own in [list(by_repeat.values())]
    )


def weights_by_repeat(evidence: Evidence, store: StudyStore) -> dict[tuple[str, str, str | None], dict[int, float]]:
    """Return fitted weights by (model, modality, emotion or None), then by repeat."""
    table = store.weights()
    if table is None:
        return {}
    runs = {row["run_id"]: row for row in evidence.runs.select(["run_id", "model", "repeat"]).to_pylist()}
    rows = table.filter(pc.is_in(table["run_id"], evidence.runs["run_id"].combine_chunks())).to_pylist()
    number = {None: -1} | {label: k for k, label in enumerate(evidence.classes)}
    rows.sort(
        key=lambda row: (
            runs[row["run_id"]]["model"], row["modality"], number[row["label"]], runs[row["run_id"]]["repeat"]
        )
    )  # fmt: skip
    values: dict[tuple[str, str, str | None], dict[int, float]] = {}
    for row in rows:
        run = runs[row["run_id"]]
        values.setdefault((run["model"], row["modality"], row["label"]), {})[run["repeat"]] = row["weight"]
    return values


def _fitted(
    model: str, modality: str, label: str | None, given: bool, own: Sequence[float], design: Design
) -> FittedWeight:
    test = CorrectedResampledT() if design.overlap else PairedT()
    low, high = test.limits(None if given else Measured(repeats=np.array(own)), design)
    return FittedWeight(
        model=model,
        modality=modality,
        label=label,
        given=given,
        mean=statistics.fmean(own),
        low=low,
        high=high,
        sd=statistics.stdev(own) if len(own) > 1 else None,
        n=len(own),
    )
