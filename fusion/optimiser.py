"""Optimisers for a stack: every member has its own learning rate, its own decay, its own steps, and its own end."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fusion.heads._layers import defer, undefer

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
_FUSED = ("adam", "sgd")
_WIDE = 1 << 14  # weights a member: from here on its gradient is made when it is used
_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # torch's, and Kingma and Ba's


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
        self.views = [[nn.Parameter(p.detach()[m]) for p in self.parameters] for m in range(len(self.parameters[0]))]
        self.rates, self.decays = list(learning_rates), list(weight_decays)
        self.decoupled = decay == "decoupled"
        self._shrinks = self.decoupled and kind != "adam"  # torch has AdamW, and no such form of the others
        self._open(kind, momentum)
        self._make_gradients()
        self._regroup()

    def step(self, moving: Sequence[bool]) -> None:
        """Move the members for which `moving` is true along the gradients the stack holds, then clear these."""
        for own, gradients, moves in zip(self.views, self.gradients, moving, strict=True):
            for view, gradient in zip(own, gradients, strict=True):
                view.grad = gradient if moves else None
        if self._shrinks:
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

    def _open(self, kind: str, momentum: float) -> None:
        everything = [view for own in self.views for view in own]
        options: dict[str, Any] = {"fused": True} if kind in _FUSED else {"foreach": True}
        if kind == "sgd":
            options["momentum"] = momentum
        if kind == "adam":
            options["decoupled_weight_decay"] = self.decoupled
        self.optimiser = OPTIMISERS[kind](everything, lr=1.0, **options)

    def close(self) -> None:
        """Leave the parameters as they were found: their gradients are their own again."""

    @torch.no_grad()
    def _shrink(self, moving: Sequence[bool]) -> None:
        for own, rate, decay, moves in zip(self.views, self.rates, self.decays, moving, strict=True):
            if moves and decay:
                torch._foreach_mul_(list[Tensor](own), 1 - rate * decay)

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
            sharing[rate, 0.0 if self._shrinks else decay] += own
        groups = [
            {**self.optimiser.defaults, "lr": rate, "weight_decay": decay, "params": own}
            for (rate, decay), own in sharing.items()
        ]
        self.optimiser.param_groups[:] = groups


class MemberwiseAdam(StackedOptimiser):
    """Adam, one member after the other: the gradient of a wide weight is made, used and forgotten within the cache.

    A stack's weights do not fit into a processor's cache, one member's do. Saves writing, reading and clearing the
    gradients of the whole stack in every step. The same sums as `torch.optim.Adam` and `AdamW`, by torch's own kernel.
    """

    first: list[list[Tensor]]
    second: list[list[Tensor]]
    steps: list[Tensor]

    @torch.no_grad()
    def step(self, moving: Sequence[bool]) -> None:
        terms = [[(x.mT.unbind(), gradient.unbind()) for x, gradient in noted] for noted in self.noted]
        for m, moves in enumerate(moving):
            if moves:
                for wide, made, own in zip(self.wide, self.made, terms, strict=True):
                    _product_into(made, [(x[m], gradient[m]) for x, gradient in own])
                    if wide.grad is not None:  # of what is used otherwise than in a product
                        made.add_(wide.grad[m])
                self._move(m)
        for wide, noted in zip(self.wide, self.noted, strict=True):
            noted.clear()
            wide.grad = None
        for narrow in self.narrow:
            narrow.zero_()

    def _move(self, m: int) -> None:
        update = torch._fused_adamw_ if self.decoupled else torch._fused_adam_
        self.steps[m] += 1
        count = len(self.parameters)
        update(
            list[Tensor](self.views[m]),
            list(self.gradients[m]),
            self.first[m],
            self.second[m],
            [],
            [self.steps[m]] * count,
            lr=self.rates[m],
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=self.decays[m],
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def keep(self, members: Sequence[int]) -> None:
        self.first = [self.first[member] for member in members]
        self.second = [self.second[member] for member in members]
        self.steps = [self.steps[member] for member in members]
        super().keep(members)

    def _open(self, kind: str, momentum: float) -> None:
        self.first = [[torch.zeros_like(p) for p in own] for own in self.views]
        self.second = [[torch.zeros_like(p) for p in own] for own in self.views]
        self.steps = [torch.zeros(()) for _ in self.views]

    def _make_gradients(self) -> None:
        """Give narrow parameters a lasting gradient of the stack, and wide ones one that all members share."""
        self.wide, self.noted, self.made, self.narrow = [], [], [], []
        own: list[Sequence[Tensor]] = []
        for parameter in self.parameters:
            if parameter.ndim == 3 and parameter[0].numel() >= _WIDE:
                parameter.grad = None
                self.wide.append(parameter)
                self.noted.append(defer(parameter))
                self.made.append(torch.zeros_like(parameter[0]))
                own.append([self.made[-1]] * len(parameter))
            else:
                parameter.grad = torch.zeros_like(parameter)
                self.narrow.append(parameter.grad)
                own.append(parameter.grad.unbind())
        self.gradients = list(zip(*own, strict=True))

    def _regroup(self) -> None:
        pass  # every member is a call of its own

    def close(self) -> None:
        for wide in self.wide:
            undefer(wide)


def _product_into(made: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Make `sum x^T g` of pairs (x^T, g) in the memory `made`, float32; x and g may be bfloat16."""
    for i, (x, gradient) in enumerate(pairs):
        if x.dtype != made.dtype:
            product = torch.mm(x, gradient)
            made.copy_(product) if i == 0 else made.add_(product)
        elif i == 0:
            torch.mm(x, gradient, out=made)
        else:
            made.addmm_(x, gradient)
    if not pairs:
        made.zero_()


def optimiser_for(device: torch.device, kind: str) -> type[StackedOptimiser]:
    """Return the fastest optimiser of a kind on a device."""
    return MemberwiseAdam if device.type == "cpu" and kind == "adam" else StackedOptimiser
