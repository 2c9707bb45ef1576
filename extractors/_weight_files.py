"""Weights as they came from elsewhere, and their digests; what is no whole file is refused by name, before anything is
extracted.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import safe_open

from stores.errors import ConfigError
from stores.identity import tensors_digest

if TYPE_CHECKING:
    import torch

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
    remedy = "fetch it again; in a cache: delete it, and it is fetched again"
    return ConfigError(f"{path} is not whole, or no such file ({type(error).__name__}): {remedy}")


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a state dict, halves in float32, which holds them exactly and is what rows are computed of.

    Raises ConfigError.
    """
    import torch
    from safetensors.torch import load_file

    check_whole(path)
    try:
        safe = path.suffix == ".safetensors"
        state = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # torch and safetensors raise their own kinds; torch's advice is unsafe, so not quoted
        raise ConfigError(f"{not_whole(path, error)}; expected a plain state dict of tensors") from error
    if not isinstance(state, Mapping):
        raise ConfigError(f"{path}: expected a plain state dict of tensors, got {type(state).__name__}")
    if wrong := [f"{n}: {type(value).__name__}" for n, value in state.items() if not isinstance(value, torch.Tensor)]:
        raise ConfigError(
            f"{path}: expected a plain state dict of tensors, got a checkpoint with {', '.join(wrong[:4])}; save its "
            "state dict alone"
        )
    return {n: v.float() if v.is_floating_point() and v.itemsize < 4 else v for n, v in state.items()}


def file_tensors_digest(path: Path) -> str:
    """Return the digest of the tensors in a file, as `read_tensors` gives them. Raises ConfigError."""
    return _digest(path, path.stat().st_size, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _digest(path: Path, _size: int, _mtime_ns: int) -> str:
    check_whole(path)
    if path.suffix == ".safetensors":  # torch is slow to import, but reads bfloat16, and says what is wrong
        with suppress(Exception), safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors_digest((n, a.astype(np.float32) if a.dtype == np.float16 else a) for n, a in arrays.items())
    return tensors_digest((name, value.numpy()) for name, value in read_tensors(path).items())
