"""Faces -> average-pooled ResNet features; a video is the mean of frames spread evenly over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from extractors.image._images import load_still
from extractors.image._video import load_frames
from extractors.image._weights import NAMED, RANDOM, check_weights, read_state, weights_digest
from extractors.trainable import Trainable
from stores.errors import ConfigError
from stores.samples import Sample
from stores.spec import FeatureSpec, embedding_spec

if TYPE_CHECKING:
    import torch

TRAINED = "trained"
WIDTHS = {18: 512, 34: 512, 50: 2048}
LAYERS = ("avgpool",)
_SHIFT = 1 / 32  # of the width, in training only


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetConfig:
    """What a ResNet row is; `size` in pixels, `frames` are taken of a video; RGB is kept if not `grayscale`.

    `weights` is a name of torchvision's (`IMAGENET1K_V2`), a file (.pth, .pt, .safetensors), `random`, or `trained`:
    an encoder trained here, starting from `initial` (any of the others).
    """

    depth: int = 50
    size: int = 224
    weights: str = "IMAGENET1K_V2"
    initial: str = RANDOM
    frames: int = 8
    layer: str = "avgpool"
    grayscale: bool = True

    def __post_init__(self) -> None:
        if self.depth not in WIDTHS:
            raise ConfigError(f"depth should be one of {', '.join(map(str, WIDTHS))}, got {self.depth}")
        if self.size < 32 or self.frames < 1:
            raise ConfigError(f"size should be at least 32 and frames at least 1, got {self.size} and {self.frames}")
        if self.layer not in LAYERS:
            raise ConfigError(f"layer should be one of {', '.join(LAYERS)}, got {self.layer!r}")
        check_weights(self.given, self.depth)

    @property
    def given(self) -> str:
        """The weights that are not trained here: those of the row, or those training starts from."""
        return self.initial if self.weights == TRAINED else self.weights


class ResNet(Trainable[np.ndarray]):
    """Face or video -> (2048,) float16 for depth 50, (512,) for 18 and 34.

    Pictures are turned upright (EXIF), laid over white where transparent, made gray (ITU-R 601 luma) unless the
    settings keep colour, resized to a square (bilinear, antialiased, 8 bits), repeated to three channels if gray, and
    normalised by ImageNet's mean and deviation.
    Source: He et al. 2016; reference paper, section 2.1.3.
    """

    modality = "image"
    version = 1
    config_type = ResNetConfig
    trains_mixed = True
    replaced = frozenset({"weights", "initial"})
    packages: ClassVar[tuple[str, ...]] = ("av", "pillow", "torch", "torchvision")

    config: ResNetConfig

    @classmethod
    def needs_encoder(cls, config: ResNetConfig) -> bool:
        return config.weights == TRAINED

    def spec(self) -> FeatureSpec:
        return embedding_spec(WIDTHS[self.config.depth], self.inputs.numerics)

    def weights_digest(self) -> str | None:
        return None if self.config.weights == TRAINED else weights_digest(self.config.weights, self.config.depth)

    def weights_note(self) -> str:
        if self.config.weights == TRAINED:
            return f"trained here ({self.inputs.encoder})"
        if self.config.weights in (RANDOM, *NAMED):
            return self.config.weights
        digest = weights_digest(self.config.weights, self.config.depth)
        return f"{Path(self.config.weights).name} ({digest[:12]})"

    @property
    def is_random(self) -> bool:
        return self.config.weights == RANDOM

    def decode(self, sample: Sample, key: str) -> np.ndarray:
        if sample.image is not None:
            return load_still(sample.image, self.config.size, sample.id, grayscale=self.config.grayscale)
        assert sample.video is not None
        start_ms, end_ms = sample.segment(self.modality)
        return load_frames(
            sample.video,
            self.config.size,
            self.config.frames,
            start_ms=start_ms,
            end_ms=end_ms,
            sample_id=sample.id,
            grayscale=self.config.grayscale,
        )

    def length(self, item: np.ndarray) -> int:
        return len(item)

    def batch(self, items: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
        import torch

        return torch.from_numpy(np.concatenate(items)), torch.tensor([len(item) for item in items])

    def network(self, seed: int) -> torch.nn.Module:
        from extractors.image._network import FaceNetwork

        return FaceNetwork(self.config.depth, seed)

    def given_state(self) -> Mapping[str, torch.Tensor] | None:
        if self.config.given == RANDOM:
            return None
        return {f"resnet.{name}": value for name, value in read_state(self.config.given, self.config.depth).items()}

    def given_digest(self) -> str | None:
        return None if self.config.given == RANDOM else weights_digest(self.config.given, self.config.depth)

    def augmented(self, items: Sequence[np.ndarray], generator: np.random.Generator) -> Sequence[np.ndarray]:
        """Flip half of the faces and shift each by up to 1/32 of its width, edges repeated."""
        most = round(_SHIFT * self.config.size)
        return [_varied(item, generator, most) for item in items]


def _varied(faces: np.ndarray, generator: np.random.Generator, most: int) -> np.ndarray:
    down, right = generator.integers(0, 2 * most + 1, size=2)
    size = faces.shape[1]
    around = ((0, 0), (most, most), (most, most), (0, 0))[: faces.ndim]  # RGB has its channels last
    shifted = np.pad(faces, around, "edge")[:, down : down + size, right : right + size]
    return shifted[:, :, ::-1] if generator.random() < 0.5 else shifted
