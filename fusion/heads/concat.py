"""Early fusion: one classifier over all features side by side."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import StackedDropout, StackedLinear


class Concat(FusionHead):
    """`h = ReLU(W [x_1; ...; x_M] + b)`, then dropout, one fully connected layer and softmax.

    The features are put side by side in the sorted order of their names. The paper's Eq. 2 is this head without its
    bias (audit A12). Source: reference paper, section 2.2.4 (early fusion); the hidden width is the training's.
    """

    version = 1

    def __init__(self, config: HeadConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.hidden = StackedLinear(sum(frame.widths.values()), frame.hidden, self.generators)
        self.dropout = StackedDropout(frame.dropout, self.generators)
        self.classify = StackedLinear(frame.hidden, frame.n_classes, self.generators)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        side_by_side = torch.cat([x[m] for m in self.frame.modalities], dim=-1)
        logits: Tensor = self.classify(self.dropout(self.hidden(side_by_side).relu()))
        return logits
