"""Shared and private parts of every modality, told apart by three extra losses, fused by self-attention."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import attend, each_token, layer_norm
from stores.errors import ConfigError

_MOMENTS = 5
_SHORTEST = 1e-6


@dataclass(frozen=True, kw_only=True)
class MisaConfig(HeadConfig):
    """Weights of the extra losses, as in the authors' code, and the `heads` of attention, which share a width."""

    similarity: float = 1.0
    difference: float = 0.3
    reconstruction: float = 1.0
    heads: int = 2

    def __post_init__(self) -> None:
        for name in ("similarity", "difference", "reconstruction"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} should be 0 or more, got {getattr(self, name)}")
        if self.heads < 1:
            raise ConfigError(f"heads should be 1 or more, got {self.heads}")


class Misa(FusionHead):
    """`s_m = sigmoid(S z_m + b)` by one encoder for all, `p_m = sigmoid(P_m z_m + b_m)` by its own, then the classifier
    over `ReLU(W [tokens] + b)`, the tokens being all p_m and s_m after one layer of a transformer's encoder.

    Losses of a batch, each times its weight: *similarity*, the central moment discrepancy (5 moments) of s_m and s_n,
    mean of the pairs; *difference*, `mean((A^T B)^2)` over the entries, A and B centred over the batch with rows of
    length 1, for p_m with s_m and p_m with p_n, summed up; *reconstruction*, `mean((D_m (p_m + s_m) + d_m - z_m)^2)`,
    mean of the modalities. They count the rows that have the modality, or both of a pair; a term with fewer than 2 rows
    (reconstruction: with none) is 0. As published the gradient also flows into the target z_m, whose LayerNorm keeps it
    from shrinking to what is easily rebuilt. Tokens of what is absent are neither attended to nor passed on.
    Source: Hazarika, Zimmermann and Poria, MISA, ACM Multimedia 2020. There LSTMs and BERT are trained along; here
    `z_m` is rule D1 of cached vectors of frozen encoders, attention has no dropout, LayerNorm no gain or shift, and
    the transformer's inner layer is 4 times the width (there 2048). The width has to be a multiple of `heads`.
    """

    version = 1
    config_type = MisaConfig

    def __init__(self, config: MisaConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        d, names = frame.hidden, frame.modalities
        if d % config.heads:
            raise ConfigError(f"misa heads should divide the training's width {d}, got {config.heads}")
        self.project = self.projections()
        self.shared = self.linear(d, d)
        self.private = nn.ModuleDict({m: self.linear(d, d) for m in names})
        self.decode = nn.ModuleDict({m: self.linear(d, d) for m in names})
        self.query = self.linear(d, d)
        self.key_value = self.linear(d, 2 * d, bias=False)  # such biases cancel in the softmax, or join mix's
        self.mix = self.linear(d, d)
        self.widen = self.linear(d, 4 * d)
        self.narrow = self.linear(4 * d, d)
        self.fuse = self.linear(2 * len(names) * d, len(names) * d)
        self.classify = self.classifier(len(names) * d)
        self._auxiliary: Tensor | None = None

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        z = self.project(x)
        shared = each_token(self.shared, z).sigmoid()
        private = torch.stack([own(z[:, :, i]) for i, own in enumerate(self.private.values())], dim=2).sigmoid()
        self._auxiliary = self._losses(z, private, shared, present) if self.training else None
        there = torch.cat([present, present], dim=2)
        tokens = self._attend(torch.cat([private, shared], dim=2), there) * there[..., None]
        return self.classify(self.fuse(tokens.flatten(2)).relu())

    def auxiliary_loss(self) -> Tensor | None:
        return self._auxiliary

    def _attend(self, tokens: Tensor, there: Tensor) -> Tensor:
        """One post-norm layer of a transformer's encoder over tokens (M, B, T, d), blind to those not `there`."""
        key, value = each_token(self.key_value, tokens).chunk(2, dim=-1)
        seen = attend(each_token(self.query, tokens), key, value, there, self.config.heads)
        tokens = layer_norm(tokens + each_token(self.mix, seen))
        return layer_norm(tokens + each_token(self.narrow, each_token(self.widen, tokens).relu()))

    def _losses(self, z: Tensor, private: Tensor, shared: Tensor, present: Tensor) -> Tensor:
        """Return the weighted sum of the losses, (M,); z, private and shared are (M, B, modalities, d)."""
        first, second = (list(own) for own in zip(*itertools.combinations(range(z.shape[2]), 2), strict=True))
        both = present[..., first] & present[..., second]
        similarity = moment_discrepancy(shared[:, :, first], shared[:, :, second], both).mean(dim=1)
        difference = correlation(private, shared, present).sum(dim=1)
        difference = difference + correlation(private[:, :, first], private[:, :, second], both).sum(dim=1)
        decoded = [decode((private + shared)[:, :, i]) for i, decode in enumerate(self.decode.values())]
        errors = (torch.stack(decoded, dim=2) - z).square().mean(dim=3)
        reconstruction = _mean(errors[..., None], present).squeeze(-1).mean(dim=1)
        parts = ((similarity, "similarity"), (difference, "difference"), (reconstruction, "reconstruction"))
        return torch.stack([part * getattr(self.config, name) for part, name in parts]).sum(dim=0)


def moment_discrepancy(a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """Return the central moment discrepancy (M, P) of a and b (M, B, P, d) in [0, 1] over the `rows` (M, B, P) bool."""
    total = _length(_mean(a, rows) - _mean(b, rows))
    centred_a, centred_b = _centred(a, rows), _centred(b, rows)
    for k in range(2, _MOMENTS + 1):
        total = total + _length(_mean(centred_a.pow(k), rows) - _mean(centred_b.pow(k), rows))
    return total * (rows.sum(dim=1) > 1)


def correlation(a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """Return `mean((A^T B)^2)` (M, P): A and B are the `rows` of a and b (M, B, P, d), centred and made of length 1."""
    unit_a, unit_b = (_unit(_centred(own, rows)).transpose(1, 2) for own in (a, b))  # (M, P, B, d)
    products: Tensor = unit_a.mT @ unit_b
    return products.square().mean(dim=(2, 3)) * (rows.sum(dim=1) > 1)


def _mean(values: Tensor, rows: Tensor) -> Tensor:
    """Return the mean (M, P, d) of values (M, B, P, d) over the rows that count, 0 if none does."""
    return (values * rows[..., None]).sum(dim=1) / rows.sum(dim=1).clamp(min=1)[..., None]


def _centred(values: Tensor, rows: Tensor) -> Tensor:
    return (values - _mean(values, rows)[:, None]) * rows[..., None]


def _unit(values: Tensor) -> Tensor:
    return values / (_length(values).detach()[..., None] + _SHORTEST)  # detached, as the authors do


def _length(values: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return length
