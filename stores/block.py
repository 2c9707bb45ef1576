"""Aligned features: the same samples in the same order for every modality, with what is absent marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stores.features import FeatureStore
from stores.rows import ABSENT as ABSENT
from stores.rows import read_vectors


@dataclass(frozen=True, kw_only=True)
class FeatureBlock:
    """What heads train on.

    `values[modality]` is (rows, dim) float16 or float32; `rows[modality]` is (R, n) int64, the row of sample i in
    repeat r, or ABSENT; R is 1 when all repeats read the same rows, else the number of repeats. `labels` is (n,)
    int64 into `classes`; `groups` is (n,) str.
    """

    sample_ids: tuple[str, ...]
    labels: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        n = len(self.sample_ids)
        if self.labels.shape != (n,) or self.groups.shape != (n,):
            raise ValueError(f"expected {n} labels and groups, got {self.labels.shape} and {self.groups.shape}")
        if set(self.values) != set(self.rows) or any(r.ndim != 2 or r.shape[1] != n for r in self.rows.values()):
            raise ValueError("values and rows should name the same modalities, rows with one column a sample")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in sorted order."""
        return tuple(sorted(self.values))

    def repeat_rows(self, modality: str, repeat: int) -> np.ndarray:
        """Return (n,) int64 rows of `values[modality]` in a repeat."""
        rows = self.rows[modality]
        found: np.ndarray = rows[repeat if len(rows) > 1 else 0]
        return found

    def complete(self, modalities: Sequence[str] | None = None) -> np.ndarray:
        """Return (n,) bool: samples that have every given modality in every repeat."""
        chosen = self.modalities if modalities is None else modalities
        found: np.ndarray = np.all([(self.rows[m] != ABSENT).all(axis=0) for m in chosen], axis=0)
        return found


def gather(
    stores: Sequence[FeatureStore], keys: Sequence[str | None]
) -> tuple[np.ndarray, np.ndarray, list[list[str | None]]]:
    """Return (values, rows, digests) of one modality: one store for all repeats, or one a repeat.

    `keys` has one content key a sample, None where the sample has none; a key without a sealed row is ABSENT too.
    Values are (rows, dim); rows is (len(stores), n) int64; digests name the value behind each row, or None.
    """
    spec = stores[0].identity.spec
    found = [(store, index := store.index(), index.find(keys)) for store in stores]
    wanted = [np.unique(entries[entries != ABSENT]) for _, _, entries in found]
    values = np.empty((sum(map(len, wanted)), spec.dim), spec.dtype)
    rows = np.full((len(stores), len(keys)), ABSENT, dtype=np.int64)
    digests: list[list[str | None]] = []
    offset = 0
    for repeat, ((store, index, entries), own) in enumerate(zip(found, wanted, strict=True)):
        read_vectors(store, index, own, values[offset : offset + len(own)])
        present = entries != ABSENT
        rows[repeat, present] = offset + np.searchsorted(own, entries[present])
        digests.append(index.digests(entries))
        offset += len(own)
    return values, rows, digests
