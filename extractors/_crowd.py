"""The samples an encoder learns from, as decoded items: kept in memory as far as that goes, else decoded again; and the
share of them it stops on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from extractors._ahead import ahead, decoded, too_slow, weight
from extractors.extractor import Extractor, Runtime
from stores.dealing import cut, merge_groups
from stores.errors import ConfigError, MediaError, RowsDamaged, StoreError
from stores.samples import Sample

_DRAWS = 50  # of the share to stop on, before it is called impossible
MOST_BYTES = 2 << 30  # of decoded items in memory; the others are decoded ahead of their batch, every epoch
Pick = tuple[str, int]  # a sample id, and its version: 0 as it is, k for view k


class Reader:
    """Decodes samples on threads and keeps the first MOST_BYTES of them; `extractors[k]` reads version k."""

    def __init__(
        self,
        extractors: Sequence[Extractor[Any]],
        samples: Mapping[str, Sample],
        keys: Mapping[str, str],
        runtime: Runtime,
    ) -> None:
        self.extractors, self.samples, self.keys, self.runtime = extractors, samples, keys, runtime
        self.digests: dict[Pick, str] = {}  # of the upstream rows that were read
        self._kept: dict[Pick, Any] = {}
        self._held = 0

    def stream(self, picks: Sequence[Pick]) -> Iterator[Any]:
        """Yield each item, or the MediaError that kept it from being decoded, in order."""
        if all(pick in self._kept for pick in picks):
            yield from (self._kept[pick] for pick in picks)
            return
        items = ahead(
            self._item,
            picks,
            threads=self.runtime.decode_workers,
            depth=self.runtime.queue,
            limit_s=self.runtime.time_limit,
            late=lambda pick: too_slow(self.samples[pick[0]], self.runtime.time_limit),
        )
        for pick, item in items:
            self._keep(pick, item)
            yield item

    def decode(self, pick: Pick) -> Any:
        """Return one item, decoded now, or the MediaError that kept it from being decoded."""
        name, version = pick
        extractor, key = self.extractors[version], self.keys[name]
        item = decoded(extractor, self.samples[name], key)
        if extractor.upstream_rows is not None and key in extractor.upstream_rows.digests:
            self.digests[pick] = extractor.upstream_rows.digests[key]
        return item

    def _item(self, pick: Pick) -> Any:
        return self._kept[pick] if pick in self._kept else self.decode(pick)

    def _keep(self, pick: Pick, item: Any) -> None:
        size = weight(item)
        if pick not in self._kept and not isinstance(item, MediaError) and self._held + size <= MOST_BYTES:
            self._kept[pick] = item
            self._held += size


@dataclass(frozen=True, eq=False)
class Crowd(Sequence[Any]):
    """Samples to fit or to stop on, in order.

    `labels` is (n,) int64, `lengths` (n, versions) int64.
    """

    reader: Reader
    names: Sequence[str]
    labels: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: Any) -> Any:
        return next(self.items([(position, 0)]))

    def __iter__(self) -> Iterator[Any]:
        return self.items([(position, 0) for position in range(len(self))])

    def items(self, draws: Sequence[tuple[int, int]]) -> Iterator[Any]:
        """Yield items by position and version. Raises StoreError or RowsDamaged if one can no longer be read."""
        picks = [(self.names[position], version) for position, version in draws]
        for (name, _), item in zip(picks, self.reader.stream(picks), strict=True):
            if isinstance(item, MediaError) and item.reason == "upstream":
                raise RowsDamaged(f"a row of {name} could be read before and no longer can: {item}") from item
            if isinstance(item, MediaError):
                raise StoreError(f"{name} could be read before and no longer can: {item}; run again") from item
            yield item


def stop_share(labels: Sequence[str], kinds: Sequence[Sequence[str | None]], share: float, seed: int) -> np.ndarray:
    """Return (n,) bool: about `share` of the samples, stratified, none sharing a group of any kind with the rest.

    Raises ConfigError if no such share leaves every class on the other side.
    """
    classes, numbers = np.unique(np.asarray(labels), return_inverse=True)
    merged, rng = merge_groups([[None] * len(numbers), *kinds]), np.random.default_rng(seed)
    everyone = np.arange(len(numbers))
    for _ in range(_DRAWS):
        _, held = cut(everyone, numbers, merged, share, rng)
        stopping = np.isin(everyone, held)
        if len(held) and len(np.unique(numbers[~stopping])) == len(classes):
            return stopping
    largest = int(np.bincount(numbers).max(initial=0))
    raise ConfigError(
        f"{len(numbers)} samples in {len(np.unique(merged))} groups, at most {largest} samples a class: no "
        "group-disjoint share to stop on leaves every class to be fitted on; give the encoder more groups (equal "
        "recordings count as one group)"
    )
