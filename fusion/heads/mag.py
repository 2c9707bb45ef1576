"""Multimodal adaptation gate: what the voice and the face say moves the text, never far from where it was."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import layer_norm
from stores.errors import ConfigError

_SHORTEST = 1e-6


@dataclass(frozen=True, kw_only=True)
class MagConfig(HeadConfig):
    """A shift longer than `beta` times the text's vector is cut to that; a shorter one stays as it is."""

    beta: float = 1.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ConfigError(f"beta should be above 0, got {self.beta}")


class Mag(FusionHead):
    """`g_m = ReLU(W_gm [z_m; z_t] + b_gm)`, `H = sum_m g_m * (W_m z_m + b_m)` over all m but the text t,
    `alpha = min(beta |z_t| / |H|, 1)`, `h = LN(z_t + alpha H)`, then the classifier, which begins with dropout.

    An absent modality adds nothing to H. Without text `z_t` is 0 and would make alpha 0, so that nothing at all was
    seen: there H stands for itself, `h = LN(H)`. `z_m` is rule D1.
    Source: Rahman, Hasan, Lee, Zadeh, Mao, Morency and Hoque, Integrating Multimodal Information in Large Pretrained
    Transformers, ACL 2020. There the gate moves every word between two layers of a BERT that is trained on; here it
    moves the utterance's cached vector, and BERT stays frozen. `b_m` is in each modality's term, as in the authors'
    code, not in the sum as in their Eq. 4. LayerNorm has no gain or shift, as everywhere here.
    """

    version = 1
    config_type = MagConfig
    needs = ("text",)

    def __init__(self, config: MagConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        shifting = [m for m in frame.modalities if m != "text"]
        self.project = self.projections()
        self.gates = nn.ModuleDict({m: self.linear(2 * frame.hidden, frame.hidden) for m in shifting})
        self.shifts = nn.ModuleDict({m: self.linear(frame.hidden, frame.hidden) for m in shifting})
        self.classify = self.classifier(frame.hidden)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        own = dict(zip(self.frame.modalities, (self.project(x) * present[..., None]).unbind(dim=2), strict=True))
        there = dict(zip(self.frame.modalities, present.unsqueeze(-1).unbind(dim=2), strict=True))
        text = own["text"]
        shift = torch.zeros_like(text)
        for m, gate in self.gates.items():
            shift = shift + gate(torch.cat([own[m], text], dim=2)).relu() * self.shifts[m](own[m]) * there[m]
        limit = (self.config.beta * _length(text) / _length(shift).clamp(min=_SHORTEST)).clamp(max=1.0)
        alpha = torch.where(there["text"], limit, 1.0)
        return self.classify(layer_norm(text + alpha * shift))


def _length(vectors: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return length
