"""The sealed parts of a feature as readers see them: listed every time, read once a process."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from stores.errors import DamagedError
from stores.identity import canonical_json
from stores.root import Root
from stores.rows import Index
from stores.spec import Receipt

SCHEMA = pa.schema([("key", pa.string()), ("row", pa.int64()), ("digest", pa.string())])
SEAL, VALUES = ".parquet", ".zarr"


@dataclass(frozen=True, slots=True)
class Seal:
    """The metadata of one sealed part."""

    part: str
    rows: int
    receipt: Receipt
    replaces: tuple[str, ...]


Sealed = tuple[Seal, pa.Table]  # with (key, row, digest)


class Parts:
    """What is sealed in a folder of parts. A seal that is damaged, or whose values are gone, counts for nothing: its
    rows are extracted again, and `lost` says why."""

    def __init__(self, root: Root, folder: str) -> None:
        self._root, self._folder = root, folder
        self._lock = Lock()
        self._listed: Mapping[str, object] | None = None
        self._read: dict[str, tuple[object, Sealed]] = {}
        self._lost: dict[str, str] = {}
        self._index: Index | None = None

    def every(self) -> list[Sealed]:
        """Return all parts, those that have been replaced too, sorted by name."""
        with self._lock:
            return self._refreshed()

    def live(self) -> list[Sealed]:
        """Return the parts readers go by: those that no other replaces."""
        return _unreplaced(self.every())

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
                self._index = Index([(seal.part, table) for seal, table in _unreplaced(every)])
            return self._index

    def _refreshed(self) -> list[Sealed]:
        """Read what has been sealed since the last time; a seal never changes, so its stamp says whether it is new."""
        listed = self._root.stamps(self._folder)
        if listed == self._listed:
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
        self._read, self._lost, self._listed, self._index = read, lost, listed, None
        return [sealed for _, sealed in read.values()]


def _unreplaced(every: Sequence[Sealed]) -> list[Sealed]:
    replaced = {part for seal, _ in every for part in seal.replaces}
    return [(seal, table) for seal, table in every if seal.part not in replaced]


@lru_cache(maxsize=64)
def parts_of(root: Root, folder: str) -> Parts:
    """Return the parts of a folder, shared by all who ask in this process."""
    return Parts(root, folder)


def read_seal(root: Root, folder: str, part: str, *, check: bool = False) -> Sealed:
    """Return a seal and its table, on request with its own digest checked.

    Raises DamagedError if it is not what was written.
    """
    where = f"{folder}/{part}{SEAL}"
    table = root.read_table(where)
    try:
        header = json.loads(table.schema.metadata[b"affuse"])
        if table.schema.names != SCHEMA.names or len(table) != header["rows"]:
            raise ValueError("its columns or rows are not those it names")
        if check and header.pop("digest") != _digest(header, table):
            raise ValueError("its digest differs")
        return Seal(part, header["rows"], Receipt(**header["receipt"]), tuple(header["replaces"])), table
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{where} is not the seal that was written: {error}") from None


def put_seal(root: Root, folder: str, part: str, header: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
    """Write a seal, with a digest of itself inside."""
    table = pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    signed = json.dumps({**header, "digest": _digest(header, table)}, sort_keys=True)
    table = table.replace_schema_metadata({"affuse": signed})
    # keys and digests are noise: there is nothing to compress
    root.put_table(table, folder, part + SEAL, compression="none", use_dictionary=False)


def _digest(header: Mapping[str, Any], table: pa.Table) -> str:
    rows = np.ascontiguousarray(table["row"], dtype="<i8").tobytes()
    names = ("\n".join(table[name].to_pylist()).encode() for name in ("key", "digest"))
    return hashlib.sha256(b"\0".join((canonical_json(header).encode(), *names, rows))).hexdigest()
