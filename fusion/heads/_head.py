"""What a fusion strategy is: a head that is trained on features, or a combiner that reads stored posteriors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fusion.heads._layers import Classifier, Projections, StackedDropout, StackedLinear


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """What a head is, beyond the width and dropout of its training. Most heads add nothing."""

    @property
    def named(self) -> tuple[str, ...]:
        """The modalities these settings name; a study should have them."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a stack of heads is built for: `widths[modality]` in, `n_classes` out, one seed and dropout a member.

    `hidden` is the shared width of projections and hidden layers; `classifier` is linear, hidden or residual.
    """

    widths: Mapping[str, int]
    n_classes: int
    hidden: int
    dropout: Sequence[float]
    seeds: Sequence[int]
    classifier: str = "linear"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in sorted order: the order of a mapping never decides anything."""
        return tuple(sorted(self.widths))


class Head(ABC):
    """A fusion strategy. `fewest` and `most` say how many modalities it takes, `needs` which it cannot do without."""

    version: ClassVar[int]
    config_type: ClassVar[type[HeadConfig]] = HeadConfig
    fewest: ClassVar[int] = 2
    most: ClassVar[int | None] = None
    needs: ClassVar[tuple[str, ...]] = ()


class FusionHead(Head, nn.Module):
    """A trained strategy, M independent members at a time; every parameter is (M, ...) float32.

    Members start, and drop out, from their own random streams, so a member does not depend on its neighbours. Build
    layers with `linear`, `projections`, `classifier`, `dropout` and `parameter`: they know the members.
    """

    def __init__(self, config: Any, frame: Frame) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.frame = frame
        self.generators = [torch.Generator().manual_seed(seed) for seed in frame.seeds]
        self.rates = list(frame.dropout)
        self.streams = [_stream(seed) for seed in frame.seeds]

    @abstractmethod
    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return logits (M, B, K) of features `x[modality]` (M, B, d_modality), float32 or bfloat16.

        `present` (M, B, modalities) bool says in the sorted order of the modalities what each sample has; features it
        lacks are zeros that must change nothing. A sample that has nothing counts for nothing: what it gets is ignored.
        """

    def auxiliary_loss(self) -> Tensor | None:
        """Return what the last forward adds to each member's loss, (M,); None for a head that adds nothing."""
        return None

    def modality_weights(self) -> Tensor | None:
        """Return fitted weights (M, modalities), or (M, modalities, K) if per class; None for a head without."""
        return None

    def sample_weights(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor | None:
        """Return weights (M, B, modalities) that depend on the sample; None for a head without."""
        return None

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> StackedLinear:
        """Return an affine map a member, (M, B, inputs) -> (M, B, outputs)."""
        return StackedLinear(inputs, outputs, self.generators, bias=bias)

    def projections(self) -> Projections:
        """Return rule D1, `z_m = LN(P_m x_m + b_m)`: x -> (M, B, modalities, hidden)."""
        return Projections(self.frame.widths, self.frame.hidden, self.generators)

    def classifier(self, inputs: int) -> Classifier:
        """Return the classifier of the training: (M, B, inputs) -> logits (M, B, K)."""
        return Classifier(inputs, self.frame.n_classes, self.frame.classifier, self.generators, self.dropout())

    def dropout(self) -> StackedDropout:
        """Return dropout at each member's own rate."""
        return StackedDropout(self.rates, self.streams)

    def parameter(self, *shape: int, deviation: float = 0.0) -> nn.Parameter:
        """Return a parameter (M, *shape), zero or drawn from N(0, deviation^2) by each member."""
        drawn = [torch.randn(shape, generator=generator) for generator in self.generators]
        return nn.Parameter(torch.stack(drawn) * deviation)

    def reseed(self, seeds: Sequence[int]) -> None:
        """Restart each member's dropout, so that it depends on the member and the epoch alone."""
        self.streams[:] = [_stream(seed) for seed in seeds]

    @torch.no_grad()
    def keep(self, members: Sequence[int]) -> None:
        """Take all other members off the stack."""
        for parameter in self.parameters():
            parameter.data = parameter.data[list(members)]
        self.streams[:] = [self.streams[member] for member in members]
        self.rates[:] = [self.rates[member] for member in members]


def _stream(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


@dataclass(frozen=True, kw_only=True)
class Combined:
    """Posteriors (n, K) float32 and, where the combiner weighs, weights (n, modalities), modalities sorted."""

    posteriors: np.ndarray
    weights: np.ndarray | None = None


class Combiner(Head):
    """A strategy that trains nothing: it reads the posteriors that `reads` stored for each modality alone.

    With `calibrated`, each modality's posteriors pass temperature scaling fitted on the validation part first.
    """

    reads: ClassVar[str] = "unimodal"
    calibrated: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def combine(self, posteriors: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]) -> Combined:
        """Combine `posteriors[modality]` (n, K) float32 of the samples that have it, `present[modality]` (n,) bool.

        A modality a sample lacks has no say. What a sample that has none of them gets is ignored.
        """
