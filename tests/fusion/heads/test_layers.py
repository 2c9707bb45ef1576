import torch

from fusion.heads._layers import StackedLinear

SEEDS = (1, 2)


def _layer() -> StackedLinear:
    return StackedLinear(4, 3, [torch.Generator().manual_seed(seed) for seed in SEEDS])


def test_gradients_are_those_of_the_plain_product_and_add_up_in_place() -> None:
    layer = _layer()
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for times in (1, 2):  # the second pass adds to the gradients of the first
        layer(x).square().sum().backward()
        plain_x, weight, bias = (t.detach().clone().requires_grad_() for t in (x, layer.weight, layer.bias))
        torch.baddbmm(bias, plain_x, weight).square().sum().backward()
        for mine, plain in ((x, plain_x), (layer.weight, weight), (layer.bias, bias)):
            assert mine.grad is not None
            assert plain.grad is not None
            torch.testing.assert_close(mine.grad, times * plain.grad)


def test_a_layer_starts_within_the_bounds_of_torch_linear() -> None:
    layer = _layer()
    for parameter in (layer.weight, layer.bias):
        assert 0.25 < parameter.abs().max() * 1.01 <= 0.5 * 1.01  # 1 / sqrt(4)
    assert not torch.equal(layer.weight[0], layer.weight[1])
