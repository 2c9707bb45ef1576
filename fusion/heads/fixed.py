"""Weights that are given, not learned: what learned weights are set against."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import weighted_sum
from stores.errors import ConfigError
from stores.plugins import nearest

_LEAST = 1e-30  # of a sample that has only modalities of weight 0 every weight is 0, not 0 / 0


@dataclass(frozen=True, kw_only=True)
class FixedConfig(HeadConfig):
    """The weight of each modality, 0 or more, in any unit: only their ratios count. Empty: all weigh the same.

    A study may name weights of modalities that one of its subsets leaves out.
    """

    weights: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for modality, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise ConfigError(f"the weight of {modality} should be a finite number of 0 or more, got {weight}")
        if self.weights and not any(self.weights.values()):
            raise ConfigError("weights are all 0: give at least one modality more, or none at all for equal weights")

    @property
    def named(self) -> tuple[str, ...]:
        return tuple(self.weights)


class Fixed(FusionHead):
    """`z_m = LN(P_m x_m + b_m)`, `h = sum_m w_m z_m` with given `w`, then the classifier.

    The weights of a subset of modalities, and of what a sample has, are divided by their total; a sample that has only
    modalities of weight 0 is `h = 0`. Source: reference paper, Eq. 3, with weights that no one fits; LayerNorm by rule
    D1 of the audit (A14). As features are cached and frozen, training moves projections and classifier only. Raises
    ConfigError where weights are given but not one of a modality, or none above 0.
    """

    version = 1
    config_type = FixedConfig

    def __init__(self, config: FixedConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.project = self.projections()
        self.classify = self.classifier(frame.hidden)
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(_shares(config.weights, frame.modalities)), persistent=False)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        weights = self.weights * present
        weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=_LEAST)
        return self.classify(weighted_sum(weights, self.project(x)))

    def modality_weights(self) -> Tensor:
        members = self.classify.out.weight.shape[0]
        return self.weights.expand(members, -1)


def _shares(weights: Mapping[str, float], modalities: tuple[str, ...]) -> list[float]:
    if weights and (lacking := [m for m in modalities if m not in weights]):
        hint = nearest(lacking[0], list(weights))
        raise ConfigError(
            f"fixed has no weight for {lacking[0]}: add it to weights, which names {', '.join(weights)}{hint}"
        )
    own = [weights[m] if weights else 1.0 for m in modalities]
    if not any(own):
        raise ConfigError(f"fixed on {'+'.join(modalities)} has weights of 0 only: give one of them more")
    return [weight / sum(own) for weight in own]
