"""The sealed parts of a feature as readers see them: listed every time, read once a process."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stores.errors import DamagedError
from stores.identity import canonical_json
from stores.root import Root
from stores.rows import DERIVED, Index
from stores.spec import Receipt

SCHEMA = pa.schema([("key", pa.string()), ("row", pa.int64()), ("digest", pa.string())])
DERIVED_SCHEMA = SCHEMA.append(pa.field("upstream", pa.string()))
WITHDRAWN = pa.schema([("part", pa.string()), ("key", pa.string()), ("digest", pa.string()), ("why", pa.string())])
SEAL, VALUES = ".parquet", ".zarr"


@dataclass(frozen=True, slots=True)
class Seal:
    """The metadata of one sealed part; `values` is the digest of all its vectors as one array."""

    part: str
    rows: int
    receipt: Receipt
    replaces: tuple[str, ...]
    values: str | None = None


Sealed = tuple[Seal, pa.Table]  # with (key, row, digest) and, of rows made of others' rows, the digest of those


class Parts:
    """What is sealed in a feature. A seal that is damaged, or whose values are gone, counts for nothing: its rows are
    extracted again, and `lost` says why; nor does a row that was withdrawn."""

    def __init__(self, root: Root, feature: str) -> None:
        self._root, self._folder, self._withdrawn = root, f"{feature}/parts", f"{feature}/withdrawn"
        self._lock = Lock()
        self._listed: tuple[Mapping[str, object], Mapping[str, object]] | None = None
        self._read: dict[str, tuple[object, Sealed]] = {}
        self._sealed: list[Sealed] = []
        self._notes: dict[str, pa.Table] = {}
        self._lost: dict[str, str] = {}
        self._index: Index | None = None

    def every(self) -> list[Sealed]:
        """Return all parts, those that have been replaced too, sorted by name, without rows that were withdrawn."""
        with self._lock:
            return self._refreshed()

    def live(self) -> list[Sealed]:
        """Return the parts readers go by: those that no other replaces."""
        return _unreplaced(self.every())

    def digests(self) -> pa.ChunkedArray:
        """Return the digests of all rows that were ever right, those no reader takes any more included."""
        with self._lock:
            tables = [table for _, table in self._refreshed()]
            tables += [note.filter(pc.not_equal(note["why"], DERIVED)) for note in self._notes.values()]
            return pa.chunked_array([chunk for table in tables for chunk in table["digest"].chunks], pa.string())

    def lost(self) -> dict[str, str]:
        """Return part -> why its seal counts for nothing."""
        with self._lock:
            self._refreshed()
            return dict(self._lost)

    def index(self) -> Index:
        """Return where the row of every key lies."""
        with self._lock:  # a slower thread must not put back what it has listed earlier
            every = self._refreshed()
            if self._index is None:
                live = _unreplaced(every)
                self._index = Index([(s.part, table) for s, table in live], {s.part: s.values for s, _ in live})
            return self._index

    def _refreshed(self) -> list[Sealed]:
        """Read what has been sealed since the last time; a seal never changes, so its stamp says whether it is new."""
        listed, noted = self._root.stamps(self._folder), self._root.stamps(self._withdrawn)
        if (listed, noted) == self._listed:
            return self._sealed
        read: dict[str, tuple[object, Sealed]] = {}
        lost: dict[str, str] = {}
        for name, stamp in sorted(listed.items()):
            part = name.removesuffix(SEAL)
            if part == name:
                continue
            if part + VALUES not in listed:
                lost[part] = "its values are gone"
                continue
            if (known := self._read.get(part)) is not None and known[0] == stamp:
                read[part] = known
                continue
            try:
                read[part] = stamp, read_seal(self._root, self._folder, part)
            except FileNotFoundError:  # a replaced part may go between the listing and the reading
                continue
            except DamagedError as error:
                lost[part] = str(error)
        for name in noted.keys() - self._notes.keys():
            with suppress(DamagedError):  # `verify` names it; where a row is damaged, it is found again
                self._notes[name] = self._root.read_table(self._withdrawn, name).select(WITHDRAWN.names)
        notes = pa.concat_tables([WITHDRAWN.empty_table(), *self._notes.values()])
        self._sealed = [(seal, _without(table, notes, seal.part)) for _, (seal, table) in read.values()]
        self._read, self._lost, self._listed, self._index = read, lost, (listed, noted), None
        return self._sealed


def _unreplaced(every: Sequence[Sealed]) -> list[Sealed]:
    replaced = {part for seal, _ in every for part in seal.replaces}
    return [(seal, table) for seal, table in every if seal.part not in replaced]


def listed(part: str, table: pa.Table) -> pa.Table:
    """Return (part, key, digest) of rows of a part."""
    return table.select(["key", "digest"]).add_column(0, "part", pa.array([part] * len(table), pa.string()))


def _without(table: pa.Table, notes: pa.Table, part: str) -> pa.Table:
    keys = notes.filter(pc.equal(notes["part"], part))["key"]
    return table.filter(pc.invert(pc.is_in(table["key"], keys))) if len(keys) else table


@lru_cache(maxsize=64)
def parts_of(root: Root, feature: str) -> Parts:
    """Return the parts of the feature in a folder, shared by all who ask in this process."""
    return Parts(root, feature)


def read_seal(root: Root, folder: str, part: str, *, check: bool = False) -> Sealed:
    """Return a seal and its table, on request with its own digest checked.

    Raises DamagedError if it is not what was written.
    """
    where = f"{folder}/{part}{SEAL}"
    table = root.read_table(where)
    try:
        header = json.loads(table.schema.metadata[b"affuse"])
        if table.schema.names not in (SCHEMA.names, DERIVED_SCHEMA.names) or len(table) != header["rows"]:
            raise ValueError("its columns or rows are not those it names")
        if check and header.pop("digest") != _digest(header, table):
            raise ValueError("its digest differs")
        receipt, replaces = Receipt(**header["receipt"]), tuple(header["replaces"])
        return Seal(part, header["rows"], receipt, replaces, header.get("values")), table
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{where} is not the seal that was written: {error}") from None


def put_seal(root: Root, folder: str, part: str, header: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
    """Write a seal, with a digest of itself inside."""
    schema = DERIVED_SCHEMA if "upstream" in columns else SCHEMA
    table = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
    signed = json.dumps({**header, "digest": _digest(header, table)}, sort_keys=True)
    table = table.replace_schema_metadata({"affuse": signed})
    # keys and digests are noise: there is nothing to compress
    root.put_table(table, folder, part + SEAL, compression="none", use_dictionary=False)


def _digest(header: Mapping[str, Any], table: pa.Table) -> str:
    rows = np.ascontiguousarray(table["row"], dtype="<i8").tobytes()
    columns = [name for name in table.column_names if name != "row"]
    names = ("\n".join(value or "" for value in table[name].to_pylist()).encode() for name in columns)
    return hashlib.sha256(b"\0".join((canonical_json(header).encode(), *names, rows))).hexdigest()
