"""Weights as they came from elsewhere: what is no whole file is refused by name, before anything is extracted."""

from pathlib import Path

from stores.errors import ConfigError

_POINTER = b"version https://git-lfs.github.com/spec/"


def check_whole(path: Path) -> None:
    """Raise ConfigError if a file is empty, or what Git leaves in its place where Git LFS is not installed."""
    with path.open("rb") as file:
        begin = file.read(len(_POINTER))
    if begin == _POINTER:
        raise ConfigError(f"{path} is a Git LFS pointer, not the file itself: `git lfs pull` in its folder fetches it")
    if not begin:
        raise ConfigError(f"{path} is empty: fetch it again")


def not_whole(path: Path, error: Exception) -> ConfigError:
    """Return what to raise for a file that cannot be read as what its name says."""
    return ConfigError(f"{path} is not whole, or no such file ({type(error).__name__}): fetch it again")
