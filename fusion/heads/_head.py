"""What a fusion strategy is: a head that is trained on features, or a combiner that reads stored posteriors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """What a head is, beyond the width and dropout of its training. Most heads add nothing."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a stack of heads is built for: `widths[modality]` in, `n_classes` out, one member a seed."""

    widths: Mapping[str, int]
    n_classes: int
    hidden: int
    dropout: float
    seeds: Sequence[int]

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in sorted order: the order of a mapping never decides anything."""
        return tuple(sorted(self.widths))


class Head(ABC):
    """A fusion strategy. `fewest` and `most` say how many modalities it takes."""

    version: ClassVar[int]
    config_type: ClassVar[type[HeadConfig]] = HeadConfig
    fewest: ClassVar[int] = 2
    most: ClassVar[int | None] = None


class FusionHead(Head, nn.Module):
    """A trained strategy, M independent members at a time; every parameter is (M, ...) float32.

    Members start, and drop out, from their own generators, so a member does not depend on its neighbours.
    """

    def __init__(self, config: Any, frame: Frame) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.frame = frame
        self.generators = [torch.Generator().manual_seed(seed) for seed in frame.seeds]

    @abstractmethod
    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        """Return logits (M, B, K) of features `x[modality]` (M, B, d_modality) float32."""

    def modality_weights(self) -> list[dict[str, float]]:
        """Return each member's fitted weight per modality; empty for a head that has none."""
        return [{} for _ in next(self.parameters())]

    def reseed(self, seeds: Sequence[int]) -> None:
        """Restart each member's dropout, so that it depends on the member and the epoch alone."""
        for generator, seed in zip(self.generators, seeds, strict=True):
            generator.manual_seed(seed)

    @torch.no_grad()
    def keep(self, members: Sequence[int]) -> None:
        """Take all other members off the stack."""
        for parameter in self.parameters():
            parameter.data = parameter.data[list(members)]
        self.generators[:] = [self.generators[member] for member in members]


class Combiner(Head):
    """A strategy that trains nothing: it reads the posteriors that `reads` stored for each modality alone."""

    reads: ClassVar[str] = "unimodal"

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def combine(self, posteriors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return posteriors (n, K) float32 from `posteriors[modality]` (n, K)."""
