"""Which sealed part and row hold a key, and the reading of rows: each part opened once, in the order of its rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zarr
from zarr.buffer.cpu import NDBuffer

from stores.errors import DamagedError, MissingRows, RootError

if TYPE_CHECKING:
    from stores.features import FeatureStore

ABSENT = -1
_SHOWN = 3
_WHOLE = 0.25  # of a part's rows: from there on it is faster to read all of them


@dataclass(frozen=True, slots=True)
class Location:
    """Where a row lies: part, row number in it, digest of its value."""

    part: str
    row: int
    digest: str


class Index(Mapping[str, Location]):
    """One entry a distinct key, sorted by part and row; `find` looks up many keys at once.

    Where parts share a key, the smallest value digest counts, then the first part: every reader takes the same row.
    """

    def __init__(self, parts: Sequence[tuple[str, pa.Table]]) -> None:
        self.parts = tuple(name for name, _ in parts)
        table = (
            pa.concat_tables(
                [
                    seal.append_column("part", pa.array(np.full(len(seal), i, np.int32)))
                    for i, (_, seal) in enumerate(parts)
                ]
            )
            if parts
            else pa.table({"key": pa.array([], pa.string()), "row": [], "digest": [], "part": []})
        )
        if len(parts) > 1 and pc.count_distinct(table["key"]).as_py() < len(table):
            table = _first_of_each(table)
        self.keys_column: pa.ChunkedArray = table["key"]
        self._digests: pa.ChunkedArray = table["digest"]
        self.part = np.asarray(table["part"], dtype=np.int32)
        self.row = np.asarray(table["row"], dtype=np.int64)

    def find(self, keys: Sequence[str | None] | pa.Array) -> np.ndarray:
        """Return (n,) int64: the entry of each key, ABSENT where there is none."""
        found = pc.index_in(pa.array(keys, pa.string()), self.keys_column, skip_nulls=True)
        return np.asarray(found.fill_null(ABSENT), dtype=np.int64)

    def digests(self, entries: np.ndarray) -> list[str | None]:
        """Return the value digest behind each entry, None for ABSENT."""
        found: list[str | None] = self._digests.take(pa.array(entries, mask=entries == ABSENT)).to_pylist()
        return found

    def location(self, entry: int) -> Location:
        return Location(self.parts[int(self.part[entry])], int(self.row[entry]), self._digests[entry].as_py())

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


def read_rows(store: "FeatureStore", index: Index, entries: np.ndarray) -> list[np.ndarray]:
    """Return one row per entry, (dim,) or (frames, dim), in the order given."""
    unique, inverse = np.unique(entries, return_inverse=True)
    rows = [row for part, own in _by_part(index, unique) for row in read_part(store, part, index.row[unique[own]])]
    return [rows[i] for i in inverse]


def read_vectors(store: "FeatureStore", index: Index, entries: np.ndarray, out: np.ndarray) -> None:
    """Read the rows of a `vector` feature at ascending, distinct `entries` into `out`, (n, dim)."""
    for part, own in _by_part(index, entries):
        read_part(store, part, index.row[entries[own]], out[own])


def _by_part(index: Index, entries: np.ndarray) -> Iterator[tuple[str, slice]]:
    """Yield (part, its stretch of the ascending `entries`)."""
    parts, starts, counts = np.unique(index.part[entries], return_index=True, return_counts=True)
    for part, start, count in zip(parts.tolist(), starts.tolist(), counts.tolist(), strict=True):
        yield index.parts[part], slice(start, start + count)


@dataclass(frozen=True, slots=True)
class Opened:
    """A part that was opened: its Zarr array, and the offsets of its rows if it is ragged."""

    values: Any
    offsets: np.ndarray | None


def read_part(
    store: "FeatureStore",
    part: str,
    numbers: np.ndarray,
    out: np.ndarray | None = None,
    *,
    opened: dict[str, Opened] | None = None,
) -> Any:
    """Return the rows of a part at ascending `numbers`: (n, dim), or a list of (frames, dim) if ragged.

    Vectors are read into `out`, if it is given. `opened` remembers parts for who reads them row by row: a sealed part
    never changes.
    Raises DamagedError if the part is not what was written, or lacks a piece; RootError if the disk cannot be read.
    """
    try:
        with store.root.telling("read", store.folder, "parts", f"{part}.zarr"):
            known = {} if opened is None else opened
            if part not in known:
                known[part] = _open(store, part)
            return _read(known[part], numbers, out)
    except (RootError, ImportError, MemoryError):
        raise  # the disk or this machine, not what was written
    except Exception as error:  # a flipped bit may make of metadata anything at all
        raise DamagedError(
            f"{store.id}: part {part} cannot be read ({type(error).__name__}: {error}): "
            "`affuse store gc --damaged --delete` removes such parts, the next run extracts their rows again"
        ) from error


def _open(store: "FeatureStore", part: str) -> Opened:
    place = store.root.zarr(store.folder, "parts", f"{part}.zarr")
    values = zarr.open_array(place, path="values", mode="r")
    ragged = store.identity.spec.layout == "ragged"
    return Opened(values, np.asarray(zarr.open_array(place, path="offsets", mode="r")[:]) if ragged else None)


def _read(part: Opened, numbers: np.ndarray, out: np.ndarray | None) -> Any:
    values = part.values
    if part.offsets is not None:
        return _read_ragged(values, part.offsets, numbers)
    rows = np.empty((len(numbers), values.shape[1]), values.dtype) if out is None else out
    if (run := _run(numbers)) is not None:
        values.get_basic_selection(run, out=NDBuffer.from_numpy_array(rows))
    elif len(numbers) >= _WHOLE * values.shape[0]:
        rows[:] = np.asarray(values[:])[numbers]
    else:
        rows[:] = values.oindex[numbers]
    return _whole(rows)


def _read_ragged(values: Any, offsets: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    if offsets[-1] != values.shape[0]:
        raise ValueError(f"offsets end at {offsets[-1]}, values at {values.shape[0]}")
    first, last = offsets[numbers[0]], offsets[numbers[-1] + 1]
    frames = (offsets[numbers + 1] - offsets[numbers]).sum()
    if frames >= _WHOLE * (last - first):
        block = _whole(np.asarray(values[first:last]))
        return [block[offsets[n] - first : offsets[n + 1] - first] for n in numbers]
    return [_whole(np.asarray(values[offsets[n] : offsets[n + 1]])) for n in numbers]


def _run(numbers: np.ndarray) -> slice | None:
    """Return the slice that ascending numbers without a gap are."""
    first, last = int(numbers[0]), int(numbers[-1])
    return slice(first, last + 1) if last - first + 1 == len(numbers) else None


def _whole(values: np.ndarray) -> np.ndarray:
    """Refuse what Zarr fills in for a lost piece: stored rows are finite, the fill value is not."""
    if np.isnan(values[:, 0]).any():
        raise ValueError("a piece of the values is missing")
    return values
