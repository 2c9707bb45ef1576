"""Adam for a stack: every member has its own learning rate, its own steps, and its own end."""

from collections.abc import Sequence

import torch
from torch import nn


class StackedAdam:
    """`torch.optim.AdamW` over one view per member of each stacked (M, ...) parameter, one parameter group a member.

    Decay is decoupled (Loshchilov & Hutter 2019). A member that sits a step out keeps its weights and moments.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, learning_rate: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        views = [[nn.Parameter(p.detach()[m]) for p in self.parameters] for m in range(len(self.parameters[0]))]
        groups = [{"params": own} for own in views]
        self.adam = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)

    def step(self, moving: Sequence[bool]) -> None:
        """Move the members for which `moving` is true along the gradients the stack holds, then drop these."""
        gradients = []
        for parameter in self.parameters:
            assert parameter.grad is not None
            gradients.append(parameter.grad.unbind())
            parameter.grad = None
        for m, group in enumerate(self.adam.param_groups):
            for view, gradient in zip(group["params"], gradients, strict=True):
                view.grad = gradient[m] if moving[m] else None
        self.adam.step()

    def slow_down(self, member: int, factor: float) -> None:
        """Multiply one member's learning rate."""
        self.adam.param_groups[member]["lr"] *= factor

    def keep(self, members: Sequence[int]) -> None:
        """Follow a head that has taken all other members off its stack."""
        self.adam.param_groups[:] = [self.adam.param_groups[member] for member in members]
        for m, group in enumerate(self.adam.param_groups):
            for view, parameter in zip(group["params"], self.parameters, strict=True):
                view.data = parameter.detach()[m]
