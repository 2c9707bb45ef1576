"""Early fusion: one classifier over all features side by side."""

from collections.abc import Mapping

from torch import Tensor

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import SideBySide


class Concat(FusionHead):
    """`h = ReLU(W [x_1; ...; x_M] + b)`, then the classifier: dropout, one fully connected layer and softmax.

    `W` is kept as one block of columns a modality, whose products are added up: the same sum. Where a modality is
    absent, a learned vector stands for its product. The paper's Eq. 2 is this head without its bias (audit A12).
    Source: reference paper, section 2.2.4 (early fusion); the hidden width is the training's.
    """

    version = 2

    def __init__(self, config: HeadConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.blocks = SideBySide(frame.widths, frame.hidden, self.generators)
        self.bias = self.parameter(1, frame.hidden)
        self.absent = self.parameter(1, len(frame.modalities), frame.hidden)
        self.classify = self.classifier(frame.hidden)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        missing = (~present).float() @ self.absent.squeeze(1)
        return self.classify((self.blocks(x) + missing + self.bias).relu())
