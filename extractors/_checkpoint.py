"""A training that is under way, as tensors and notes: what a killed one goes on from, bit for bit."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


def to_arrays(model: nn.Module, optimiser: torch.optim.Optimizer, best: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return model, moments, best weights and torch's random state, each under a name of its own."""
    found = {f"model/{name}": value for name, value in model.state_dict().items()}
    found |= {f"best/{name}": value for name, value in best.items()}
    for number, moments in optimiser.state_dict()["state"].items():
        found |= {f"optimiser/{number}/{name}": value for name, value in moments.items() if isinstance(value, Tensor)}
    found["random/cpu"] = torch.get_rng_state()
    device = next(model.parameters()).device
    if device.type == "cuda":
        found["random/cuda"] = torch.cuda.get_rng_state(device)
    return {name: value.cpu().numpy() for name, value in found.items()}


def from_arrays(
    arrays: Mapping[str, np.ndarray], model: nn.Module, optimiser: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Put everything back where `to_arrays` took it from; return the best weights."""
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    model.load_state_dict(_under("model", tensors))
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimiser", tensors).items():
        number, _, kind = name.partition("/")
        like = parameters[int(number)]
        laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value  # channels last, say
        moments.setdefault(int(number), {})[kind] = laid_out
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    torch.set_rng_state(tensors["random/cpu"])
    device = next(model.parameters()).device
    if device.type == "cuda" and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"], device)
    return {name: value.to(device) for name, value in _under("best", tensors).items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.partition("/")[2]: value for name, value in tensors.items() if name.startswith(f"{prefix}/")}
