"""Many small parts into few large ones; readers and writers may be at work meanwhile.

The new part says which parts it replaces. Until its seal is put nothing has changed; from then on readers take its
rows, which are the same bytes; who has listed the old parts can still read them until `gc` collects them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from stores.features import FeatureStore
from stores.parts import Seal, Sealed, listed
from stores.rows import OUTDONE, Index, read_rows
from stores.spec import Receipt

PART_BYTES = 256 << 20


def compact(store: FeatureStore, *, part_bytes: int = PART_BYTES) -> tuple[int, int]:
    """Merge the small parts of a feature and return (parts merged, parts written).

    Parts are merged only with those computed alike (device, dtype, versions) and told of alike (with or
    without stages and upstream digests), so what is reported of a row stays true. The new part holds every key of those
    it replaces, whatever other parts hold: two compactions at once, each leaving a key to the other, cannot lose it.
    Raises RowsDamaged once rows that are not what was sealed are withdrawn; a second compaction leaves them out.
    """
    merged = written = 0
    for batch in _batches(store, part_bytes):
        index = Index([(seal.part, table) for seal, table in batch])
        if not len(index):
            continue
        rows = dict(zip(index.keys_column.to_pylist(), read_rows(store, index, np.arange(len(index))), strict=True))
        seals = [seal for seal, _ in batch]
        for seal, table in batch:  # what was made of a row that goes was made of a right one all the same
            outdone = table.filter(pc.invert(pc.is_in(table["digest"], index.table["digest"])))
            store.withdraw(listed(seal.part, outdone), OUTDONE)
        upstream = index.table["upstream"].to_pylist() if "upstream" in index.table.column_names else None
        store.write_part(rows, _receipt(seals), [seal.part for seal in seals], upstream=upstream)
        merged, written = merged + len(seals), written + 1
    return merged, written


def _batches(store: FeatureStore, part_bytes: int) -> Iterator[list[Sealed]]:
    """Yield the parts to merge, two or more at a time: computed alike, together no larger than `part_bytes`."""
    spec, alike = store.identity.spec, defaultdict[str, list[Sealed]](list)
    row_bytes = spec.dim * np.dtype(spec.dtype).itemsize
    for seal, table in store.parts.live():
        made = seal.receipt
        sources = "upstream" in table.column_names
        told = repr((made.device, made.dtype, sorted(made.versions.items()), bool(made.stages), sources))
        alike[told].append((seal, table))
    for parts in alike.values():
        batch: list[Sealed] = []
        size = 0
        for seal, table in sorted(parts, key=lambda entry: entry[0].rows):
            own = seal.receipt.counts.get("bytes", seal.rows * row_bytes)
            if size + own > part_bytes and len(batch) > 1:
                yield batch
            if size + own > part_bytes:
                batch, size = [], 0
            batch.append((seal, table))
            size += own
        if len(batch) > 1:
            yield batch


def _receipt(seals: Sequence[Seal]) -> Receipt:
    counts, stages = Counter[str](), Counter[str]()
    for seal in seals:
        counts.update(seal.receipt.counts)
        stages.update(seal.receipt.stages)
    seconds = round(sum(seal.receipt.seconds for seal in seals), 3)
    return replace(seals[0].receipt, seconds=seconds, counts=dict(counts), stages=dict(stages))
