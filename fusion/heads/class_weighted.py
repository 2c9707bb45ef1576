"""Weights per modality and emotion: which modality speaks for which emotion (hypothesis H3)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import masked_softmax


class ClassWeighted(FusionHead):
    """`logits_k = sum_m w_mk l_mk`, `l_m` each modality's own classifier of `z_m`, `w_.k = softmax over m of a_mk`.

    `a` (modalities, K) starts from 0, the plain mean of the logits. Of a sample that lacks a modality the weights of
    the others total 1, for each emotion. A classifier can take over a scale of `w_mk`, so a weight alone does not say
    how much a modality counts: H3 is to be read with recall by class and drop-one models (audit A21). Source:
    hypothesis H3 of the reference paper, whose Eq. 3 has one weight a modality; `z_m` and `softmax` by rules D1 and D2.
    As features are cached and frozen, weights choose between what the encoders already tell apart.
    """

    version = 1

    def __init__(self, config: HeadConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.project = self.projections()
        self.logits = self.parameter(len(frame.modalities), frame.n_classes)
        self.classify = nn.ModuleDict({m: self.classifier(frame.hidden) for m in frame.modalities})

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        z = self.project(x)
        own = torch.stack([classify(z[:, :, i]) for i, classify in enumerate(self.classify.values())], dim=3)
        weights = masked_softmax(self.logits.mT[:, None], present[:, :, None])  # (M, B, K, modalities), as `own`
        return (weights * own).sum(dim=3)

    def modality_weights(self) -> Tensor:
        return self.logits.detach().softmax(dim=1)
