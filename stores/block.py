"""Aligned features: the same samples in the same order for every modality, with what is absent marked."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from stores.features import FeatureStore
from stores.rows import ABSENT as ABSENT
from stores.rows import Damaged, Index, read_vectors, withdraw_damaged


@dataclass(frozen=True, kw_only=True)
class FeatureBlock:
    """What heads train on.

    `values[modality]` is (rows, dim) float16 or float32; `rows[modality]` is (R, n) int64, the row of sample i in
    repeat r, or ABSENT; R is 1 when all repeats read the same rows, else the number of repeats. `labels` is (n,)
    int64 into `classes`; `groups` is (n,) str. `views[modality]`, where there are any, is (repeats, K, n) int64: the
    rows of the K augmented views of each sample that repeat trains on, ABSENT for every other sample.
    """

    sample_ids: tuple[str, ...]
    labels: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    views: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.sample_ids)
        if self.labels.shape != (n,) or self.groups.shape != (n,):
            raise ValueError(f"expected {n} labels and groups, got {self.labels.shape} and {self.groups.shape}")
        if set(self.values) != set(self.rows) or any(r.ndim != 2 or r.shape[1] != n for r in self.rows.values()):
            raise ValueError("values and rows should name the same modalities, rows with one column a sample")
        if set(self.views) - set(self.values) or any(v.ndim != 3 or v.shape[2] != n for v in self.views.values()):
            raise ValueError("views should be of modalities there are: (repeats, K, n) with one column a sample")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in sorted order."""
        return tuple(sorted(self.values))

    def repeat_rows(self, modality: str, repeat: int) -> np.ndarray:
        """Return (n,) int64 rows of `values[modality]` in a repeat."""
        rows = self.rows[modality]
        found: np.ndarray = rows[repeat if len(rows) > 1 else 0]
        return found

    def repeat_views(self, modality: str, repeat: int) -> np.ndarray:
        """Return (K, n) int64: the rows of the views a repeat trains on; K is 0 for a modality without views."""
        views = self.views.get(modality)
        return np.empty((0, len(self.sample_ids)), np.int64) if views is None else views[repeat]

    def cut(self, positions: np.ndarray, repeat: int) -> "FeatureBlock":
        """Return the samples at `positions` (k,) as one repeat reads them: its rows and views, values shared.

        Nothing of the other samples or repeats is in it: no id, label, group or row; R is 1.
        """
        return FeatureBlock(
            sample_ids=tuple(self.sample_ids[i] for i in positions),
            labels=self.labels[positions],
            groups=self.groups[positions],
            classes=self.classes,
            values=self.values,
            rows={m: self.repeat_rows(m, repeat)[None, positions] for m in self.rows},
            views={m: self.repeat_views(m, repeat)[None, :, positions] for m in self.views},
        )


class Gathered(NamedTuple):
    """One modality of a block: values (rows, dim) and rows (stores, n) int64; `found` is where they come from."""

    values: np.ndarray
    rows: np.ndarray
    found: Sequence[tuple[Index, np.ndarray]]

    def digests(self) -> list[list[str | None]]:
        """Return the digest of the value behind each row, None where there is none."""
        return [index.digests(entries) for index, entries in self.found]


def gather_all(
    wanted: Mapping[str, tuple[Sequence[FeatureStore], Sequence[str | None] | pa.Array]],
    readable: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Gathered]:
    """Gather several modalities: while the rows of one are read, those of the next are looked up.

    Each modality is read from one store for all repeats, or from one a repeat. Of its keys there is one a sample (a
    list, or faster a column), None where the sample has none; a key without a sealed row is ABSENT too.
    `readable[modality]`, where given, is (stores, n) bool: what is False there is ABSENT, whatever a store holds.
    Raises RowsDamaged once the rows that are not what was sealed are withdrawn from all modalities.
    """
    with ThreadPoolExecutor(1) as reader:
        found, reading = {}, []
        for modality, (stores, keys) in wanted.items():
            found[modality], read = _looked_up(stores, keys, (readable or {}).get(modality))
            reading.append(reader.submit(read))
        withdraw_damaged([own for done in reading for own in done.result()])
    return found


def _looked_up(
    stores: Sequence[FeatureStore], keys: Sequence[str | None], readable: np.ndarray | None
) -> tuple[Gathered, Callable[[], list[Damaged]]]:
    """Return a modality whose values are still to be read, and what reads them and returns what is damaged."""
    spec = stores[0].identity.spec
    if spec.layout != "vector":
        raise ValueError(f"expected a feature of one vector a sample, but the rows of {stores[0].id} are {spec.layout}")
    column = keys if isinstance(keys, pa.Array) else pa.array(keys, pa.string())
    distinct = {store.id: store for store in stores}  # repeats that train on the same samples share an encoder
    place = [list(distinct).index(store.id) for store in stores]
    indices = [store.index() for store in distinct.values()]
    all_entries = [index.find(column) for index in indices]
    entries = np.stack([all_entries[i] for i in place])
    if readable is not None:
        entries[~readable] = ABSENT
    wanted, ends, rows = [], [0], np.full_like(entries, ABSENT)
    for i, index in enumerate(indices):
        at = np.equal(place, i)
        own, numbered = entries[at], rows[at]
        used, numbers = _numbered(own[own != ABSENT], len(index))
        numbered[own != ABSENT] = ends[-1] + numbers
        rows[at] = numbered
        wanted.append(used)
        ends.append(ends[-1] + len(used))
    values = np.empty((ends[-1], spec.dim), spec.dtype)

    def read() -> list[Damaged]:
        return [
            (store, indices[i], read_vectors(store, indices[i], wanted[i], values[ends[i] : ends[i + 1]]))
            for i, store in enumerate(distinct.values())
        ]

    return Gathered(values, rows, [(indices[i], own) for i, own in zip(place, entries, strict=True)]), read


def _numbered(entries: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ascending entries there are, each once, and the number of each of `entries` among them."""
    used = np.zeros(length, dtype=bool)
    used[entries] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[entries]
