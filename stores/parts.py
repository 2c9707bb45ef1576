"""The sealed parts of a feature as readers see them: listed every time, read once a process."""

import hashlib
import json
from collections import defaultdict
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
from stores.rows import DAMAGED, DERIVED, WHYS, Index
from stores.spec import Receipt

SCHEMA = pa.schema([("key", pa.string()), ("row", pa.int64()), ("digest", pa.string())])
DERIVED_SCHEMA = SCHEMA.append(pa.field("upstream", pa.string()))
WITHDRAWN = pa.schema([("part", pa.string()), ("key", pa.string()), ("digest", pa.string()), ("why", pa.string())])
SEAL, VALUES = ".parquet", ".zarr"


@dataclass(frozen=True, slots=True)
class Seal:
    """The metadata of one sealed part.

    `weights` is the digest of those of the encoder that made its rows, `values` that of all vectors as one array.
    """

    part: str
    rows: int
    receipt: Receipt
    replaces: tuple[str, ...]
    weights: str | None = None
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
        self._notes: dict[str, pa.Table] = {}
        self._lost: dict[str, str] = {}
        self._index: Index | None = None

    def every(self) -> list[Sealed]:
        """Return all parts, those that have been replaced too, sorted by name."""
        with self._lock:
            return self._refreshed()

    def live(self) -> list[Sealed]:
        """Return the parts readers go by: those that no other replaces, without the rows that were withdrawn."""
        with self._lock:
            return self._live(self._refreshed())

    def withdrawn(self, part: str) -> list[str]:
        """Return the keys of the rows of a part that were withdrawn."""
        with self._lock:
            self._refreshed()
            keys = self._keys(*WHYS).get(part)
            return [] if keys is None else list(keys.to_pylist())

    def replaced(self) -> dict[str, list[str]]:
        """Return part -> the parts that replace it; one with damaged rows replaces none."""
        with self._lock:
            return self._replaced(self._refreshed())

    def digests(self) -> pa.ChunkedArray:
        """Return the digests of all rows that were ever right, those no reader takes any more included."""
        with self._lock:
            every, derived = self._refreshed(), self._keys(DERIVED)
            tables = [_without(table, derived.get(seal.part)) for seal, table in every]
            notes = [note.filter(pc.not_equal(note["why"], DERIVED)) for note in self._notes.values()]
            return pa.chunked_array([c for t in (*tables, *notes) for c in t["digest"].chunks], pa.string())

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
                live = self._live(every)
                self._index = Index([(s.part, table) for s, table in live], {s.part: s.values for s, _ in live})
            return self._index

    def _refreshed(self) -> list[Sealed]:
        """Read what has been sealed since the last time; a seal never changes, so its stamp says whether it is new."""
        listed, noted = self._root.stamps(self._folder), self._root.stamps(self._withdrawn)
        if (listed, noted) == self._listed:
            return [sealed for _, sealed in self._read.values()]
        read: dict[str, tuple[object, Sealed]] = {}
        lost: dict[str, str] = {}
        for name, stamp in sorted(listed.items()):
            part = name.removesuffix(SEAL)
            if part == name:
                continue
            if part + VALUES not in listed:
                lost[part] = "its values are gone"
                continue
            known = self._read.get(part)
            if known is not None and known[0] == stamp:
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
        self._read, self._lost, self._listed, self._index = read, lost, (listed, noted), None
        return [sealed for _, sealed in read.values()]

    def _live(self, every: Sequence[Sealed]) -> list[Sealed]:
        replaced, withdrawn = self._replaced(every), self._keys(*WHYS)
        return [(seal, _without(table, withdrawn.get(seal.part))) for seal, table in every if seal.part not in replaced]

    def _replaced(self, every: Sequence[Sealed]) -> dict[str, list[str]]:
        found, damaged = defaultdict(list), self._keys(DAMAGED)
        for seal, _ in every:
            for part in seal.replaces if seal.part not in damaged else ():
                found[part].append(seal.part)
        return found

    def _keys(self, *why: str) -> dict[str, pa.ChunkedArray]:
        """Return part -> keys of its rows that were withdrawn for one of these reasons."""
        notes = pa.concat_tables([WITHDRAWN.empty_table(), *self._notes.values()])
        notes = notes.filter(pc.is_in(notes["why"], pa.array(why)))
        return {part: notes.filter(pc.equal(notes["part"], part))["key"] for part in notes["part"].unique().to_pylist()}


def listed(part: str, table: pa.Table) -> pa.Table:
    """Return (part, key, digest) of rows of a part."""
    return table.select(["key", "digest"]).add_column(0, "part", pa.array([part] * len(table), pa.string()))


def _without(table: pa.Table, keys: pa.ChunkedArray | None) -> pa.Table:
    return table if keys is None else table.filter(pc.invert(pc.is_in(table["key"], keys)))


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
        return Seal(part, header["rows"], receipt, replaces, header.get("weights"), header.get("values")), table
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
