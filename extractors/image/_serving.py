"""A ResNet folded for rows: bfloat16 as far as the rows stay what float32 says, measured when the model is opened."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from extractors.image._network import DEVIATION, MEAN, FaceNetwork

_MOST_LOSS = 0.5e-4  # of the cosine on the probes; rows promise 1e-4, and other pictures may be harder
_MIDDLE = 128  # gray levels are exact in bfloat16, and so is their distance from the middle one
_COMPILED_AFTER = 200_000  # pictures on a GPU: compiling takes a minute, about what it saves on as many more
Unit = Callable[[Tensor], Tensor]


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


class FoldedResNet:
    """(pictures (N, size, size[, 3]) uint8) -> (N, width) float32: the rows of a FaceNetwork in `eval`.

    Batch norms are folded into the convolutions, normalisation and repeated gray into the first one. Of the first
    convolution and the residual blocks after it, `first_fast` are computed in float32 and the rest in `dtype`: the
    smallest number that keeps the cosine on the probe pictures. Errors of early layers grow most on their way, for
    some weights hundredfold.
    """

    def __init__(self, network: FaceNetwork, dtype: torch.dtype, size: int, *, grayscale: bool) -> None:
        resnet: Any = network.resnet
        self._last = resnet.fc
        exact, fast = (_units(resnet, own, grayscale=grayscale) for own in (torch.float32, dtype))
        pictures = torch.from_numpy(probes(size, grayscale=grayscale)).to(network.mean.device)
        self.first_fast = 0 if dtype == torch.float32 else self._chosen(exact, fast, pictures)
        self._steps = exact[: self.first_fast] + fast[self.first_fast :]
        self._rows(pictures)  # packs what is not packed yet, before threads share it
        self._seen, self._worth_compiling = 0, pictures.device.type == "cuda"
        self._computed: Unit = self._rows

    def __call__(self, pictures: Tensor) -> Tensor:
        self._seen += len(pictures)
        if self._worth_compiling and self._seen > _COMPILED_AFTER:
            self._worth_compiling = False
            return self._compiled(pictures)
        return self._computed(pictures)

    def _compiled(self, pictures: Tensor) -> Tensor:
        """Return rows, compiled from here on, unless this machine cannot compile: then nothing changes."""
        try:
            compiled: Unit = torch.compile(self._rows, dynamic=True)
            rows = compiled(pictures)
        except Exception:  # of many kinds: no compiler, no headers, no Triton, no room for its cache
            return self._rows(pictures)
        self._computed = compiled
        return rows

    def _rows(self, pictures: Tensor) -> Tensor:
        return self._through(self._steps, pictures)

    def _through(self, steps: list[Unit], states: Tensor) -> Tensor:
        for step in steps:
            states = step(states)
        rows: Tensor = self._last(states.mean((2, 3), dtype=torch.float32))
        return rows

    def _chosen(self, exact: list[Unit], fast: list[Unit], pictures: Tensor) -> int:
        """Return the smallest number of leading units in float32 with which the rows are near enough."""
        reached = [pictures]
        for unit in exact:
            reached.append(unit(reached[-1].clone()))
        wanted = self._through([], reached[-1]).cpu().double()

        def near(first_fast: int) -> bool:
            found = self._through(fast[first_fast:], reached[first_fast].clone()).cpu().double()
            return bool((1 - torch.cosine_similarity(found, wanted) <= _MOST_LOSS).all())

        return 0 if near(0) else bisect_left(range(len(fast)), True, lo=1, key=near)


def _units(resnet: Any, dtype: torch.dtype, *, grayscale: bool) -> list[Unit]:
    """Return the first convolution with its pool, and the blocks, to be computed in `dtype`."""
    stages = (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
    return [_Stem(resnet, dtype, grayscale=grayscale), *(_Block(block, dtype) for stage in stages for block in stage)]


class _Stem:
    """Pictures to the input of the first block: exact to the weights' float32, whatever `dtype`.

    A convolution pads normalised pictures with zeros. Here gray levels less 128 are padded with zeros, and so is a
    plane of ones beside them, whose weights hold what normalising adds. In bfloat16 the planes are exact, and a second
    copy of them carries the rest of each weight.
    """

    def __init__(self, resnet: Any, dtype: torch.dtype, *, grayscale: bool) -> None:
        weight, bias = folded(resnet.conv1.weight, resnet.bn1)
        mean, deviation = (weight.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        levels = weight / (255 * deviation)
        ones = (levels * (_MIDDLE - 255 * mean)).sum(1, keepdim=True)
        planes = torch.cat([levels.sum(1, keepdim=True) if grayscale else levels, ones], dim=1)
        if dtype != torch.float32:
            rounded = planes.to(dtype).double()
            planes = torch.cat([rounded, planes - rounded], dim=1)
        self._convolution = convolution(planes, bias, resnet.conv1, dtype)
        self._pool, self._dtype, self._copies = resnet.maxpool, dtype, 1 if dtype == torch.float32 else 2

    def __call__(self, pictures: Tensor) -> Tensor:
        colours = pictures[..., None] if pictures.ndim == 3 else pictures
        planes = colours.new_ones((*colours.shape[:3], self._copies, colours.shape[3] + 1), dtype=self._dtype)
        planes[..., :-1] = colours.to(self._dtype).sub_(_MIDDLE)[..., None, :]
        pooled: Tensor = self._pool(self._convolution(planes.flatten(3).permute(0, 3, 1, 2)))
        return pooled


class _Block:
    """A residual block of torchvision's, of either kind; what it is called with is overwritten."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        names = [n for n in "123" if hasattr(block, f"conv{n}")]
        layers = [_folded(getattr(block, f"conv{n}"), getattr(block, f"bn{n}"), dtype) for n in names]
        self._inner, self._last, self._dtype = layers[:-1], layers[-1], dtype
        self._shortcut = _folded(block.downsample[0], block.downsample[1], dtype) if block.downsample else None

    def __call__(self, states: Tensor) -> Tensor:
        states = inner = states.to(self._dtype)
        for layer in self._inner:
            inner = layer(inner)
        return self._last(inner, onto=self._shortcut(states, relu=False) if self._shortcut else states)


def _folded(layer: nn.Conv2d, norm: Any, dtype: torch.dtype) -> Convolution:
    return convolution(*folded(layer.weight, norm), layer, dtype)


def probes(size: int, *, grayscale: bool) -> np.ndarray:
    """Return (8, size, size[, 3]) uint8, the same on every machine: pictures whose rows are hard to get right.

    Black, gray and white, a ramp, noise, and three with the spectrum of natural images (amplitude 1 / f^a).
    """
    random, gray = np.random.default_rng(0), np.empty((8, size, size), np.uint8)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)) * size
    frequency[0, 0] = 1

    def natural(steepness: float, deviation: float) -> np.ndarray:
        white = np.fft.rfft2(random.standard_normal((size, size)))
        field: np.ndarray = np.fft.irfft2(white / frequency**steepness, s=(size, size))
        field -= field.mean()
        field *= deviation / field.std()
        return field + 128

    pictures = [
        *(np.full((size, size), level) for level in (0, 110, 255)),
        np.broadcast_to(np.linspace(60, 200, size), (size, size)),
        random.uniform(0, 255, (size, size)),
        natural(1.0, 15),
        natural(1.5, 50),
        natural(3.0, 30),
    ]
    gray[:] = np.clip(np.round(pictures), 0, 255)
    return gray if grayscale else np.stack([gray, gray[:, ::-1], gray[:, :, ::-1]], axis=-1)
