"""Adam for a stack: every member has its own learning rate, its own steps, and its own end."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import nn


class StackedAdam:
    """`torch.optim.AdamW` over one view per member of each stacked (M, ...) parameter.

    Decay is decoupled (Loshchilov & Hutter 2019). A member that sits a step out keeps its weights and moments.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, learning_rate: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        members = len(self.parameters[0])
        self.views = [[nn.Parameter(p.detach()[m]) for p in self.parameters] for m in range(members)]
        self.rates = [learning_rate] * members
        everything = [view for own in self.views for view in own]
        self.adam = torch.optim.AdamW(everything, lr=learning_rate, weight_decay=weight_decay, fused=True)
        self._make_gradients()

    def step(self, moving: Sequence[bool]) -> None:
        """Move the members for which `moving` is true along the gradients the stack holds, then clear these."""
        for own, gradients, moves in zip(self.views, self.gradients, moving, strict=True):
            for view, gradient in zip(own, gradients, strict=True):
                view.grad = gradient if moves else None
        self.adam.step()
        for whole in self.whole_gradients:
            whole.zero_()

    def slow_down(self, member: int, factor: float) -> None:
        """Multiply one member's learning rate."""
        self.rates[member] *= factor
        self._regroup()

    def keep(self, members: Sequence[int]) -> None:
        """Follow a head that has taken all other members off its stack."""
        self.views = [self.views[member] for member in members]
        self.rates = [self.rates[member] for member in members]
        for m, own in enumerate(self.views):
            for view, parameter in zip(own, self.parameters, strict=True):
                view.data = parameter.detach()[m]
        self._make_gradients()
        self._regroup()

    def _make_gradients(self) -> None:
        """Give each parameter one lasting gradient, and each member its view of it."""
        self.whole_gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
        for parameter, whole in zip(self.parameters, self.whole_gradients, strict=True):
            parameter.grad = whole
        self.gradients = list(zip(*(whole.unbind() for whole in self.whole_gradients), strict=True))

    def _regroup(self) -> None:
        """Make one parameter group of the members that share a rate: one call each, not one a member."""
        sharing: dict[float, list[nn.Parameter]] = defaultdict(list)
        for rate, own in zip(self.rates, self.views, strict=True):
            sharing[rate] += own
        self.adam.param_groups[:] = [{**self.adam.defaults, "lr": r, "params": own} for r, own in sharing.items()]
