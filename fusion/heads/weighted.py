"""The paper's proposal: a weighted sum of modalities, the weights learned and shared by all samples."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import masked_softmax, weighted_sum
from stores.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WeightedConfig(HeadConfig):
    """The modality logits start from N(0, `logit_deviation`^2): the paper says "random" and no more."""

    logit_deviation: float = 0.01

    def __post_init__(self) -> None:
        if not self.logit_deviation >= 0:
            raise ConfigError(f"logit_deviation should be 0 or more, got {self.logit_deviation}")


class Weighted(FusionHead):
    """`z_m = LN(P_m x_m + b_m)`, `w = softmax(a)`, `h = sum_m w_m z_m`, then the classifier.

    `a` holds one scalar a modality, so the weights are non-negative and total 1 by construction. LayerNorm has no
    gain, else a projection's scale would make the weights mean nothing. Of a sample that lacks a modality the weights
    of the others total 1. Source: reference paper, Eq. 3 and 10, with rules D1 and D2 of the audit (A13, A14).
    """

    version = 1
    config_type = WeightedConfig

    def __init__(self, config: WeightedConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.project = self.projections()
        self.logits = self.parameter(len(frame.modalities), deviation=config.logit_deviation)
        self.classify = self.classifier(frame.hidden)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        weights = masked_softmax(self.logits[:, None], present)
        return self.classify(weighted_sum(weights, self.project(x)))

    def modality_weights(self) -> Tensor:
        return self.logits.detach().softmax(dim=1)
