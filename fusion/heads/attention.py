"""Self-attention between modalities, each of them one token."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import attend, each_token, layer_norm, weighted_sum
from stores.errors import ConfigError

_EMBEDDING_DEVIATION = 0.02  # the start of BERT's embeddings


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(HeadConfig):
    """`heads` attention heads, each as wide as the training's width divided by them."""

    heads: int = 4

    def __post_init__(self) -> None:
        if self.heads < 1:
            raise ConfigError(f"heads should be 1 or more, got {self.heads}")


class Attention(FusionHead):
    """`t_m = z_m + e_m`, `u = LN(t + O softmax(Q K' / sqrt(d)) V)`, `h = mean_m u_m`, then the classifier.

    `Q`, `K`, `V` are affine maps of the tokens, `d` their width a head, `e_m` a learned embedding of the modality;
    LayerNorm has no gain. What is absent is no key and no part of the mean. Source: Vaswani et al. 2017, section 3.2,
    as the prose around Eq. 2 of the reference paper asks for; the block's feed-forward half is left out. There tokens
    are the words of a sequence and learn with the layer; here features are cached and frozen, one token a modality.
    Raises ConfigError if the width is not a multiple of the heads.
    """

    version = 1
    config_type = AttentionConfig

    def __init__(self, config: AttentionConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        if frame.hidden % config.heads:
            raise ConfigError(
                f"the width of training should be a multiple of the heads of attention, got {frame.hidden} and "
                f"{config.heads}: change one of them"
            )
        self.project = self.projections()
        self.embedding = self.parameter(1, len(frame.modalities), frame.hidden, deviation=_EMBEDDING_DEVIATION)
        self.inwards = self.linear(frame.hidden, 3 * frame.hidden)  # queries, keys and values side by side
        self.outwards = self.linear(frame.hidden, frame.hidden)
        self.classify = self.classifier(frame.hidden)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        tokens = self.project(x) + self.embedding
        query, key, value = each_token(self.inwards, tokens).chunk(3, dim=-1)
        attended = each_token(self.outwards, attend(query, key, value, present, self.config.heads))
        share = present / present.sum(dim=2, keepdim=True).clamp(min=1)
        return self.classify(weighted_sum(share, layer_norm(tokens + attended)))
