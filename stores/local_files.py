"""Files and folders on this machine, written so that a crash leaves the old one or the new one, never half of it."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stores.errors import ConfigError

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


def check_target(target: Path, *, overwrite: bool) -> None:
    """Raise ConfigError if something is at `target` that may not be replaced, or its folder does not exist.

    A folder is replaced only if it is a Zarr group or empty: whatever else it is was not written here.
    """
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: there is no folder {target.parent}: make it first")
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise ConfigError(f"{target} exists: choose another name, or --overwrite")
    if target.is_dir() and any(target.iterdir()) and not (target / "zarr.json").is_file():
        raise ConfigError(f"{target} is a folder of other things: it is not overwritten, choose another name")


@contextmanager
def placed(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary sibling to write to; rename it to `target` at the end, or remove it after an error.

    Raises ConfigError as `check_target` does, at the beginning and again before renaming.
    """
    check_target(target, overwrite=overwrite)
    unfinished = sibling(target)
    try:
        yield unfinished
        for file in unfinished.rglob("*") if unfinished.is_dir() else [unfinished]:
            if file.is_file():
                sync(file)
        check_target(target, overwrite=overwrite)
        _swap(unfinished, target)
    finally:
        _remove(unfinished)


def _swap(new: Path, target: Path) -> None:
    if not (new.is_dir() or target.is_dir()) or not os.path.lexists(target):
        new.replace(target)
        return
    old = sibling(target)  # no system replaces a full folder in one step
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
