"""Feed a stack of members from one shared feature block: rows by index, normalised as each member learned to."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusion.errors import FeatureError
from fusion.splits import Split
from stores.block import ABSENT, FeatureBlock

INPUT_NORMS = ("batch", "layer", "none")
_EPSILON = 1e-5
_ROUNDING = 1e-12  # of a mean square: less variance than that is what float64 leaves of none
_CHECKED_AT_ONCE = 4096  # rows
_IN_CACHE = 1 << 22  # elements: a larger batch is read member by member, so that what is between stays in the cache


def to_device(block: FeatureBlock, device: torch.device) -> dict[str, Tensor]:
    """Return `values[modality]` (rows, dim) on the device, in the stored dtype, once for all members and heads.

    Raises FeatureError, naming the sample, for a row that is not finite.
    """
    for modality in block.modalities:
        _check_finite(block, modality)
    return {modality: torch.from_numpy(block.values[modality]).to(device) for modality in block.modalities}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What L members read in one step, B samples each; everything (L, B) unless said.

    `samples` are positions into the block, `real` is False where a member has run out of them. `versions` number the
    view that is read (0: the sample itself); features are `(1 - mix) x[samples] + mix x[partners]`; `hidden` (L, B,
    modalities) is True for what a sample has but should not be seen with.
    """

    samples: Tensor
    real: Tensor
    versions: Tensor | None = None
    partners: Tensor | None = None
    mix: Tensor | None = None
    hidden: Tensor | None = None


# what is done to features and presence (L, B, modalities) on their way to a head, after their normalisation, as the
# stack's members (L,) shall see them
Condition = Callable[[Mapping[str, Tensor], Tensor, Sequence[int]], tuple[dict[str, Tensor], Tensor]]


class Inputs:
    """What M members read: member m reads the rows of `splits[m]`'s repeat.

    `norm` is "batch" (mean and deviation of each dimension over the member's own training rows; a dimension that is
    constant there is only centred), "layer" (over the dimensions of a row) or "none". A sample has `versions`: itself,
    which is number 0, and the views the block has of it; a modality that lacks a view reads the sample itself there.
    `precision` is the dtype that heads get. Raises ValueError for a view of a sample that is not trained on.
    """

    def __init__(
        self,
        block: FeatureBlock,
        values: Mapping[str, Tensor],
        modalities: Sequence[str],
        splits: Sequence[Split],
        norm: str,
        precision: str = "float32",
    ) -> None:
        self.norm = norm
        self.modalities = tuple(sorted(modalities))
        self.dtype: torch.dtype = getattr(torch, precision)
        self._kept: dict[tuple[str, torch.dtype], Tensor] = {}  # used again: fresh pages cost more than the sums
        self.values = {m: values[m] for m in self.modalities}
        self.device = next(iter(self.values.values())).device
        self.labels = torch.from_numpy(block.labels.astype(np.int64)).to(self.device)
        rows = {m: np.stack([block.repeat_rows(m, split.repeat) for split in splits]) for m in self.modalities}
        there = np.stack([rows[m] != ABSENT for m in self.modalities], axis=-1)  # (M, n, modalities)
        self.complete = all(
            there[i, np.concatenate([own.train, own.val, own.test])].all() for i, own in enumerate(splits)
        )
        self.there = torch.from_numpy(there).to(self.device)
        for m in self.modalities:
            _check_views(block, m, splits)
        self.versions = 1 + max(block.views[m].shape[1] if m in block.views else 0 for m in self.modalities)
        versions = {m: self._versions(block, m, rows[m], splits) for m in self.modalities}
        self.rows = {m: torch.from_numpy(versions[m]).to(self.device) for m in self.modalities}  # (M, versions, n)
        if norm == "batch":
            self._fit_norm(rows, splits)

    @property
    def widths(self) -> dict[str, int]:
        """The dimension of each modality."""
        return {m: values.shape[1] for m, values in self.values.items()}

    def seen(self, member: int, positions: np.ndarray) -> np.ndarray:
        """Return those of the positions at which a member has at least one modality."""
        return np.asarray(positions[self.there[member].any(dim=1).cpu().numpy()[positions]])

    def batch(self, reading: Reading, members: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return `x[modality]` (L, B, dim) and presence (L, B, modalities) of what the stack's `members` (L,) read.

        Features of what is not present are 0. They lie in memory that the next batch uses again.
        """
        place = members[:, None] * self.there.shape[1] + reading.samples
        present = self.there.flatten(0, 1)[place] & reading.real[..., None]
        if reading.hidden is not None:
            present = present & ~reading.hidden
        x = {m: self._normalised(m, reading, members) for m in self.modalities}
        if reading.hidden is not None or not self.complete:
            x = {m: own * present[..., i, None] for i, (m, own) in enumerate(x.items())}
        return x, present

    def _fit_norm(self, rows: Mapping[str, np.ndarray], splits: Sequence[Split]) -> None:
        self.shift, self.scale = {}, {}
        for m in self.modalities:
            counts = np.zeros((len(splits), len(self.values[m])))  # how often a member trains on a row
            for own, found, split in zip(counts, rows[m], splits, strict=True):
                np.add.at(own, found[split.train][found[split.train] != ABSENT], 1)
            shift, scale = _standards(self.values[m], torch.from_numpy(counts).to(self.device))
            self.shift[m], self.scale[m] = shift[:, None], scale[:, None]

    def _versions(self, block: FeatureBlock, m: str, rows: np.ndarray, splits: Sequence[Split]) -> np.ndarray:
        """Return (M, versions, n) rows: the samples themselves, then each view where there is one; 0 for the absent."""
        found = np.repeat(np.maximum(rows, 0)[:, None], self.versions, axis=1)
        for own, split in zip(found, splits, strict=True):
            views = block.repeat_views(m, split.repeat)
            there = views != ABSENT
            own[1 : 1 + len(views)][there] = views[there]
        return found

    def _normalised(self, m: str, reading: Reading, members: Tensor) -> Tensor:
        large = reading.samples.numel() * self.values[m].shape[1] > _IN_CACHE
        if large and self.norm == "batch" and reading.partners is None and self.device.type == "cpu":
            return self._member_by_member(m, reading, members)
        x = self._read(m, reading.samples, members, reading.versions)
        if reading.partners is not None and reading.mix is not None:
            x = torch.lerp(x, self._read(m, reading.partners, members, None), reading.mix[..., None])
        if self.norm == "batch":
            torch.addcmul(self.shift[m][members], x, self.scale[m][members], out=x)
        elif self.norm == "layer":
            x = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=_EPSILON)
        return x.to(self.dtype)

    def _member_by_member(self, m: str, reading: Reading, members: Tensor) -> Tensor:
        values = self.values[m]
        rows = self._rows_of(m, reading.samples, members, reading.versions)
        x = self._memory(m, self.dtype, *rows.shape, values.shape[1])
        read = self._memory(f"{m} as stored", values.dtype, rows.shape[1], values.shape[1])
        for own, at, place in zip(x, rows, members.tolist(), strict=True):
            torch.index_select(values, 0, at, out=read)
            torch.addcmul(self.shift[m][place], read, self.scale[m][place], out=own)
        return x

    def _rows_of(self, m: str, samples: Tensor, members: Tensor, versions: Tensor | None) -> Tensor:
        """Return the rows (L, B) of a modality's values that hold what members read of their samples."""
        start = members[:, None] * self.versions + (0 if versions is None else versions)
        return self.rows[m].flatten()[start * self.rows[m].shape[2] + samples]

    @torch.inference_mode(False)  # what is made in inference mode could never be written to in training
    def _memory(self, name: str, dtype: torch.dtype, *shape: int) -> Tensor:
        """Return memory of this shape, its content whatever it was used for before; one piece a name serves all."""
        size = math.prod(shape)
        if (name, dtype) not in self._kept or len(self._kept[name, dtype]) < size:
            self._kept[name, dtype] = torch.empty(size, dtype=dtype)
        return self._kept[name, dtype][:size].view(shape)

    def _read(self, m: str, samples: Tensor, members: Tensor, versions: Tensor | None) -> Tensor:
        rows = self._rows_of(m, samples, members, versions)
        return self.values[m].index_select(0, rows.flatten()).float().view(*rows.shape, -1)


def _standards(values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return (shift, scale), both (M, dim), with `shift + scale x` of mean 0 and deviation 1 over each member's rows.

    `counts` (M, rows) float64 says how often a member has a row. A dimension that is constant there is only centred;
    one of which there is no row is left as it is. All members are one matrix product, in float64 and around one of the
    rows, so that no difference of large numbers is lost.
    """
    centre = values[0].double()
    first, second = (torch.zeros(len(counts), values.shape[1], dtype=torch.double).to(values.device) for _ in range(2))
    for start in range(0, len(values), _CHECKED_AT_ONCE):
        x = values[start : start + _CHECKED_AT_ONCE].double() - centre
        first += counts[:, start : start + _CHECKED_AT_ONCE] @ x
        second += counts[:, start : start + _CHECKED_AT_ONCE] @ x.square_()
    size = counts.sum(dim=1, keepdim=True).clamp(min=1)
    mean = first / size
    variance = second / size - mean.square()
    varies = variance > _ROUNDING * (second / size)
    scale = torch.where(varies, variance, 1).rsqrt()
    shift = -(centre + mean) * scale * (counts.sum(dim=1, keepdim=True) > 0)
    return shift.float(), scale.float()


def _check_finite(block: FeatureBlock, modality: str) -> None:
    values = block.values[modality]
    for start in range(0, len(values), _CHECKED_AT_ONCE):
        odd = np.flatnonzero(~np.isfinite(values[start : start + _CHECKED_AT_ONCE]).all(axis=1)) + start
        if len(odd):
            samples = np.flatnonzero((block.rows[modality] == odd[0]).any(axis=0))
            whose = block.sample_ids[samples[0]] if len(samples) else "a view"
            raise FeatureError(
                f"{modality} features of {whose} are not finite: `affuse store verify` finds the rows, and what it "
                "moves to the quarantine is extracted again"
            )


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
