"""Content digests of files, remembered by (path, size, mtime_ns), so that a plan need not read every recording.

Advisory: what is remembered saves a reading and never decides more than the file itself would. On disk it is
`digests/<manifest name>.parquet`, which may be deleted at any time.
"""

import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from stores.errors import StoreError
from stores.identity import file_digest
from stores.root import Root

_SETTLED_NS = 2_000_000_000  # a file may change twice within one tick of its clock
_SCHEMA = pa.schema([("path", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("digest", pa.string())])


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a file was when it was last read; `settled` unless it had been written that very moment."""

    size: int
    mtime_ns: int
    digest: str
    settled: bool = True


_known: dict[str, Remembered] = {}


def content_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, from memory if size and time of change are as they were.

    Raises OSError or ValueError if it cannot be read, or is not a regular file.
    """
    name = str(path)
    status = os.stat(name)
    found = _known.get(name)
    if found is not None and found.settled and found.mtime_ns == status.st_mtime_ns and found.size == status.st_size:
        return found.digest
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "not a regular file", name)  # a pipe would be waited for, a device never ends
    settled = abs(time.time_ns() - status.st_mtime_ns) > _SETTLED_NS
    digest = file_digest(path)
    _known[name] = Remembered(status.st_size, status.st_mtime_ns, digest, settled)
    return digest


def remembered(path: Path) -> Remembered | None:
    """Return what is remembered of a file, whether or not it has changed since."""
    return _known.get(str(path))


def forget() -> None:
    """Remember nothing: every file is read again."""
    _known.clear()


def load_digests(root: Root, name: str) -> None:
    """Remember what was saved for a manifest; what this process has read itself counts for more."""
    if not root.exists("digests", f"{name}.parquet"):
        return
    try:
        table = root.read_table("digests", f"{name}.parquet")
        columns = (table[field].to_pylist() for field in ("path", "size", "mtime_ns", "digest"))
        for path, size, mtime_ns, digest in zip(*columns, strict=True):
            _known.setdefault(path, Remembered(size, mtime_ns, digest))
    except (StoreError, KeyError, ValueError):  # advisory: a damaged memory is no memory
        return


def save_digests(root: Root, name: str, paths: Iterable[Path]) -> None:
    """Save what is remembered of the media of a manifest, if it differs from what is saved."""
    known = {str(path): entry for path in paths if (entry := _known.get(str(path))) is not None and entry.settled}
    table = pa.table(
        {
            "path": list(known),
            "size": [entry.size for entry in known.values()],
            "mtime_ns": [entry.mtime_ns for entry in known.values()],
            "digest": [entry.digest for entry in known.values()],
        },
        schema=_SCHEMA,
    )
    try:
        same = root.exists("digests", f"{name}.parquet") and root.read_table("digests", f"{name}.parquet").equals(table)
    except (StoreError, ValueError):
        same = False
    if known and not same:
        root.put_table(table, "digests", f"{name}.parquet")
