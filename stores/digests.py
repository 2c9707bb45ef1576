"""Content digests of files, remembered by path and status, so that a plan need not read every recording.

The status is size, time of change, inode, and when that changed: what is moved, unpacked or copied over a file with
its time kept is told by the last two.

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
_STATUS = {"size": pa.int64(), "mtime_ns": pa.int64(), "inode": pa.uint64(), "ctime_ns": pa.int64()}
_SCHEMA = pa.schema([("path", pa.string()), *_STATUS.items(), ("digest", pa.string())])


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a file was when it was last read: (size, mtime_ns, inode, ctime_ns) and digest.

    It is `settled` unless it had been written that very moment.
    """

    status: tuple[int, ...]
    digest: str
    settled: bool = True


_known: dict[str, Remembered] = {}


def content_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, from memory if its status is as it was.

    Raises OSError or ValueError if it cannot be read, or is not a regular file.
    """
    name = str(path)
    told = os.stat(name)
    status = told.st_size, told.st_mtime_ns, told.st_ino, told.st_ctime_ns
    found = _known.get(name)
    if found is not None and found.settled and found.status == status:
        return found.digest
    if not stat.S_ISREG(told.st_mode):
        raise OSError(None, "not a regular file", name)  # a pipe would be waited for, a device never ends
    settled = all(abs(time.time_ns() - changed) > _SETTLED_NS for changed in (told.st_mtime_ns, told.st_ctime_ns))
    digest = file_digest(path)
    _known[name] = Remembered(status, digest, settled)
    return digest


def remembered(path: Path) -> Remembered | None:
    """Return what is remembered of a file, whether or not it has changed since."""
    return _known.get(str(path))


def forget() -> None:
    """Remember nothing: every file is read again."""
    _known.clear()


def load_digests(root: Root, name: str) -> None:
    """Remember what was saved for a manifest; what this process has read itself counts for more."""
    try:
        table = root.read_table("digests", f"{name}.parquet")
        for path, *status, digest in zip(*(table[name].to_pylist() for name in _SCHEMA.names), strict=True):
            _known.setdefault(path, Remembered(tuple(status), digest))
    except (FileNotFoundError, StoreError, KeyError, ValueError):  # advisory: none, damaged or of less: no memory
        return


def save_digests(root: Root, name: str, paths: Iterable[Path]) -> None:
    """Save what is remembered of the media of a manifest, if it differs from what is saved."""
    known = {str(path): entry for path in paths if (entry := _known.get(str(path))) is not None and entry.settled}
    table = pa.table(
        {
            "path": list(known),
            **{name: [entry.status[i] for entry in known.values()] for i, name in enumerate(_STATUS)},
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
