"""Put a file or folder of the user's under its name in one step: complete, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stores.errors import ConfigError
from stores.local_files import sibling, sync


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
        _flush(unfinished)
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


def _flush(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            sync(file)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
