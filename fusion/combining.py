"""Combine stored posteriors of single modalities: who has a say, how sure each voter really is, and the prior."""

from collections.abc import Mapping, Sequence

import numpy as np

from fusion.calibration import fit_temperatures, soften
from fusion.heads._head import Combiner
from fusion.splits import Split
from fusion.stack import Scored
from stores.block import ABSENT, FeatureBlock
from stores.studies import StudyStore

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
