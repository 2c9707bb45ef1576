"""Combine stored posteriors of single modalities: who has a say, how sure each voter really is, and the prior."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

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
    ids = [run for own in read for run in own.values()]
    stored = {part: _posteriors(store.predictions(ids, part)) for part in PARTS}
    found = []
    for split, own in zip(splits, read, strict=True):
        votes = {part: _votes(block, getattr(split, part), own, stored[part]) for part in PARTS}
        present = {part: _present(block, split, part, tuple(own)) for part in PARTS}
        found.append(combine_parts(combiner, block, split, votes, present))
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


def _votes(
    block: FeatureBlock,
    positions: np.ndarray,
    read: Mapping[str, str],
    stored: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    names = [block.sample_ids[i] for i in positions]
    return {m: np.stack([stored[run][name] for name in names]) for m, run in read.items()}


def _present(block: FeatureBlock, split: Split, part: str, modalities: Sequence[str]) -> dict[str, np.ndarray]:
    positions = getattr(split, part)
    return {m: block.repeat_rows(m, split.repeat)[positions] != ABSENT for m in modalities}


def _posteriors(table: pa.Table) -> dict[str, dict[str, np.ndarray]]:
    """Return posteriors (K,) by run id and sample id."""
    found: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    rows = np.array(table["posterior"].to_pylist(), dtype=np.float32)
    for run, sample, row in zip(table["run_id"].to_pylist(), table["sample_id"].to_pylist(), rows, strict=True):
        found[run][sample] = row
    return found
