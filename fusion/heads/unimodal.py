"""One modality alone: what every fusion has to beat."""

from collections.abc import Mapping

from torch import Tensor

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import StackedDropout, StackedLinear, layer_norm


class Unimodal(FusionHead):
    """`z = LN(P x + b)`, then dropout, one fully connected layer and softmax.

    It is the `weighted` head given one modality, so a fusion differs from it by the fusion only.
    Source: reference paper, sections 2.2.2 and 2.5 (classifier); projection and LayerNorm by rule D1.
    """

    version = 1
    fewest = 1
    most = 1

    def __init__(self, config: HeadConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        (self.modality,) = frame.modalities
        self.project = StackedLinear(frame.widths[self.modality], frame.hidden, self.generators)
        self.dropout = StackedDropout(frame.dropout, self.generators)
        self.classify = StackedLinear(frame.hidden, frame.n_classes, self.generators)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = self.classify(self.dropout(layer_norm(self.project(x[self.modality]))))
        return logits
