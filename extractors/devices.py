"""Where a network runs and in which precision: asked of the machine, never assumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stores.errors import ConfigError

if TYPE_CHECKING:
    import torch


def pick_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is the GPU if there is one. Raises ConfigError."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"expected a device such as auto, cpu, cuda or cuda:1, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r} was asked for, but torch finds no GPU: use device = 'auto' or 'cpu'")
    return device


def pick_dtype(device: torch.device, numerics: str) -> torch.dtype:
    """Return bfloat16 for class `standard` where the device computes it natively, else float32."""
    import torch

    if numerics == "exact":
        return torch.float32
    native = torch.cuda.is_bf16_supported(False) if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


@contextmanager
def at_most(threads: int | None) -> Iterator[None]:
    """Compute on no more CPU threads than that inside the block; None leaves torch's setting.

    The setting is the process's: only one thread at a time may be inside.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(before, threads or before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def computing(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute in `dtype` inside the block; float32 means full float32, not TF32, and deterministic convolutions."""
    import torch

    if dtype != torch.float32:
        with torch.autocast(device.type, dtype):
            yield
    else:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on the device; to a GPU it is copied from pinned memory while the next is made ready."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
