from typing import Any

import pytest
import torch
from torch import nn

from fusion.heads._layers import StackedLinear
from fusion.optimiser import OPTIMISERS, MemberwiseAdam, StackedOptimiser, optimiser_for

CPU = torch.device("cpu")
SHAPES = ((3, 4, 5), (3, 1, 5), (3, 2))
KINDS = [(kind, decay) for kind in ("adam", "sgd", "rmsprop") for decay in ("decoupled", "l2")]


def _stack() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def _gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=generator) for p in _stack()]


def _optimiser(stack: list[nn.Parameter], kind: str, decay: str) -> StackedOptimiser:
    return optimiser_for(CPU, kind)(
        stack, kind=kind, learning_rates=[0.1, 0.1, 0.02], weight_decays=[0.1, 0.1, 0.3], decay=decay, momentum=0.5
    )


def _reference(kind: str, decay: str, member: int, steps: list[int], halved: int) -> list[torch.Tensor]:
    """One member alone under torch's plain optimiser; its rate is halved before the step `halved`."""
    parameters = [nn.Parameter(p.detach()[member].clone()) for p in _stack()]
    rate, shrink = (0.02, 0.3) if member == 2 else (0.1, 0.1)
    options: dict[str, Any] = {"foreach": False}
    if kind == "sgd":
        options["momentum"] = 0.5
    if kind == "adam":
        options["decoupled_weight_decay"] = decay == "decoupled"
    by_hand = decay == "decoupled" and kind != "adam"
    plain = OPTIMISERS[kind](parameters, lr=rate, weight_decay=0.0 if by_hand else shrink, **options)
    for step in steps:
        if step == halved:
            plain.param_groups[0]["lr"] = rate = rate / 2
        for parameter, gradient in zip(parameters, _gradients(step), strict=True):
            parameter.grad = gradient[member]
            if by_hand:
                parameter.data *= 1 - rate * shrink
        plain.step()
    return [p.detach() for p in parameters]


@pytest.mark.parametrize(("kind", "decay"), KINDS)
def test_each_member_moves_as_under_its_own_optimiser_with_its_own_rate_decay_steps_and_end(
    kind: str, decay: str
) -> None:
    stack = _stack()
    optimiser = _optimiser(stack, kind, decay)

    def step(number: int, moving: list[bool], members: list[int]) -> None:
        for parameter, gradient in zip(stack, _gradients(number), strict=True):
            assert parameter.grad is not None
            parameter.grad += gradient[members]
        optimiser.step(moving)

    step(1, [True, True, True], [0, 1, 2])
    step(2, [True, False, True], [0, 1, 2])
    optimiser.slow_down(2, 0.5)
    step(3, [True, True, True], [0, 1, 2])
    finished = [p.detach()[0].clone() for p in stack]
    for parameter in stack:
        parameter.data = parameter.data[[1, 2]]
    optimiser.keep([1, 2])
    step(4, [True, True], [1, 2])

    for mine, theirs in zip(finished, _reference(kind, decay, 0, [1, 2, 3], 0), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)
    references = (_reference(kind, decay, 1, [1, 3, 4], 0), _reference(kind, decay, 2, [1, 2, 3, 4], 3))
    for place, reference in enumerate(references):
        for mine, theirs in zip(stack, reference, strict=True):
            torch.testing.assert_close(mine.detach()[place], theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_that_is_made_when_it_is_used_is_the_same_gradient(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    def trained(kind: type[StackedOptimiser]) -> torch.Tensor:
        layer = StackedLinear(6, 4, [torch.Generator().manual_seed(seed) for seed in (1, 2)])
        optimiser = kind(
            list(layer.parameters()),
            kind="adam",
            learning_rates=[0.1, 0.2],
            weight_decays=[0.0, 0.1],
            decay="decoupled",
            momentum=0.0,
        )
        for step in range(3):
            x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(step)).to(dtype)
            (layer(x).square().sum() + layer(2 * x).sum()).backward()  # type: ignore[no-untyped-call]  # used twice
            optimiser.step([True, step != 1])
        return torch.cat([p.detach().flatten() for p in layer.parameters()])

    monkeypatch.setattr("fusion.optimiser._WIDE", 8)
    made = trained(MemberwiseAdam)
    torch.testing.assert_close(made, trained(StackedOptimiser), atol=1e-5 if dtype == torch.float32 else 1e-2, rtol=0)


def test_adam_on_a_processor_goes_member_by_member_and_everything_else_by_torch() -> None:
    assert optimiser_for(CPU, "adam") is MemberwiseAdam
    assert optimiser_for(CPU, "sgd") is optimiser_for(torch.device("cuda"), "adam") is StackedOptimiser
