"""Which sealed part and row hold a key, and the reading of rows: each part opened once, in the order of its rows.

Every row that is read is compared with its digest in the seal. One that differs, or cannot be read, is withdrawn from
the feature: to whoever looks for its key afterwards it is missing, so the next run makes it again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zarr
from zarr.buffer.cpu import NDBuffer

from stores.errors import DamagedError, MissingRows, RootError, RowsDamaged, StoreError
from stores.identity import bytes_digest, row_digests

if TYPE_CHECKING:
    from stores.features import FeatureStore

ABSENT = -1
DAMAGED, DERIVED, OUTDONE = "damaged", "derived", "outdone"  # why a row is withdrawn
_NOTHING = pa.table({"key": pa.array([], pa.string()), "row": [], "digest": [], "part": []})
_SHOWN = 3
_WHOLE = 0.25  # of a part's rows: from there on it is faster to read all of them
_FEW = 64  # rows: where so many cannot be read together, all of them are made again


@dataclass(frozen=True, slots=True)
class Location:
    """Where a row lies: part, row number in it, digest of its value."""

    part: str
    row: int
    digest: str


Damaged = tuple["FeatureStore", "Index", Sequence[int]]  # entries of rows that are not what was sealed


class Index(Mapping[str, Location]):
    """One entry a distinct key, sorted by part and row; `find` looks up many keys at once.

    `table` has key, row, digest and, where any part has it, upstream: the digest of what a row was made of; `wholes`
    has, by part, the digest of all its vectors as one array, where its seal tells it. Where parts share a key, the
    smallest value digest counts, then the first part: every reader takes the same row.
    """

    def __init__(self, parts: Sequence[tuple[str, pa.Table]], wholes: Mapping[str, str | None] | None = None) -> None:
        self.parts = tuple(name for name, _ in parts)
        self.wholes = wholes or {}
        numbers = [pa.array(np.full(len(seal), i, np.int32)) for i, (_, seal) in enumerate(parts)]
        numbered = [seal.append_column("part", own) for (_, seal), own in zip(parts, numbers, strict=True)]
        table = pa.concat_tables([_NOTHING, *numbered], promote_options="default")
        if len(parts) > 1 and pc.count_distinct(table["key"]).as_py() < len(table):
            table = _first_of_each(table)
        self.table: pa.Table = table
        self.keys_column: pa.ChunkedArray = table["key"]
        self.digest_column: pa.Array = table["digest"].combine_chunks()  # to take some out of many pieces is slow
        self.part = np.asarray(table["part"], dtype=np.int32)
        self.row = np.asarray(table["row"], dtype=np.int64)

    def find(self, keys: Sequence[str | None] | pa.Array) -> np.ndarray:
        """Return (n,) int64: the entry of each key, ABSENT where there is none."""
        found = pc.index_in(pa.array(keys, pa.string()), self.keys_column, skip_nulls=True)
        return np.asarray(found.fill_null(ABSENT), dtype=np.int64)

    def entry(self, key: str) -> int:
        """Return the entry of one key, ABSENT where there is none."""
        return self._entries.get(key, ABSENT)

    def digests(self, entries: np.ndarray) -> list[str | None]:
        """Return the value digest behind each entry, None for ABSENT."""
        found: list[str | None] = self.digest_column.take(pa.array(entries, mask=entries == ABSENT)).to_pylist()
        return found

    def listed(self, entries: Sequence[int]) -> pa.Table:
        """Return (part, key, digest) of these entries."""
        rows = self.table.select(["key", "digest"]).take(entries)
        return rows.add_column(0, "part", pa.array([self.parts[i] for i in self.part[entries]], pa.string()))

    def location(self, entry: int) -> Location:
        return Location(self.parts[int(self.part[entry])], int(self.row[entry]), self.digest_column[entry].as_py())

    def __getitem__(self, key: str) -> Location:
        return self.location(self._entries[key])

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def _entries(self) -> dict[str, int]:
        return {key: entry for entry, key in enumerate(self.keys_column.to_pylist())}


def _first_of_each(table: pa.Table) -> pa.Table:
    ordered = table.sort_by([("key", "ascending"), ("digest", "ascending"), ("part", "ascending")])
    keys = ordered["key"].combine_chunks()
    first = np.ones(len(keys), dtype=bool)
    first[1:] = np.asarray(pc.not_equal(keys[1:], keys[:-1]))
    return ordered.filter(pa.array(first)).sort_by([("part", "ascending"), ("row", "ascending")])


def located(index: Index, keys: Sequence[str], feature: str) -> np.ndarray:
    """Return (n,) int64 entries. Raises MissingRows naming what no sealed part holds."""
    entries = index.find(keys)
    if missing := [key for key, entry in zip(keys, entries, strict=True) if entry == ABSENT]:
        shown = ", ".join(key[:12] for key in missing[:_SHOWN])
        raise MissingRows(f"{feature} has no row for {len(missing)} of {len(keys)} keys ({shown} ...): extract first")
    return entries


def read_rows(
    store: "FeatureStore", index: Index, entries: np.ndarray, opened: "dict[str, Opened] | None" = None
) -> list[np.ndarray]:
    """Return one row per entry, (dim,) or (frames, dim), in the order given; `opened` is that of `read_part`.

    Raises RowsDamaged once those that are not what was sealed are withdrawn.
    """
    unique, inverse = np.unique(entries, return_inverse=True)
    read = [read_part(store, index, unique[own], opened=opened) for own in _by_part(index, unique)]
    withdraw_damaged([(store, index, [entry for _, lost in read for entry in lost])])
    rows = [row for some, _ in read for row in some]
    return [rows[i] for i in inverse]


def read_vectors(store: "FeatureStore", index: Index, entries: np.ndarray, out: np.ndarray) -> list[int]:
    """Read the rows of a `vector` feature at ascending, distinct `entries` into `out`, (n, dim).

    Return the entries that are not what was sealed.
    """
    return [
        entry for own in _by_part(index, entries) for entry in read_part(store, index, entries[own], out=out[own])[1]
    ]


def withdraw_damaged(damaged: Sequence[Damaged]) -> None:
    """Withdraw rows that are not what was sealed, and raise RowsDamaged; nothing happens if there are none.

    Raises DamagedError if that cannot be noted: then no run would make them again.
    """
    told = ", ".join(f"{len(entries)} of {store.id}" for store, _, entries in damaged if entries)
    if not told:
        return
    told = f"rows have changed since they were sealed: {told}"
    try:
        for store, index, entries in damaged:
            if entries:
                store.withdraw(index.listed(entries), DAMAGED)
    except StoreError as error:
        raise DamagedError(f"{told}; they are made again only once this can be noted: {error}") from error
    raise RowsDamaged(f"{told}; they count as missing from now on, `affuse extract STUDY` makes them again")


def _by_part(index: Index, entries: np.ndarray) -> Iterator[slice]:
    """Yield the stretch of the ascending `entries` that each part has."""
    _, starts, counts = np.unique(index.part[entries], return_index=True, return_counts=True)
    yield from (slice(start, start + count) for start, count in zip(starts.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Opened:
    """A part that was opened: its Zarr array, and the offsets of its rows if it is ragged."""

    values: Any
    offsets: np.ndarray | None


def read_part(
    store: "FeatureStore",
    index: Index,
    entries: np.ndarray,
    *,
    out: np.ndarray | None = None,
    opened: dict[str, Opened] | None = None,
) -> tuple[Any, list[int]]:
    """Return the rows at ascending `entries`, all of one part, and the entries that are not what was sealed.

    Rows are (n, dim), or a list of (frames, dim) if ragged. Vectors are read into `out`, if it is given. `opened`
    remembers parts for who reads them row by row: a sealed part never changes. Raises RootError if the disk cannot be
    read.
    """
    known: dict[str, Opened] = {} if opened is None else opened
    spec = store.identity.spec
    if out is None and spec.layout == "vector":
        out = np.empty((len(entries), spec.dim), spec.dtype)
    rows, wrong = _checked(store, index, entries, out, known)
    lost: list[int] = []
    for start in range(0, len(wrong), _FEW):  # the disk or the network may have erred: a second look, a few at a time
        known.clear()
        few = wrong[start : start + _FEW]
        again, still = _checked(store, index, entries[few], None if out is None else out[few], known)
        for i, row in zip(few, again, strict=True):
            rows[i] = row
        lost += entries[few[still]].tolist()
    return rows, lost


def _checked(
    store: "FeatureStore", index: Index, entries: np.ndarray, out: np.ndarray | None, known: dict[str, Opened]
) -> tuple[Any, np.ndarray]:
    """Return rows, and the positions of those that are not what was sealed: all if one of them cannot be read."""
    part = index.parts[index.part[entries[0]]]
    try:
        with store.root.telling("read", store.folder, "parts", f"{part}.zarr"):
            held = known.get(part) or known.setdefault(part, _open(store, part))
            rows = _read(held, index.row[entries], out)
    except (RootError, ImportError, MemoryError):
        raise  # the disk or this machine, not what was written
    except Exception:  # a flipped bit may make of metadata anything at all
        return [np.empty(0)] * len(entries) if out is None else out, np.arange(len(entries))
    complete = out is not None and len(entries) == held.values.shape[0]
    if complete and bytes_digest([rows]) == index.wholes.get(part):
        return rows, np.empty(0, np.int64)  # many times faster than row by row
    same = pc.equal(pa.array(row_digests(rows)), index.digest_column.take(pa.array(entries)))
    return rows, np.flatnonzero(~np.asarray(same))


def _open(store: "FeatureStore", part: str) -> Opened:
    place = store.root.zarr(store.folder, "parts", f"{part}.zarr")
    values, spec = zarr.open_array(place, path="values", mode="r"), store.identity.spec
    if values.ndim != 2 or (values.shape[1], values.dtype.name) != (spec.dim, spec.dtype):
        raise ValueError(f"values are {values.shape} {values.dtype}")
    ragged = spec.layout == "ragged"
    return Opened(values, np.asarray(zarr.open_array(place, path="offsets", mode="r")[:]) if ragged else None)


def _read(part: Opened, numbers: np.ndarray, rows: np.ndarray | None) -> Any:
    values = part.values
    if part.offsets is not None:
        return _read_ragged(values, part.offsets, numbers)
    assert rows is not None
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first + 1 == len(numbers):  # ascending, and none is left out
        values.get_basic_selection(slice(first, last + 1), out=NDBuffer.from_numpy_array(rows))
    elif len(numbers) >= _WHOLE * values.shape[0]:
        rows[:] = np.asarray(values[:])[numbers]
    else:
        rows[:] = values.oindex[numbers]
    return rows


def _read_ragged(values: Any, offsets: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    if offsets[-1] != values.shape[0]:
        raise ValueError(f"offsets end at {offsets[-1]}, values at {values.shape[0]}")
    first, last = offsets[numbers[0]], offsets[numbers[-1] + 1]
    frames = (offsets[numbers + 1] - offsets[numbers]).sum()
    if frames >= _WHOLE * (last - first):
        block = np.asarray(values[first:last])
        return [block[offsets[n] - first : offsets[n + 1] - first] for n in numbers]
    return [np.asarray(values[offsets[n] : offsets[n + 1]]) for n in numbers]
