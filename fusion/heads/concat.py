"""Early fusion: one classifier over all features side by side."""

from collections.abc import Mapping

from torch import Tensor, nn

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import StackedDropout, StackedLinear


class Concat(FusionHead):
    """`h = ReLU(W [x_1; ...; x_M] + b)`, then dropout, one fully connected layer and softmax.

    W is kept as one block of columns a modality, `W [x_1; ...; x_M] = sum_m W_m x_m` (audit A12), so nothing is copied
    side by side; it starts as one layer of the full width would (the biases of the blocks add up to one bias).
    Source: reference paper, section 2.2.4 (early fusion); the hidden layer's width is the training's.
    """

    version = 1

    def __init__(self, config: HeadConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        total = sum(frame.widths.values())
        self.blocks = nn.ModuleDict(
            {m: StackedLinear(frame.widths[m], frame.hidden, self.generators, fan_in=total) for m in frame.modalities}
        )
        self.dropout = StackedDropout(frame.dropout, self.generators)
        self.classify = StackedLinear(frame.hidden, frame.n_classes, self.generators)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        hidden = sum((block(x[m]) for m, block in self.blocks.items()), start=x[self.frame.modalities[0]].new_zeros(()))
        logits: Tensor = self.classify(self.dropout(hidden.relu()))
        return logits
