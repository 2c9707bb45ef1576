"""Dynamic weights: each sample says itself how much each of its modalities counts."""

from collections.abc import Mapping

from torch import Tensor

from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.heads._layers import masked_softmax, weighted_sum


class Gated(FusionHead):
    """`s_m = v' tanh(U z_m) + c_m`, `w(x) = softmax(s)`, `h = sum_m w_m z_m`, then the classifier.

    `U` (hidden, hidden) and `v` are shared by the modalities, `c_m` is each one's own and starts from 0. A modality
    that is absent weighs exactly 0. The weights are those of `sample_weights`; there are none that all samples share.
    Source: audit A14 and A15 (rule D3), the reference form of the "dynamic" weights that the reference paper promises
    without an equation; the score is the attention of Bahdanau et al. 2015 and Ilse et al. 2018. There the encoder is
    trained with the gate; here features are cached and frozen, so the gate can only judge what they show.
    """

    version = 1

    def __init__(self, config: HeadConfig, frame: Frame) -> None:
        super().__init__(config, frame)
        self.project = self.projections()
        self.inner = self.linear(frame.hidden, frame.hidden, bias=False)
        self.outer = self.linear(frame.hidden, 1, bias=False)
        self.offset = self.parameter(len(frame.modalities))
        self.classify = self.classifier(frame.hidden)

    def forward(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        z = self.project(x)
        return self.classify(weighted_sum(self._weights(z, present), z))

    def sample_weights(self, x: Mapping[str, Tensor], present: Tensor) -> Tensor:
        return self._weights(self.project(x), present)

    def _weights(self, z: Tensor, present: Tensor) -> Tensor:
        scores = self.outer(self.inner(z.flatten(1, 2)).tanh()).view(present.shape)
        return masked_softmax(scores + self.offset[:, None], present)
