"""Weights a ResNet starts from: torchvision's by name, a file, or random ones from a seed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import ConfigError
from stores.identity import tensors_digest

if TYPE_CHECKING:
    import torch

NAMED = ("IMAGENET1K_V1", "IMAGENET1K_V2")
RANDOM = "random"
_SUFFIXES = (".pth", ".pt", ".safetensors")


def check_weights(weights: str, depth: int) -> None:
    """Raise ConfigError for a name torchvision has no such ResNet for, or something that is no weights file."""
    if weights == RANDOM or weights.endswith(_SUFFIXES):
        return
    if weights not in NAMED:
        raise ConfigError(
            f"ResNet weights should be {', '.join(NAMED)}, random, trained or a {'/'.join(_SUFFIXES)} file, "
            f"got {weights!r}"
        )
    if weights == "IMAGENET1K_V2" and depth < 50:
        raise ConfigError(f"torchvision has no IMAGENET1K_V2 weights for ResNet-{depth}: use IMAGENET1K_V1")


def network(depth: int, state: dict[str, torch.Tensor] | None = None, seed: int = 0) -> Any:
    """Return a torchvision ResNet without its classifier: from `state`, else initialised from `seed`."""
    import torch
    from torchvision.models import get_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = get_model(f"resnet{depth}", weights=None)
    model.fc = torch.nn.Identity()
    if state is not None:
        found = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
        try:
            model.load_state_dict(found)
        except RuntimeError as error:
            raise ConfigError(f"the weights do not fit a ResNet-{depth}: {str(error)[:300]}") from error
    return model


def starting_network(weights: str, depth: int, seed: int = 0) -> Any:
    """Return the network with the weights of that name or file. Raises ConfigError if they are nowhere."""
    return network(depth, None if weights == RANDOM else _read(_find(weights, depth)), seed)


def starting_digest(weights: str, depth: int, seed: int = 0) -> str:
    """Return the digest of those weights; of a file, all its tensors."""
    if weights == RANDOM:
        return _random_digest(depth, seed)
    path = _find(weights, depth)
    return _file_digest(path, path.stat().st_size, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _random_digest(depth: int, seed: int) -> str:
    return tensors_digest((name, value.numpy()) for name, value in network(depth, seed=seed).state_dict().items())


@lru_cache(maxsize=8)
def _file_digest(path: Path, _size: int, _mtime_ns: int) -> str:
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return tensors_digest(load_file(path).items())
    return tensors_digest((name, value.numpy()) for name, value in _read(path).items())


def _read(path: Path) -> dict[str, torch.Tensor]:
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return dict(load_file(path))
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _find(weights: str, depth: int) -> Path:
    if weights not in NAMED:
        path = Path(weights)
        if not path.is_file():
            raise ConfigError(f"ResNet weights: no file {weights}")
        return path
    import torch
    from torchvision.models import get_model_weights

    named = get_model_weights(f"resnet{depth}")[weights]
    path = Path(torch.hub.get_dir()) / "checkpoints" / named.url.rpartition("/")[2]
    if not path.is_file():
        try:
            named.get_state_dict(progress=False, check_hash=True)
        except OSError as error:
            raise ConfigError(
                f"ResNet weights {weights}: {path.name} is neither in torch's cache ({path.parent}) nor can it be "
                f'downloaded ({error}); put it there or give a file: weights = "/path/to/{path.name}"'
            ) from error
    return path
