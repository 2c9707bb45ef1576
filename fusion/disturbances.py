"""What can be done to the features of a test part: a modality taken away, or noise added to every feature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fusion.inputs import Condition


class Disturbance(Protocol):
    """One point of a robustness curve; `key` is (condition, modality, level) as the log `robustness` names it."""

    @property
    def key(self) -> tuple[str, str | None, float | None]: ...

    def concerns(self, modalities: Sequence[str]) -> bool:
        """Return whether it changes anything for a head on these modalities."""

    def on(self, seeds: Sequence[int]) -> Condition:
        """Return what does it to a stack whose members have these seeds, for one way through their samples."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A modality that no sample has: heads see it as absent, combiners give it no say."""

    modality: str

    @property
    def key(self) -> tuple[str, str | None, float | None]:
        return ("removed", self.modality, None)

    def concerns(self, modalities: Sequence[str]) -> bool:
        return self.modality in modalities

    def on(self, seeds: Sequence[int]) -> Condition:
        return self._take_away

    def _take_away(
        self, x: Mapping[str, Tensor], present: Tensor, members: Sequence[int]
    ) -> tuple[dict[str, Tensor], Tensor]:
        there = present.clone()
        there[..., sorted(x).index(self.modality)] = False
        return {**x, self.modality: torch.zeros_like(x[self.modality])}, there


@dataclass(frozen=True, slots=True)
class Noise:
    """N(0, level^2) added to every feature of every modality, after its normalisation.

    A member draws each modality from a generator of its own, seeded by (seed, level, modality), in the order of its
    samples: all heads of a repeat meet the same noise, whatever they are stacked with.
    """

    level: float

    @property
    def key(self) -> tuple[str, str | None, float | None]:
        return ("noise", None, self.level)

    def concerns(self, modalities: Sequence[str]) -> bool:
        return True

    def on(self, seeds: Sequence[int]) -> Condition:
        return _Noisy(self.level, seeds)


class _Noisy:
    """Noise on its way: it remembers how far each member's generators are."""

    def __init__(self, level: float, seeds: Sequence[int]) -> None:
        self.level = level
        self.seeds = seeds
        self.generators: dict[tuple[str, int], np.random.Generator] = {}

    def __call__(
        self, x: Mapping[str, Tensor], present: Tensor, members: Sequence[int]
    ) -> tuple[dict[str, Tensor], Tensor]:
        noisy = {}
        for i, modality in enumerate(sorted(x)):
            own = x[modality]
            drawn = np.stack([self._draw(modality, member, own.shape[1:]) for member in members])
            noise = self.level * torch.from_numpy(drawn).to(own.device) * present[..., i, None]
            noisy[modality] = (own.float() + noise).to(own.dtype)
        return noisy, present

    def _draw(self, modality: str, member: int, shape: Sequence[int]) -> np.ndarray:
        if (modality, member) not in self.generators:
            name = f"{modality} {self.level!r}".encode()
            self.generators[modality, member] = np.random.default_rng([self.seeds[member], *name])
        return self.generators[modality, member].standard_normal(tuple(shape), dtype=np.float32)
