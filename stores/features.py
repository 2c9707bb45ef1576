"""The feature store: Zarr values, Parquet seals; a row exists only once its part is sealed (DESIGN section 3).

`stores/layout.py` says what lies in `features/<modality>/<feature id>/`.
"""

import difflib
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zarr

from stores import quarantine
from stores.errors import DamagedError, FeatureMismatch, ForeignError, NotFound, StoreError
from stores.identity import bytes_digest, row_digests
from stores.parts import WITHDRAWN, Seal, parts_of, put_seal
from stores.quarantine import RECOVERED, Quarantined
from stores.receipt import Books
from stores.root import Root
from stores.rows import ABSENT, Index, located, read_rows
from stores.samples import MODALITIES
from stores.spec import FeatureIdentity, Receipt

FORMAT = 1
CHUNK_ROWS = 512
SHARD_CHUNKS = 8


class FeatureStore:
    """All rows of one feature. Open with `create` to write, with `open` to read by id or name."""

    def __init__(self, root: Root, identity: FeatureIdentity) -> None:
        self.root = root
        self.identity = identity
        self.folder = f"features/{identity.modality}/{identity.id}"
        self.parts = parts_of(root, self.folder)

    @property
    def id(self) -> str:
        return self.identity.id

    @classmethod
    def create(cls, root: Root, identity: FeatureIdentity) -> "FeatureStore":
        """Open the store of `identity`, writing `feature.json` on first use.

        Raises FeatureMismatch with a line diff if another identity lies under the same id.
        """
        store = cls(root, identity)
        content = {"format_version": FORMAT, "id": store.id, "identity": identity.as_dict()}
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        if not root.exists(store.folder, "feature.json"):
            root.put(text.encode(), store.folder, "feature.json")
        elif (found := root.read(store.folder, "feature.json").decode(errors="replace")) != text:
            diff = difflib.unified_diff(found.splitlines(), text.splitlines(), "on disk", "asked for", lineterm="", n=0)
            raise FeatureMismatch(
                f"{store.folder}/feature.json differs from the identity asked for; if it is damaged, delete it:\n"
                + "\n".join(diff)
            )
        return store

    @classmethod
    def open(cls, root: Root, modality: str, name: str) -> "FeatureStore":
        """Open by feature id, or by extractor name if only one feature of that name exists. Raises NotFound."""
        ids = feature_ids(root, modality)
        found = [name] if name in ids else [i for i in ids if i.rsplit("-", 1)[0] == name]
        if len(found) != 1:
            there = ", ".join(ids) or "none"
            raise NotFound(f"expected one {modality} feature {name!r}, found {len(found)}; there are: {there}")
        where = f"features/{modality}/{found[0]}/feature.json"
        try:
            content = json.loads(root.read(where))
            if (version := int(content["format_version"])) > FORMAT:
                raise StoreError(f"{found[0]} has format {version}, this affuse reads up to {FORMAT}: update")
            store = cls(root, FeatureIdentity.from_dict(content["identity"]))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DamagedError(
                f"{where} is not what was written ({error}): delete it, the next run writes it"
            ) from None
        if store.id != found[0]:
            raise ForeignError(f"{where} is another's: its identity is that of {store.id}; delete it, runs write it")
        return store

    def seals(self) -> list[Seal]:
        """Return the metadata of the parts readers may use, sorted by part; replaced parts are left out."""
        return [seal for seal, _ in self.parts.live()]

    def index(self) -> Index:
        """Return key -> where its row lies. Where parts hold the same key, the smallest value digest counts.

        A seal whose values are gone counts for nothing: its rows are extracted again.
        """
        return self.parts.index()

    def write_part(
        self,
        rows: Mapping[str, np.ndarray],
        receipt: Receipt,
        replaces: Iterable[str] = (),
        *,
        upstream: Sequence[str | None] | None = None,
    ) -> str:
        """Write rows by key as one immutable part and seal it; return the part's name.

        Rows are (dim,) or (frames, dim) in the dtype of the spec. `upstream` has the digest of the row each was made
        of. Values are read back and flushed before the seal is put; what could not be
        written to its end is removed. Raises RootError, or DamagedError if the disk gives back something else.
        """
        if not rows:
            raise ValueError("a part needs at least one row")
        part = uuid.uuid4().hex
        keys = list(rows)
        try:
            started = perf_counter()
            self._write_values(part, list(rows.values()))
            if receipt.stages and "write" not in receipt.stages:
                receipt = replace(receipt, stages={**receipt.stages, "write": round(perf_counter() - started, 3)})
            columns = {"key": keys, "row": range(len(keys)), "digest": row_digests(list(rows.values()))}
            columns |= {} if upstream is None else {"upstream": upstream}
            header = {
                "format_version": FORMAT,
                "rows": len(keys),
                "numerics": self.identity.numerics,
                "receipt": asdict(receipt),
                "replaces": sorted(replaces),
            }
            if self.identity.spec.layout == "vector":
                header["values"] = bytes_digest(rows.values())
            put_seal(self.root, f"{self.folder}/parts", part, header, columns)
        except BaseException:
            self._discard(part)
            raise
        return part

    def _write_values(self, part: str, rows: Sequence[np.ndarray]) -> None:
        """Write shard by shard; each is read back at once, and flushed while the next is being made."""
        folder = (self.folder, "parts", f"{part}.zarr")
        ragged = self.identity.spec.layout == "ragged"
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        length = int(offsets[-1]) if ragged else len(rows)
        chunk = min(CHUNK_ROWS, length)
        shard = chunk * min(SHARD_CHUNKS, -(-length // chunk))
        with self.root.telling("write", *folder):
            group = zarr.create_group(self.root.zarr(*folder), zarr_format=3)
            if ragged:
                named = group.create_array("offsets", data=offsets, chunks=(len(offsets),), fill_value=-1)
                self._read_back(part, named, slice(None), offsets)
            values = group.create_array(
                "values",
                shape=(length, rows[0].shape[-1]),
                dtype=rows[0].dtype,
                chunks=(chunk, rows[0].shape[-1]),
                shards=(shard, rows[0].shape[-1]),
                compressors=None,
                fill_value=np.nan,  # rows are finite: a lost piece cannot pass for zeros
                config={"write_empty_chunks": True},  # none is empty: spares looking
            )
            whole = np.concatenate(rows) if ragged else None
            with ThreadPoolExecutor(1) as flusher:
                flushed, done = [], set[str]()
                for start in range(0, length, shard):
                    place = slice(start, min(start + shard, length))
                    values[place] = block = whole[place] if whole is not None else np.stack(rows[place])
                    flushed.append(flusher.submit(self.root.flush, *folder, done=done))
                    self._read_back(part, values, place, block)
                for flush in flushed:
                    flush.result()

    def _read_back(self, part: str, array: Any, place: slice, wanted: np.ndarray) -> None:
        bits = f"u{wanted.itemsize}"  # float16 is compared in software, its bits are not
        if not np.array_equal(np.asarray(array[place]).view(bits), wanted.view(bits)):
            raise DamagedError(f"{self.id}: part {part} reads back differently from what was written: check the disk")

    def _discard(self, part: str) -> None:
        """Remove values that got no seal; where even that fails they are litter, which `gc` collects."""
        with suppress(StoreError):
            if not self.root.exists(self.folder, "parts", f"{part}.parquet"):
                self.root.delete(self.folder, "parts", f"{part}.zarr")

    def withdraw(self, rows: pa.Table, why: str) -> None:
        """Note that no reader takes these rows (part, key, digest) any more; nothing is written for parts that are
        gone."""
        there = pa.array([seal.part for seal, _ in self.parts.every()], pa.string())
        rows = rows.filter(pc.is_in(rows["part"], there))
        if len(rows):
            noted = rows.append_column("why", pa.array([why] * len(rows))).cast(WITHDRAWN)
            self.root.put_table(noted, self.folder, "withdrawn", f"{uuid.uuid4().hex}.parquet")

    def read(self, keys: Sequence[str]) -> list[np.ndarray]:
        """Return one row per key, in order. Raises MissingRows naming the keys no sealed part holds, or RowsDamaged."""
        index = self.index()
        return read_rows(self, index, located(index, keys, self.id))

    def quarantined(self) -> list[Quarantined]:
        """Return the latest failure of each (sample, key) that failed; `standing` leaves out what has been mended."""
        return [row for row in self.quarantine_log() if row.reason != RECOVERED]

    def quarantine_log(self) -> list[Quarantined]:
        """Return the latest line of each (sample, key), those that end a failure included.

        A new line counts one attempt more than any earlier line of its sample, so that a clock may go backwards.
        """
        parts = self.root.tables(f"{self.folder}/quarantine", quarantine.SCHEMA).values()
        rows = [row for part in parts for row in quarantine.from_table(part)]
        latest: dict[tuple[str, str | None], Quarantined] = {}
        for row in sorted(rows, key=lambda row: (row.attempts, row.time)):
            latest[row.sample_id, row.key] = row
        return list(latest.values())

    def standing(self) -> list[Quarantined]:
        """Return the failures whose key has no row, sorted by sample."""
        index = self.index()
        rows = [row for row in self.quarantined() if row.key is None or row.key not in index]
        return sorted(rows, key=lambda row: (row.sample_id, row.key or ""))

    def quarantine(self, rows: Sequence[Quarantined]) -> None:
        """Record failures as one immutable quarantine part; nothing is written for an empty list."""
        if rows:
            name = f"{uuid.uuid4().hex}.parquet"
            self.root.put_table(quarantine.to_table(list(rows)), self.folder, "quarantine", name)

    def write_books(self, books: Books, time: str) -> None:
        """Keep the books of one run; `time` is ISO 8601 in UTC."""
        self.root.put_json({"time": time, **books.as_json()}, self.folder, "books", f"{uuid.uuid4().hex}.json")

    def books(self) -> list[tuple[str, Books]]:
        """Return (time, books) of every run, the earliest first. Raises BooksError if they do not balance."""
        found = [self.root.read_json(self.folder, "books", name) for name in self.root.names(self.folder, "books")]
        return sorted(((book["time"], Books.from_json(book)) for book in found), key=lambda entry: entry[0])

    def summary(self, keys: Iterable[str | None] | None = None) -> dict[str, Any]:
        """Return facts about the rows of `keys` (all by default): number, where computed, with which versions.

        They do not change when nothing is extracted, nor when other rows are.
        """
        parts = self._rows_by_part(keys)
        receipts = {seal.part: seal.receipt for seal, _ in self.parts.every()}
        by_device: Counter[str] = Counter()
        for part, rows in parts.items():
            by_device[f"{receipts[part].device} {receipts[part].dtype}"] += rows
        versions = sorted({f"{name} {v}" for part in parts for name, v in receipts[part].versions.items()})
        computed_on = dict(sorted(by_device.items()))
        return {"id": self.id, "rows": parts.total(), "computed_on": computed_on, "versions": versions}

    def cost(self, keys: Iterable[str | None] | None = None) -> dict[str, Any]:
        """Return {rows, seconds, stages, counts}: what making the rows of `keys` (all by default) took, by receipts.

        Seconds are those of the loop; a part that holds other rows too counts by its share of rows. Parts without
        stages, sealed by earlier versions, are left out. Like `summary`, it does not change with what comes later.
        """
        seals = {seal.part: seal for seal, _ in self.parts.every()}
        parts = {part: rows for part, rows in self._rows_by_part(keys).items() if seals[part].receipt.stages}
        stages, counts = Counter[str](), Counter[str]()
        seconds = 0.0
        for part, rows in sorted(parts.items()):
            seal = seals[part]
            seconds += seal.receipt.seconds * rows / seal.rows
            stages.update({name: value * rows / seal.rows for name, value in seal.receipt.stages.items()})
            counts.update({name: value * rows / seal.rows for name, value in seal.receipt.counts.items()})
        return {"rows": sum(parts.values()), "seconds": seconds, "stages": dict(stages), "counts": dict(counts)}

    def _rows_by_part(self, keys: Iterable[str | None] | None) -> Counter[str]:
        index = self.index()
        entries = np.arange(len(index)) if keys is None else np.unique(index.find(list({*keys})))
        return Counter(index.parts[part] for part in index.part[entries[entries != ABSENT]])


def all_features(root: Root) -> Iterator[FeatureStore]:
    """Yield every feature of every modality."""
    for modality in MODALITIES:
        yield from (FeatureStore.open(root, modality, name) for name in feature_ids(root, modality))


def feature_ids(root: Root, modality: str) -> list[str]:
    """Return the ids of the features of a modality that have a `feature.json`."""
    return [i for i in root.names("features", modality) if root.exists("features", modality, i, "feature.json")]
