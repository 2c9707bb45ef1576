"""Tensor fusion: every product of one, two or all modalities' dimensions is a feature."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion.heads._head import Frame, FusionHead, HeadConfig
from stores.errors import ConfigError

_WIDEST = 64  # 65^3 entries a sample already


@dataclass(frozen=True, kw_only=True)
class TensorConfig(HeadConfig):
    """Each modality is brought to `width` dimensions: the tensor of three has `(width + 1)^3` entries a sample.

    At 32, the publication's smaller width, the head has 5 million weights and trains five times as long as at 16.
    """

    width: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.width <= _WIDEST:
            raise ConfigError(f"width should be from 1 to {_WIDEST}, for its cube is computed; got {self.width}")


class TensorFusion(FusionHead):
    """`u_m = ReLU(V_m z_m + c_m)`, `h = ReLU(W vec([u_1; 1] x ... x [u_n; 1]) + b)`, then the classifier.

    `x` is the outer product, so the 1 keeps the products of fewer modalities. An absent modality is `[0; 1]`: what is
    left is the tensor of the others. `z_m` is rule D1. Two or three modalities: a fourth would square the cost again.
    Source: Zadeh, Chen, Poria, Cambria and Morency, Tensor Fusion Network, EMNLP 2017. There three networks trained
    with the fusion (an LSTM over words, two deep ones over averaged frames) make `u_m`, of 128, 32 and 32 dimensions;
    here the features are cached vectors of frozen encoders, so D1 and one ReLU layer of `width` do. There two layers
    of 128 follow the tensor, here one of the training's width.
    """

    version = 1
    config_type = TensorConfig
    most = 3

    def __init__(self, config: TensorConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.project = self.projections()
        self.narrow = nn.ModuleDict({m: self.linear(frame.hidden, config.width) for m in frame.modalities})
        self.fuse = self.linear((config.width + 1) ** len(frame.modalities), frame.hidden)
        self.classify = self.classifier(frame.hidden)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        z = self.project(x)
        vectors = [
            with_one(narrow(z[:, :, i]).relu() * present[..., i, None]) for i, narrow in enumerate(self.narrow.values())
        ]
        return self.classify(self.fuse(outer_product(vectors)).relu())


def with_one(vectors: Tensor) -> Tensor:
    """Return `[v; 1]` (..., d + 1) of v (..., d)."""
    return nn.functional.pad(vectors, (0, 1), value=1.0)


def outer_product(vectors: list[Tensor]) -> Tensor:
    """Return the outer product (M, B, d_1 d_2 ...) of vectors (M, B, d_i), flattened, the last one running fastest."""
    product = vectors[0]
    for own in vectors[1:]:
        product = torch.einsum("mbi,mbj->mbij", product, own).flatten(2)
    return product
