"""Low-rank tensor fusion: the tensor's products, through factors of each modality that never build the tensor."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion.heads._head import Frame, FusionHead, HeadConfig
from stores.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LowRankConfig(HeadConfig):
    """`rank` is the number of terms the weight tensor is a sum of."""

    rank: int = 4

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"rank should be 1 or more, got {self.rank}")


class LowRank(FusionHead):
    """`h = sum_r w_r prod_m (F_m^(r) [z_m; 1]) + b`, then the classifier; the product is element by element.

    It is a linear map of the outer product of all `[z_m; 1]` whose weight tensor is `sum_r w_r` times the outer product
    of the columns of the `F_m^(r)`. An absent modality is `[0; 1]`. `z_m` is rule D1; `F_m^(r)` is (width, width + 1)
    at the training's width: without a tensor nothing has to be narrowed first.
    Source: Liu, Shen, Lakshminarasimhan, Liang, Zadeh and Morency, Efficient Low-rank Multimodal Fusion, ACL 2018.
    There the networks that make `z_m` are trained with the fusion, and `h` is the prediction; here the features are
    cached vectors of frozen encoders, and the classifier all heads share follows. What `F` makes of the 1 starts at 1,
    so the product starts close to a sum of its parts: from Xavier's start, as there, it is almost purely a product of
    all modalities, which on frozen features is learned by heart before anything simpler is found.
    """

    version = 1
    config_type = LowRankConfig

    def __init__(self, config: LowRankConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.project = self.projections()
        self.factors = nn.ModuleDict(
            {m: self.linear(frame.hidden, config.rank * frame.hidden) for m in frame.modalities}
        )
        with torch.no_grad():
            for name, parameter in self.factors.named_parameters():
                if name.endswith("bias"):
                    parameter.fill_(1.0)
        self.rank_weights = self.parameter(config.rank, deviation=(2 / (1 + config.rank)) ** 0.5)
        self.bias = self.parameter(1, frame.hidden)
        self.classify = self.classifier(frame.hidden)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        z = self.project(x) * present[..., None]  # a factor's bias is what it makes of the 1
        product, *others = (factor(z[:, :, i]) for i, factor in enumerate(self.factors.values()))
        for other in others:
            product = product * other
        terms = product.view(*product.shape[:2], self.config.rank, -1)  # (M, B, rank, hidden)
        return self.classify((terms * self.rank_weights[:, None, :, None]).sum(dim=2) + self.bias)
