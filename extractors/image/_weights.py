"""Weights a ResNet starts from: torchvision's by name, a file, or random ones from a seed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extractors._weight_files import file_tensors_digest, read_tensors
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


def random_state(depth: int, layer: str) -> dict[str, torch.Tensor]:
    """Return the state of a ResNet up to that layer as torchvision initialises it from seed 0."""
    from extractors.image._network import FaceNetwork

    return FaceNetwork(depth, 0, layer).resnet.state_dict()


def read_state(weights: str, depth: int, layer: str) -> dict[str, torch.Tensor]:
    """Return named weights, or those of a file; the classifier (`fc`) only if it is the layer wanted.

    Raises ConfigError if they are nowhere or do not fit a ResNet of that depth.
    """
    expected = random_state(depth, layer)
    counters = {name: value for name, value in expected.items() if name.endswith("num_batches_tracked")}
    read = read_tensors(_find(weights, depth))
    found = {name: value for name, value in read.items() if layer == "fc" or not name.startswith("fc.")}
    state = counters | found  # older files lack the counters, which nothing here reads
    shapes = {name: value.shape for name, value in expected.items()}
    if wrong := sorted(n for n in {*state, *shapes} if n not in state or shapes.get(n) != state[n].shape):
        raise ConfigError(
            f"the weights {weights} do not fit a ResNet-{depth} up to {layer}: {len(wrong)} tensors, first {wrong[0]}"
        )
    return state


def weights_digest(weights: str, depth: int, layer: str) -> str:
    """Return the digest of named weights, of all tensors in a file, or of random weights."""
    if weights == RANDOM:
        return _random_digest(depth, layer)
    return file_tensors_digest(_find(weights, depth))


@lru_cache(maxsize=8)
def _random_digest(depth: int, layer: str) -> str:
    return tensors_digest((name, value.numpy()) for name, value in random_state(depth, layer).items())


def _find(weights: str, depth: int) -> Path:
    if weights not in NAMED:
        if not Path(weights).is_file():
            raise ConfigError(f"ResNet weights: no file {weights}")
        return Path(weights)
    import torch
    from torchvision.models import get_model_weights

    named: Any = get_model_weights(f"resnet{depth}")[weights]
    path: Path = Path(torch.hub.get_dir()) / "checkpoints" / named.url.rpartition("/")[2]
    if not path.is_file():
        try:
            named.get_state_dict(progress=False, check_hash=True)
        except OSError as error:
            raise ConfigError(
                f"ResNet weights {weights}: {path.name} is neither in torch's cache ({path.parent}) nor can it be "
                f'downloaded ({error}); put it there or give a file: weights = "/path/to/{path.name}"'
            ) from error
    return path
