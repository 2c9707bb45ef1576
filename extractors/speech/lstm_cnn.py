"""Acoustic frames -> utterance embedding of a residual CNN and an LSTM that were trained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from extractors.trainable import Trainable
from stores.errors import ConfigError
from stores.samples import Sample
from stores.settings import check_choices
from stores.spec import FeatureSpec, embedding_spec

if TYPE_CHECKING:
    import torch

INPUTS = ("both", "mel", "mfcc")
POOLINGS = ("mean+last", "attention")


@dataclass(frozen=True, slots=True, kw_only=True)
class LstmCnnConfig:
    """What an utterance embedding is: width and kernel of the convolutions, LSTM width, columns read, pooling.

    `inputs` is "mfcc" (with their deltas, if the frames have them), "mel" or "both"; `pooling` is "mean+last" or
    "attention"; `dropout` is that inside the network, after each residual block, in training only.
    """

    filters: int = 64
    kernel: int = 5
    hidden: int = 128
    dropout: float = 0.0
    pooling: str = "mean+last"
    inputs: str = "both"

    def __post_init__(self) -> None:
        if self.filters < 1 or self.hidden < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"expected filters and hidden above 0 and an odd kernel, got {self}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout should be in [0, 1), got {self.dropout}")
        check_choices(self, inputs=INPUTS, pooling=POOLINGS)


class LstmCnn(Trainable[np.ndarray]):
    """Frames (frames, 168) -> (2 hidden,) float16: mean of the LSTM's states h_t ++ the last of them.

    With attention it is (hidden,): sum_t a_t h_t with a = softmax_t(q . h_t / sqrt(hidden)), the query q learned.
    Padding counts nowhere. Frames are normalised by the mean and deviation of the samples the encoder was fitted on.
    Source: reference paper, sections 2.1.3 and 2.2.1; grid: section 2.2.3.
    """

    modality = "speech"
    version = 2
    config_type = LstmCnnConfig
    upstream = "acoustic"
    paper_grid: ClassVar[Mapping[str, Sequence[Any]]] = {"hidden": [128, 256], "kernel": [3, 5], "filters": [64, 128]}
    budget = 16_000  # frames: 32 utterances of five seconds
    decodes_unopened = True
    threads = 1  # measured: a second gains nothing on an idle machine and loses a lot on a busy one

    config: LstmCnnConfig

    @classmethod
    def needs_encoder(cls, config: LstmCnnConfig) -> bool:
        return True

    def spec(self) -> FeatureSpec:
        width = self.config.hidden if self.config.pooling == "attention" else 2 * self.config.hidden
        return embedding_spec(width, self.inputs.numerics)

    def decode(self, sample: Sample, key: str) -> np.ndarray:
        assert self.upstream_rows is not None
        frames = self.upstream_rows.read(sample.id, key)
        return np.ascontiguousarray(frames[:, self._columns])  # a slice would hold on to the other columns

    def length(self, item: np.ndarray) -> int:
        return len(item)

    def batch(self, items: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
        import torch

        lengths = torch.tensor([len(item) for item in items])
        padded = np.zeros((len(items), max(map(len, items)), items[0].shape[1]), np.float32)
        for row, item in enumerate(items):
            padded[row, : len(item)] = item
        return torch.from_numpy(padded), lengths

    def network(self, seed: int) -> torch.nn.Module:
        import torch

        from extractors.speech._network import LstmCnnNetwork

        columns = len(range(*self._columns.indices(self._width)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return LstmCnnNetwork(
                columns,
                filters=self.config.filters,
                kernel=self.config.kernel,
                hidden=self.config.hidden,
                dropout=self.config.dropout,
                attention=self.config.pooling == "attention",
            )

    def learn_statistics(self, network: Any, items: Sequence[np.ndarray]) -> None:
        import torch

        count = sum(map(len, items))
        mean = sum(item.sum(axis=0, dtype=np.float64) for item in items) / count
        variance = sum(((item - mean) ** 2).sum(axis=0) for item in items) / count
        deviation = np.sqrt(variance)
        network.mean.copy_(torch.from_numpy(mean))
        network.deviation.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1.0)))

    @property
    def _width(self) -> int:
        assert self.inputs.upstream is not None
        return self.inputs.upstream.identity.spec.dim

    @property
    def _columns(self) -> slice:
        assert self.inputs.upstream is not None
        bands = self._width - int(self.inputs.upstream.identity.config["n_mels"])  # they stand last
        return {"both": slice(None), "mfcc": slice(bands), "mel": slice(bands, None)}[self.config.inputs]
