"""The paper's proposal: a weighted sum of modalities, the weights learned and shared by all samples."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import StackedDropout, StackedLinear, layer_norm
from stores.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WeightedConfig(HeadConfig):
    """The modality logits start from N(0, `logit_deviation`^2): the paper says "random" and no more."""

    logit_deviation: float = 0.01

    def __post_init__(self) -> None:
        if not self.logit_deviation >= 0:
            raise ConfigError(f"logit_deviation should be 0 or more, got {self.logit_deviation}")


class Weighted(FusionHead):
    """`z_m = LN(P_m x_m + b_m)`, `w = softmax(a)`, `h = sum_m w_m z_m`, dropout, one fully connected layer, softmax.

    `a` holds one scalar a modality, so the weights are non-negative and total 1 by construction. LayerNorm has no
    gain, else a projection's scale would make the weights mean nothing. Source: reference paper, Eq. 3 and 10, with
    rules D1 and D2 of the audit (A13, A14).
    """

    version = 1
    config_type = WeightedConfig

    def __init__(self, config: WeightedConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.project = nn.ModuleDict(
            {m: StackedLinear(frame.widths[m], frame.hidden, self.generators) for m in frame.modalities}
        )
        starts = [torch.randn(len(frame.widths), generator=generator) for generator in self.generators]
        self.logits = nn.Parameter(torch.stack(starts) * config.logit_deviation)
        self.dropout = StackedDropout(frame.dropout, self.generators)
        self.classify = StackedLinear(frame.hidden, frame.n_classes, self.generators)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        z = torch.stack([layer_norm(project(x[m])) for m, project in self.project.items()])
        logits: Tensor = self.classify(self.dropout(weighted_sum(self.logits, z)))
        return logits

    def modality_weights(self) -> list[dict[str, float]]:
        weights = self.logits.detach().softmax(dim=1).tolist()
        return [dict(zip(self.frame.modalities, member, strict=True)) for member in weights]


def weighted_sum(logits: Tensor, z: Tensor) -> Tensor:
    """Return `sum_m softmax(a)_m z_m` (M, B, d) of logits (M, modalities) and z (modalities, M, B, d)."""
    weights = logits.softmax(dim=1).T[:, :, None, None]
    return (weights * z).sum(dim=0)
