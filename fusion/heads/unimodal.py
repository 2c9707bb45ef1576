"""One modality alone: what every fusion has to beat."""

from collections.abc import Mapping

from torch import Tensor

from fusion.heads._head import Frame, FusionHead, HeadConfig


class Unimodal(FusionHead):
    """`z = LN(P x + b)`, then the classifier: dropout, one fully connected layer and softmax.

    It is the `weighted` head given one modality, so a fusion differs from it by the fusion only.
    Source: reference paper, sections 2.2.2 and 2.5 (classifier); projection and LayerNorm by rule D1.
    """

    version = 1
    fewest = 1
    most = 1

    def __init__(self, config: HeadConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.project = self.projections()
        self.classify = self.classifier(frame.hidden)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        return self.classify(self.project(x)[:, :, 0])
