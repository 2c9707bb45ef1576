"""Layers with a leading member axis: M members are M independent models that share one batched matrix product."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class StackedLinear(nn.Module):
    """(M, B, inputs) -> (M, B, outputs), one affine map a member, started as `torch.nn.Linear` starts."""

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(_uniform((inputs, outputs), bound, generators))
        self.bias = nn.Parameter(_uniform((1, outputs), bound, generators))

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = _Product.apply(x, self.weight)
        return product + self.bias


class StackedDropout(nn.Module):
    """Dropout that draws each member's mask from that member's own generator, on the CPU, whatever the device."""

    def __init__(self, p: float, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.p = p
        self.generators = generators  # the head's own list, which shrinks as members finish

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        draws = torch.empty(x.shape)
        for own, generator in zip(draws, self.generators, strict=True):
            own.uniform_(generator=generator)
        return x * (draws >= self.p).to(x.device) / (1 - self.p)


def layer_norm(x: Tensor) -> Tensor:
    """Normalise the last axis, without gain or shift: a gain would take back what a modality weight means (A14)."""
    return nn.functional.layer_norm(x, x.shape[-1:])


class _Product(torch.autograd.Function):
    """Batched product that adds to the weights' gradient in place: a new one a step costs a fifth of the step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = torch.bmm(gradient, weight.mT) if ctx.needs_input_grad[0] else None
        if weight.grad is None:
            return of_x, torch.bmm(x.mT, gradient)
        weight.grad.baddbmm_(x.mT, gradient)
        return of_x, None


def _uniform(shape: tuple[int, ...], bound: float, generators: Sequence[torch.Generator]) -> Tensor:
    return torch.stack([torch.empty(shape).uniform_(-bound, bound, generator=generator) for generator in generators])
