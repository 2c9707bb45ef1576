"""Optimisers for a stack: every member has its own learning rate, its own decay, its own steps, and its own end."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
_FUSED = ("adam", "sgd")


class StackedOptimiser:
    """A `torch.optim` optimiser over one view per member of each stacked (M, ...) parameter.

    Decay is `decoupled` (the weights shrink by rate x decay before each step; with adam that is AdamW, Loshchilov &
    Hutter 2019) or `l2` (added to the gradient). A member that sits a step out keeps its weights and moments.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        *,
        kind: str,
        learning_rates: Sequence[float],
        weight_decays: Sequence[float],
        decay: str,
        momentum: float,
    ) -> None:
        self.parameters = list(parameters)
        members = len(self.parameters[0])
        self.views = [[nn.Parameter(p.detach()[m]) for p in self.parameters] for m in range(members)]
        self.rates, self.decays = list(learning_rates), list(weight_decays)
        self.decoupled = decay == "decoupled" and kind != "adam"  # torch has AdamW, and no such form of the others
        everything = [view for own in self.views for view in own]
        options: dict[str, Any] = {"fused": True} if kind in _FUSED else {"foreach": True}
        if kind == "sgd":
            options["momentum"] = momentum
        if kind == "adam":
            options["decoupled_weight_decay"] = decay == "decoupled"
        self.optimiser = OPTIMISERS[kind](everything, lr=1.0, **options)
        self._make_gradients()
        self._regroup()

    def step(self, moving: Sequence[bool]) -> None:
        """Move the members for which `moving` is true along the gradients the stack holds, then clear these."""
        for own, gradients, moves in zip(self.views, self.gradients, moving, strict=True):
            for view, gradient in zip(own, gradients, strict=True):
                view.grad = gradient if moves else None
        if self.decoupled:
            self._shrink(moving)
        self.optimiser.step()
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
        self.decays = [self.decays[member] for member in members]
        for m, own in enumerate(self.views):
            for view, parameter in zip(own, self.parameters, strict=True):
                view.data = parameter.detach()[m]
        self._make_gradients()
        self._regroup()

    @torch.no_grad()
    def _shrink(self, moving: Sequence[bool]) -> None:
        for own, rate, decay, moves in zip(self.views, self.rates, self.decays, moving, strict=True):
            if moves and decay:
                torch._foreach_mul_(own, 1 - rate * decay)

    def _make_gradients(self) -> None:
        """Give each parameter one lasting gradient, and each member its view of it."""
        self.whole_gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
        for parameter, whole in zip(self.parameters, self.whole_gradients, strict=True):
            parameter.grad = whole
        self.gradients = list(zip(*(whole.unbind() for whole in self.whole_gradients), strict=True))

    def _regroup(self) -> None:
        """Make one parameter group of the members that share a rate and a decay: one call each, not one a member."""
        sharing: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
        for rate, decay, own in zip(self.rates, self.decays, self.views, strict=True):
            sharing[rate, 0.0 if self.decoupled else decay] += own
        groups = [
            {**self.optimiser.defaults, "lr": rate, "weight_decay": decay, "params": own}
            for (rate, decay), own in sharing.items()
        ]
        self.optimiser.param_groups[:] = groups
