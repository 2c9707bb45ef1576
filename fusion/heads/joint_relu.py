"""The paper's Eq. 2 as printed: one joint hidden layer over all modalities."""

from collections.abc import Mapping

from torch import Tensor

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import SideBySide


class JointRelu(FusionHead):
    """`h = ReLU(sum_m W_m x_m)` without bias, then the classifier.

    It is early fusion by another name: `sum_m W_m x_m = [W_1 ... W_M][x_1; ...; x_M]`, so this is concatenation, one
    linear layer and ReLU (audit A12); nothing in it weighs, gates or attends. A modality that is absent adds nothing.
    Source: reference paper, Eq. 2 (rule D5). As features are cached and frozen, the `W_m` and the classifier are all
    that learns of what Eq. 2 describes.
    """

    version = 1

    def __init__(self, config: HeadConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.maps = SideBySide(frame.widths, frame.hidden, self.generators)
        self.classify = self.classifier(frame.hidden)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        return self.classify(self.maps(x).relu())
