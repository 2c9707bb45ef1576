"""Layers with a leading member axis: M members are M independent models that share one batched matrix product."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_NEVER = -1e30  # the score of what is not there: its share of a softmax is exactly 0


class StackedLinear(nn.Module):
    """(M, B, inputs) -> (M, B, outputs) float32, one affine map a member, started as `torch.nn.Linear` starts.

    bfloat16 inputs make a bfloat16 product; weights are float32 all the same. `fan_in` is for a map that is one of
    several whose results are added up.
    """

    __call__: Callable[..., Tensor]

    def __init__(
        self, inputs: int, outputs: int, generators: Sequence[torch.Generator], *, bias: bool = True, fan_in: int = 0
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(fan_in or inputs)
        self.weight = nn.Parameter(_uniform((inputs, outputs), bound, generators))
        self.bias = nn.Parameter(_uniform((1, outputs), bound, generators)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = _Product.apply(x, self.weight)
        return product if self.bias is None else product + self.bias


class StackedDropout(nn.Module):
    """Dropout that draws each member's mask from that member's own stream, on the CPU, whatever the device."""

    def __init__(self, rates: Sequence[float], streams: Sequence[np.random.Generator]) -> None:
        super().__init__()
        self.rates = rates  # both are the head's own lists, which shrink as members finish
        self.streams = streams

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not any(self.rates):
            return x
        draws = torch.empty(x.shape)
        for own, stream in zip(draws.numpy(), self.streams, strict=True):
            stream.random(dtype=np.float32, out=own)
        rates = torch.tensor(self.rates).view(-1, *[1] * (x.ndim - 1))
        return x * ((draws >= rates) / (1 - rates)).to(x.device)


class Projections(nn.Module):
    """`z_m = LN(P_m x_m + b_m)` for every modality: x -> (M, B, modalities, hidden), modalities sorted (rule D1)."""

    def __init__(self, widths: Mapping[str, int], hidden: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({m: StackedLinear(widths[m], hidden, generators) for m in sorted(widths)})

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return layer_norm(torch.stack([project(x[m]) for m, project in self.maps.items()], dim=2))


class SideBySide(nn.ModuleDict):
    """`W [x_1; ...; x_M] = sum_m W_m x_m`, one block of columns a modality: x -> (M, B, hidden), without bias."""

    def __init__(self, widths: Mapping[str, int], hidden: int, generators: Sequence[torch.Generator]) -> None:
        fan_in = sum(widths.values())
        super().__init__(
            {m: StackedLinear(widths[m], hidden, generators, bias=False, fan_in=fan_in) for m in sorted(widths)}
        )

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        products: Tensor = sum(block(x[m]) for m, block in self.items())
        return products


class Classifier(nn.Module):
    """Logits (M, B, K) of (M, B, inputs): `linear` is dropout and one fully connected layer.

    `hidden` puts `ReLU(W h + b)`, as wide as its input, before that; `residual` adds a skip around it: `h + ReLU(...)`.
    """

    __call__: Callable[..., Tensor]

    def __init__(
        self, inputs: int, n_classes: int, kind: str, generators: Sequence[torch.Generator], dropout: StackedDropout
    ) -> None:
        super().__init__()
        self.kind = kind
        self.hidden = None if kind == "linear" else StackedLinear(inputs, inputs, generators)
        self.dropout = dropout
        self.out = StackedLinear(inputs, n_classes, generators)

    def forward(self, h: Tensor) -> Tensor:
        if self.hidden is not None:
            inner = self.hidden(h).relu()
            h = h + inner if self.kind == "residual" else inner
        return self.out(self.dropout(h))


def layer_norm(x: Tensor) -> Tensor:
    """Normalise the last axis, without gain or shift: a gain would take back what a modality weight means (A14)."""
    return nn.functional.layer_norm(x, x.shape[-1:])


def masked_softmax(scores: Tensor, present: Tensor) -> Tensor:
    """Return the softmax over the last axis of what is there; what is not there gets exactly 0."""
    return torch.where(present, scores, _NEVER).softmax(dim=-1) * present


def attend(query: Tensor, key: Tensor, value: Tensor, present: Tensor, heads: int) -> Tensor:
    """Return `softmax(Q K' / sqrt(d)) V` head by head, (M, B, T, hidden) like each of the three; d is hidden / heads.

    Tokens that are not `present` (M, B, T) are seen by none. Plain products, which FLOPs are counted of on any device.
    """
    q, k, v = (
        own.view(*own.shape[:3], heads, -1).transpose(2, 3) for own in (query, key, value)
    )  # (M, B, heads, T, d)
    shares = masked_softmax(q @ k.mT / q.shape[-1] ** 0.5, present[:, :, None, None])
    attended: Tensor = (shares @ v).transpose(2, 3).flatten(3)
    return attended


def each_token(layer: StackedLinear, tokens: Tensor) -> Tensor:
    """Return the layer's output (M, B, T, e) for every token of (M, B, T, d)."""
    return layer(tokens.flatten(1, 2)).view(*tokens.shape[:3], -1)


def weighted_sum(weights: Tensor, z: Tensor) -> Tensor:
    """Return `sum_m w_m z_m` (M, B, d) of weights (M, B, modalities) and z (M, B, modalities, d)."""
    return (weights.unsqueeze(-1) * z).sum(dim=2)


def defer(weight: nn.Parameter) -> list[tuple[Tensor, Tensor]]:
    """Let products with this weight note (x, gradient of the product) in the list returned, and make no gradient.

    Whoever empties the list makes the weight's gradient, `sum x^T g`, when there is a use for it (`fusion.optimiser`).
    """
    noted: list[tuple[Tensor, Tensor]] = []
    weight.deferred = noted  # type: ignore[attr-defined]
    return noted


def undefer(weight: nn.Parameter) -> None:
    """Let products with this weight make its gradient again."""
    del weight.deferred  # type: ignore[attr-defined]


class _Product(torch.autograd.Function):
    """Batched product that adds to the weights' gradient in place: a new one a step costs a fifth of the step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(x, weight.to(x.dtype)).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.to(x.dtype)
        of_x = torch.bmm(gradient, weight.to(x.dtype).mT) if ctx.needs_input_grad[0] else None
        noted = getattr(weight, "deferred", None)
        if noted is not None:
            noted.append((x, gradient))
            return of_x, None
        if weight.grad is None or x.dtype != weight.dtype:
            of_weight = torch.bmm(x.mT, gradient).to(weight.dtype)
            if weight.grad is None:
                return of_x, of_weight
            weight.grad.add_(of_weight)
        else:
            weight.grad.baddbmm_(x.mT, gradient)
        return of_x, None


def _uniform(shape: tuple[int, ...], bound: float, generators: Sequence[torch.Generator]) -> Tensor:
    return torch.stack([torch.empty(shape).uniform_(-bound, bound, generator=generator) for generator in generators])
