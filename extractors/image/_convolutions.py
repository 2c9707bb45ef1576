"""Convolutions with their batch norm, ReLU and residual addition in them, by oneDNN where torch carries it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class Convolution:
    """A convolution with bias and, if wanted, ReLU; its input and output are in `dtype`."""

    def __init__(self, weight: Tensor, bias: Tensor, like: nn.Conv2d, dtype: torch.dtype) -> None:
        device = like.weight.device
        self._weight = weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
        self._bias = bias.to(device, dtype)
        self._stride, self._padding = like.stride, like.padding

    def __call__(self, states: Tensor, *, relu: bool = True, onto: Tensor | None = None) -> Tensor:
        """Return the convolution, added `onto` another tensor (which is overwritten), negative values set to 0."""
        found = conv2d(states, self._weight, self._bias, self._stride, self._padding)
        if onto is not None:
            found = onto.add_(found)
        return found.relu_() if relu else found


class FusedConvolution(Convolution):
    """The same as one call of oneDNN, by the operators that torch's compiler emits for a frozen network."""

    def __init__(self, weight: Tensor, bias: Tensor, like: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__(weight, bias, like, dtype)
        self._exact_bias = bias.float()  # not with an addition: oneDNN's binding refuses it there
        self._how = [list(like.padding), list(like.stride), [1, 1], 1]
        self._packed = False

    def __call__(self, states: Tensor, *, relu: bool = True, onto: Tensor | None = None) -> Tensor:
        found: Tensor
        ops = torch.ops.mkldnn
        if not self._packed:  # how weights lie best depends on the size of what they meet
            self._weight = ops._reorder_convolution_weight(self._weight, *self._how, list(states.shape))
            self._packed = True
        after = "relu" if relu else "none"
        if onto is None:
            found = ops._convolution_pointwise(states, self._weight, self._exact_bias, *self._how, after, [], None)
        else:
            found = ops._convolution_pointwise_.binary(
                onto, states, self._weight, self._bias, *self._how, "add", 1.0, after, [], None
            )
        return found


def folded(weight: Tensor, norm: Any) -> tuple[Tensor, Tensor]:
    """Return weight and bias, in float64 on the CPU, of a convolution and the batch norm (in `eval`) after it."""
    given = (weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    own, gain, shift, mean, variance = (values.detach().cpu().double() for values in given)
    scale = gain / torch.sqrt(variance + norm.eps)
    return own * scale[:, None, None, None], shift - mean * scale


def convolution(weight: Tensor, bias: Tensor, like: nn.Conv2d, dtype: torch.dtype) -> Convolution:
    """Return the fastest convolution where `like` is; stride and padding are its own."""
    return (FusedConvolution if fuses(like.weight.device) else Convolution)(weight, bias, like, dtype)


def fuses(device: torch.device) -> bool:
    """Return whether oneDNN's fused convolutions run there; these operators are torch's own business and may go."""
    try:
        operators = torch.ops.mkldnn._convolution_pointwise, torch.ops.mkldnn._reorder_convolution_weight
    except AttributeError:
        return False
    return device.type == "cpu" and bool(torch.backends.mkldnn.enabled) and all(map(callable, operators))
