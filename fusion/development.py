"""All that a search may see of a repeat: its training and validation samples, and nothing of those it is tested on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from fusion.errors import SplitError
from fusion.splits import Split
from stores.block import ABSENT, FeatureBlock
from stores.dealing import shares

_DRAWS = 50  # of folds, before they are called impossible


@dataclass(frozen=True, kw_only=True, eq=False)
class Development:
    """Training and validation samples of one repeat, in a block of their own.

    `splits` say who trains and who validates: one split, or one a fold; positions are into this block, test parts are
    empty, and `Split.repeat` numbers the folds. `values[modality]` (rows, dim) lie on the device. `seed` is the
    repeat's.
    """

    block: FeatureBlock
    values: Mapping[str, Tensor]
    splits: tuple[Split, ...]
    seed: int

    def in_folds(self, count: int) -> "Development":
        """Return the same samples dealt into folds by whole groups, stratified: each fold validates once.

        A view of a sample is read only by folds that train on the sample. Raises SplitError, with the numbers, if no
        deal leaves a sample in every fold and every class in every training part.
        """
        block = self.block
        splits = deal_whole(block.labels, block.groups, block.classes, count, self.seed)
        views = {m: np.repeat(found, count, axis=0) for m, found in block.views.items()}  # (folds, K, n)
        for found in views.values():
            for own, split in zip(found, splits, strict=True):
                own[:, split.val] = ABSENT
        return replace(self, block=replace(block, views=views), splits=splits)


def deal_whole(
    labels: np.ndarray, groups: np.ndarray, classes: Sequence[str], count: int, seed: int
) -> tuple[Split, ...]:
    """Deal samples of labels (n,) and groups (n,) into folds, of which each validates once: one split a fold.

    Raises SplitError, with the numbers, if no deal leaves a sample in every fold and every class in each training part.
    """
    rng, everyone = np.random.default_rng([seed, count]), np.arange(len(labels))
    divisible = len(np.unique(groups)) >= count <= int(np.bincount(labels).max())  # else a fold would be empty
    for _ in range(_DRAWS if divisible else 0):
        folds = shares(labels, groups, 1 / count, rng, folds=count)
        splits = tuple(
            Split(repeat=fold, train=np.setdiff1d(everyone, held), val=held, test=everyone[:0])
            for fold, held in enumerate(folds)
        )
        present = {len(np.unique(labels[split.train])) for split in splits}
        if present == {len(np.unique(labels))} and all(len(split.val) for split in splits):
            return splits
    counts = [len(np.unique(groups[labels == number])) for number in range(len(classes))]
    named = ", ".join(f"{name}: {n}" for name, n in zip(classes, counts, strict=True))
    raise SplitError(
        f"a search on {count} folds needs every class in the training part of each, but training and validation "
        f"together have {len(labels)} samples of {len(np.unique(groups))} groups "
        f'(groups per class {named}): ask for fewer folds, or search with on = "val"'
    )


def develop(block: FeatureBlock, values: Mapping[str, Tensor], split: Split, seed: int) -> Development:
    """Cut the development samples of a repeat out of the study; `seed` is the repeat's own."""
    everyone = np.sort(np.concatenate([split.train, split.val]))
    own = Split(
        repeat=0,
        train=np.searchsorted(everyone, split.train),
        val=np.searchsorted(everyone, split.val),
        test=np.empty(0, dtype=np.int64),
    )
    return Development(block=block.cut(everyone, split.repeat), values=values, splits=(own,), seed=seed)
