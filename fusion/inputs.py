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
    constant there is only centred), "layer" (over the dimensions of a row) or "none". Raises ValueError for a split
    with a sample that lacks a modality.
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
        self.rows = {m: torch.from_numpy(rows[m]).to(self.device) for m in modalities}
        if norm == "batch":
            train = [torch.from_numpy(split.train).to(self.device) for split in splits]
            self.shift, self.scale = {}, {}
            for m in modalities:
                fitted = [
                    _standard(self.values[m].index_select(0, own[part]))
                    for own, part in zip(self.rows[m], train, strict=True)
                ]
                self.shift[m], self.scale[m] = (torch.stack(terms)[:, None] for terms in zip(*fitted, strict=True))

    @property
    def widths(self) -> dict[str, int]:
        """The dimension of each modality."""
        return {m: values.shape[1] for m, values in self.values.items()}

    def batch(self, samples: Tensor, members: Tensor) -> dict[str, Tensor]:
        """Return `x[modality]` (L, B, dim) float32 of the samples (L, B) of the `members` (L,) of the stack."""
        return {m: self._normalised(m, samples, members) for m in self.values}

    def _normalised(self, m: str, samples: Tensor, members: Tensor) -> Tensor:
        rows = self.rows[m][members[:, None], samples]
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


def _check_present(block: FeatureBlock, modality: str, rows: np.ndarray, splits: Sequence[Split]) -> None:
    for own, split in zip(rows, splits, strict=True):
        used = np.concatenate([split.train, split.val, split.test])
        if len(lacking := used[own[used] == ABSENT]):
            raise ValueError(
                f"repeat {split.repeat} uses {len(lacking)} samples without {modality} ({block.sample_ids[lacking[0]]} "
                "first): heads are given complete samples only"
            )
