"""Files on this machine, written so that a crash leaves the old one or the new one, never half of it."""

import errno
import os
import uuid
from pathlib import Path

INVISIBLE = "."  # the names of files that are being written begin so


def sibling(path: Path) -> Path:
    """Return the temporary name under which a file or folder is written before it gets its own."""
    return path.with_name(f"{INVISIBLE}{path.name}.{uuid.uuid4().hex[:8]}")


def put_file(path: Path, data: bytes, *, new: bool = False) -> None:
    """Write a file in one step and flush it; with `new`, raise FileExistsError if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = sibling(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _link(temporary, path)
        else:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def _link(temporary: Path, path: Path) -> None:
    """Give a file its name unless it is taken: FileExistsError."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if isinstance(error, FileExistsError) or path.exists():
            raise FileExistsError(errno.EEXIST, "exists", str(path)) from None
        temporary.replace(path)  # a file system without links


def sync(path: str | Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
