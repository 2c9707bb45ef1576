"""Combine stored posteriors of single modalities: who has a say, how sure each voter really is, and the prior."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from fusion.heads._head import Combiner
from fusion.splits import Split
from fusion.stack import Scored
from stores.block import ABSENT, FeatureBlock
from stores.studies import StudyStore

HOTTEST = 20.0
_TINY = float(np.finfo(np.float32).tiny)  # stored posteriors are float32, where a class can be exactly 0
PARTS = ("val", "test")


def combine_stored(
    combiner: Combiner,
    block: FeatureBlock,
    splits: Sequence[Split],
    read: Sequence[Mapping[str, str]],
    store: StudyStore,
) -> list[dict[str, Scored]]:
    """Return val and test of each split, from the runs `read[i][modality]` of single modalities."""
    whose = {run: split for split, own in zip(splits, read, strict=True) for run in own.values()}
    stored = {part: stored_posteriors(store, block, whose, part) for part in PARTS}
    found = []
    for split, own in zip(splits, read, strict=True):
        votes = {part: {m: stored[part][run] for m, run in own.items()} for part in PARTS}
        found.append(combine_parts(combiner, block, split, votes, present_of(block, split, tuple(own))))
    return found


def combine_parts(
    combiner: Combiner,
    block: FeatureBlock,
    split: Split,
    votes: Mapping[str, Mapping[str, np.ndarray]],
    present: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, Scored]:
    """Return val and test of one split, from posteriors `votes[part][modality]` (n, K) and `present` alike (n,).

    A combiner that asks for it gets calibrated votes, the temperatures being fitted on the validation part.
    """
    if combiner.calibrated:
        temperatures = fit_temperatures(votes["val"], present["val"], block.labels[split.val])
        votes = {part: {m: soften(own, temperatures[m]) for m, own in votes[part].items()} for part in PARTS}
    prior = np.bincount(block.labels[split.train], minlength=len(block.classes)) / len(split.train)
    found = {}
    for part in PARTS:
        combined = combiner.combine(votes[part], present[part])
        sees = np.any(list(present[part].values()), axis=0)
        posteriors = np.where(sees[:, None], combined.posteriors, prior).astype(np.float32)
        found[part] = Scored(posteriors=posteriors, weights=combined.weights)
    return found


def present_of(block: FeatureBlock, split: Split, modalities: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Return who of a split has what: (n,) bool by part and modality."""
    there = {m: block.repeat_rows(m, split.repeat) != ABSENT for m in modalities}
    return {part: {m: own[getattr(split, part)] for m, own in there.items()} for part in PARTS}


def stored_posteriors(
    store: StudyStore, block: FeatureBlock, splits: Mapping[str, Split], part: str
) -> dict[str, np.ndarray]:
    """Return what is stored of each run, (n, K) float32 in the order of its split's part. Raises NotFound."""
    table = store.predictions(list(splits), part)  # sorted by run and sample
    rows = table["posterior"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    runs, starts = np.unique(table["run_id"].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    found = {}
    for run, own in zip(runs, np.split(rows, starts[1:]), strict=True):
        names = [block.sample_ids[i] for i in getattr(splits[run], part)]
        found[str(run)] = np.empty_like(own)
        found[str(run)][sorted(range(len(names)), key=names.__getitem__)] = own
    return found


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
    return np.asarray(softmax(_logs(posteriors) / temperature, axis=1).astype(np.float32))


def fit_temperatures(
    posteriors: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray], labels: np.ndarray
) -> dict[str, float]:
    """Return each modality's temperature, fitted on the samples that have it: `present[modality]` (n,) bool."""
    return {m: fit_temperature(own[present[m]], labels[present[m]]) for m, own in posteriors.items()}


def _logs(posteriors: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(posteriors.astype(np.float64), _TINY))
