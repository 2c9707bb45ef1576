"""Matrix products with fixed weights; in bfloat16 on a CPU as torch's compiler emits them: packed, GELU fused."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


def product(dtype: torch.dtype, *layers: nn.Linear, then: nn.Module | None = None) -> Callable[[Tensor], Tensor]:
    """Return linear layers with the same input as one that computes in `dtype`, `then` applied to what it gives."""
    weight = torch.cat([layer.weight.detach() for layer in layers]).to(dtype)
    bias = torch.cat([layer.bias.detach() for layer in layers]).to(dtype)
    if weight.device.type == "cpu" and dtype == torch.bfloat16:
        try:
            packed = _packed(weight, bias, then)
            packed(weight[:1])
            return packed
        except (AttributeError, RuntimeError):  # private to torch, and only where it was built with oneDNN
            pass
    return _plain(weight, bias, then)


def _plain(weight: Tensor, bias: Tensor, then: Any) -> Callable[[Tensor], Tensor]:
    def computed(inputs: Tensor) -> Tensor:
        outputs = linear(inputs.to(weight.dtype), weight, bias)
        return outputs if then is None else then(outputs)

    return computed


def _packed(weight: Tensor, bias: Tensor, then: Any) -> Callable[[Tensor], Tensor]:
    packed, compute = torch.ops.mkldnn._reorder_linear_weight(weight), torch.ops.mkldnn._linear_pointwise
    fused = _is_gelu(then)
    after: tuple[str, list[Any], str | None] = ("gelu", [], "none") if fused else ("none", [], None)

    def computed(inputs: Tensor) -> Tensor:
        outputs: Tensor = compute(inputs.to(bias.dtype), packed, bias, *after)
        return outputs if fused or then is None else then(outputs)

    return computed


def _is_gelu(then: Any) -> bool:
    """Return whether it is the GELU by the error function, of which there are several classes."""
    probe = torch.linspace(-4, 4, 65)
    return then is not None and torch.equal(then(probe), nn.functional.gelu(probe))
