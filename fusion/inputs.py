"""Feed a stack of members from one shared feature block: rows by index, normalised as each member learned to."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fusion.splits import Split
from stores.block import ABSENT, FeatureBlock

INPUT_NORMS = ("batch", "layer", "none")
_EPSILON = 1e-5


def to_device(block: FeatureBlock, device: torch.device) -> dict[str, Tensor]:
    """Return `values[modality]` (rows, dim) on the device, in the stored dtype, once for all members and heads."""
    return {modality: torch.from_numpy(block.values[modality]).to(device) for modality in block.modalities}


class Inputs:
    """What M members read: member m reads the rows of `splits[m]`'s repeat.

    `norm` is "batch" (mean and deviation of each dimension over the member's own training rows; a dimension that is
    constant there is only centred), "layer" (over the dimensions of a row) or "none". A sample has `versions`: itself,
    which is number 0, and the views the block has of it; a modality that lacks a view reads the sample itself there.
    Raises ValueError for a split with a sample that lacks a modality, and for a view of a sample it does not train on.
    """

    def __init__(
        self,
        block: FeatureBlock,
        values: Mapping[str, Tensor],
        modalities: Sequence[str],
        splits: Sequence[Split],
        norm: str,
    ) -> None:
        self.norm = norm
        self.values = {m: values[m] for m in modalities}
        self.device = next(iter(self.values.values())).device
        self.labels = torch.from_numpy(block.labels.astype(np.int64)).to(self.device)
        rows = {m: np.stack([block.repeat_rows(m, split.repeat) for split in splits]) for m in modalities}
        for m in modalities:
            _check_present(block, m, rows[m], splits)
            _check_views(block, m, splits)
        self.versions = 1 + max(block.views[m].shape[1] if m in block.views else 0 for m in modalities)
        versions = {m: self._versions(block, m, rows[m], splits) for m in modalities}
        self.rows = {m: torch.from_numpy(versions[m]).to(self.device) for m in modalities}  # (M, versions, n)
        if norm == "batch":
            train = [torch.from_numpy(split.train).to(self.device) for split in splits]
            self.shift, self.scale = {}, {}
            for m in modalities:
                fitted = [
                    _standard(self.values[m].index_select(0, own[0, part]))
                    for own, part in zip(self.rows[m], train, strict=True)
                ]
                self.shift[m], self.scale[m] = (torch.stack(terms)[:, None] for terms in zip(*fitted, strict=True))

    @property
    def widths(self) -> dict[str, int]:
        """The dimension of each modality."""
        return {m: values.shape[1] for m, values in self.values.items()}

    def batch(self, samples: Tensor, members: Tensor, versions: Tensor | None = None) -> dict[str, Tensor]:
        """Return `x[modality]` (L, B, dim) float32 of the samples (L, B) of the `members` (L,) of the stack.

        `versions` (L, B), below `self.versions`, are for training; without them it is the samples themselves.
        """
        drawn = torch.zeros_like(samples) if versions is None else versions
        return {m: self._normalised(m, samples, members, drawn) for m in self.values}

    def _versions(self, block: FeatureBlock, m: str, rows: np.ndarray, splits: Sequence[Split]) -> np.ndarray:
        """Return (M, versions, n) rows: the samples themselves, then each view where there is one."""
        found = np.repeat(rows[:, None], self.versions, axis=1)
        for own, split in zip(found, splits, strict=True):
            views = block.repeat_views(m, split.repeat)
            there = views != ABSENT
            own[1 : 1 + len(views)][there] = views[there]
        return found

    def _normalised(self, m: str, samples: Tensor, members: Tensor, versions: Tensor) -> Tensor:
        rows = self.rows[m][members[:, None], versions, samples]
        x = self.values[m].index_select(0, rows.flatten()).float().view(*rows.shape, -1)
        if self.norm == "batch":
            return torch.addcmul(self.shift[m][members], x, self.scale[m][members])
        return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=_EPSILON) if self.norm == "layer" else x


def _standard(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return (shift, scale), both (dim,), with `shift + scale x` of mean 0 and deviation 1 over the rows."""
    x = rows.float()
    mean = x.mean(dim=0)
    variance = (x - mean).square_().mean(dim=0)
    scale = torch.where(variance > 0, variance, 1).rsqrt()
    return -mean * scale, scale


def _check_views(block: FeatureBlock, modality: str, splits: Sequence[Split]) -> None:
    """The guard of augmented views: whoever is not trained on, above all those a run is scored on, has none."""
    for split in splits:
        viewed = (block.repeat_views(modality, split.repeat) != ABSENT).any(axis=0)
        viewed[split.train] = False
        if len(strays := np.flatnonzero(viewed)):
            parts = (f"its {p} part" for p in ("test", "val", "encoder") if strays[0] in getattr(split, p))
            raise ValueError(
                f"repeat {split.repeat} would read {modality} views of {len(strays)} samples it does not train on "
                f"({block.sample_ids[strays[0]]} of {next(parts, 'no part')} first): views are for training parts only"
            )


def _check_present(block: FeatureBlock, modality: str, rows: np.ndarray, splits: Sequence[Split]) -> None:
    for own, split in zip(rows, splits, strict=True):
        used = np.concatenate([split.train, split.val, split.test])
        if len(lacking := used[own[used] == ABSENT]):
            raise ValueError(
                f"repeat {split.repeat} uses {len(lacking)} samples without {modality} ({block.sample_ids[lacking[0]]} "
                "first): heads are given complete samples only"
            )
