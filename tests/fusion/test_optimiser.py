import torch
from torch import nn

from fusion.optimiser import StackedOptimiser


def _stack() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4, 5), (3, 1, 5), (3, 2))]


def _gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=generator) for p in _stack()]


def _reference(member: int, steps: list[int], rates: dict[int, float]) -> list[torch.Tensor]:
    """One member alone under torch's plain AdamW; `rates` are the learning rates from a step on."""
    parameters = [nn.Parameter(p.detach()[member].clone()) for p in _stack()]
    adam = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.01, fused=False, foreach=False)
    for step in steps:
        for group in adam.param_groups:
            group["lr"] = rates.get(step, group["lr"])
        for parameter, gradient in zip(parameters, _gradients(step), strict=True):
            parameter.grad = gradient[member]
        adam.step()
    return [p.detach() for p in parameters]


def test_each_member_moves_as_under_its_own_adamw_with_its_own_rate_steps_and_end() -> None:
    stack = _stack()
    adam = StackedOptimiser(
        stack, kind="adam", learning_rates=[0.1] * 3, weight_decays=[0.01] * 3, decay="decoupled", momentum=0.0
    )

    def step(number: int, moving: list[bool], members: list[int]) -> None:
        for parameter, gradient in zip(stack, _gradients(number), strict=True):
            assert parameter.grad is not None
            parameter.grad += gradient[members]
        adam.step(moving)

    step(1, [True, True, True], [0, 1, 2])
    step(2, [True, False, True], [0, 1, 2])
    adam.slow_down(2, 0.5)
    step(3, [True, True, True], [0, 1, 2])
    finished = [p.detach()[0].clone() for p in stack]
    for parameter in stack:
        parameter.data = parameter.data[[1, 2]]
    adam.keep([1, 2])
    step(4, [True, True], [1, 2])

    for mine, theirs in zip(finished, _reference(0, [1, 2, 3], {}), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)
    for place, reference in enumerate((_reference(1, [1, 3, 4], {}), _reference(2, [1, 2, 3, 4], {3: 0.05}))):
        for mine, theirs in zip(stack, reference, strict=True):
            torch.testing.assert_close(mine.detach()[place], theirs, atol=1e-6, rtol=1e-6)
