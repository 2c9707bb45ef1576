"""Faces -> ResNet features; a video is the mean, or the sequence, of frames spread evenly over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from extractors.image._faces import NO_FACE, WHOLE, Faces, Framing, find_detector
from extractors.image._images import load_still
from extractors.image._video import load_frames, shows_one
from extractors.image._views import FaceViews, seen_otherwise, shifted
from extractors.image._weights import NAMED, RANDOM, check_weights, read_state, weights_digest
from extractors.trainable import TRAINED, Trainable
from stores.errors import ConfigError
from stores.samples import Sample
from stores.settings import check_choices
from stores.spec import FeatureSpec, embedding_spec

if TYPE_CHECKING:
    import torch

WIDTHS = {18: 512, 34: 512, 50: 2048}
CLASSES = 1000  # of ImageNet, the width of `fc`
LAYERS = ("avgpool", "fc")
MEAN, NONE = POOLINGS = ("mean", "none")
NO_DETECTOR = "none"
_SHIFT = 1 / 32  # of the width, anew each time in training


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetConfig:
    """What a ResNet row is; `size` in pixels, `frames` are taken of a video; RGB is kept if not `grayscale`.

    `weights` is a name of torchvision's (`IMAGENET1K_V2`), a file (.pth, .pt, .safetensors), `random`, or `trained`:
    an encoder trained here, starting from `initial` (any of the others). `layer` is `avgpool`, or `fc` for
    torchvision's fully connected layer after it. Rows of frames are averaged (`mean`) or kept as a sequence (`none`).

    `face` is `none` for whole pictures, or a detector (`haar`): the square around the largest face is kept,
    `face_margin` times its width more on each side. Without a face a picture is used whole (`whole-frame`), or left out
    (`quarantine`), and its sample put in quarantine if no picture of it is left.
    """

    depth: int = 50
    size: int = 224
    weights: str = "IMAGENET1K_V2"
    initial: str = RANDOM
    frames: int = 8
    layer: str = "avgpool"
    pooling: str = MEAN
    grayscale: bool = True
    face: str = NO_DETECTOR
    face_margin: float = 0.2
    no_face: str = WHOLE

    def __post_init__(self) -> None:
        check_choices(self, depth=WIDTHS, layer=LAYERS, pooling=POOLINGS, no_face=NO_FACE)
        if self.size < 32 or self.frames < 1:
            raise ConfigError(f"size should be at least 32 and frames at least 1, got {self.size} and {self.frames}")
        if not 0 <= self.face_margin <= 2:
            raise ConfigError(f"face_margin should be 0 to 2 widths of the face, got {self.face_margin:g}")
        if self.face != NO_DETECTOR:
            find_detector(self.face)
        check_weights(self.given, self.depth)

    @property
    def given(self) -> str:
        """The weights that are not trained here: those of the row, or those training starts from."""
        return self.initial if self.weights == TRAINED else self.weights


class ResNet(Trainable[Faces]):
    """Face or video -> (2048,) float16 for depth 50, (512,) for 18 and 34, (1000,) for the layer `fc`.

    With pooling `none` it is (frames, width). Pictures are turned and mirrored as their metadata say (EXIF, XMP, the
    matrix of a film), laid over white where transparent, made gray (ITU-R 601 luma) unless the settings keep colour,
    cut to the face if these ask for it, resized to a square (bilinear, antialiased, 8 bits), repeated to three
    channels if gray, and normalised by ImageNet's mean and deviation. In class `exact` rows are torchvision's
    float32; in `standard` they are computed in bfloat16 as far as that keeps their cosine to these. Source: He et al.
    2016; reference paper, section 2.1.3.
    """

    modality = "image"
    version = 2
    preprocessing = 3
    config_type = ResNetConfig
    trains_mixed = serves_mixed = True
    paper_grid: ClassVar[Mapping[str, Sequence[Any]]] = {"layer": ["avgpool", "fc"], "optimiser": ["adam", "sgd"]}
    replaced = frozenset({"weights", "initial"})
    packages: ClassVar[tuple[str, ...]] = ("av", "opencv-python-headless", "pillow", "torch", "torchvision")
    budget = 16  # pictures: measured; what a convolution reads and writes should fit the cache
    decodes_unopened = True
    view_type = FaceViews

    config: ResNetConfig

    def own_settings(self) -> Mapping[str, Any]:
        detector = self._framing.detector
        told = {"detector": {"version": detector.version, "digest": detector.digest()}} if detector else {}
        return {**super().own_settings(), **told}

    def spec(self) -> FeatureSpec:
        width = CLASSES if self.config.layer == "fc" else WIDTHS[self.config.depth]
        spec = embedding_spec(width, self.inputs.numerics)
        return replace(spec, layout="ragged") if self.config.pooling == NONE else spec

    def weights_digest(self) -> str | None:
        return None if self.config.weights == TRAINED else self._digest()

    def weights_note(self) -> str:
        if self.config.weights == TRAINED:
            return super().weights_note()
        if self.config.weights in (RANDOM, *NAMED):
            return self.config.weights
        return f"{Path(self.config.weights).name} ({self._digest()[:12]})"

    @property
    def is_random(self) -> bool:
        return self.config.weights == RANDOM

    def warm(self) -> None:
        import PIL.Image  # noqa: F401

    def decode(self, sample: Sample, key: str) -> Faces:
        path = sample.image or sample.video
        assert path is not None
        if shows_one(path, still=sample.image is not None):
            return load_still(path, self._framing, sample.id)
        start_ms, end_ms = sample.segment(self.modality)
        return load_frames(
            path, self._framing, self.config.frames, start_ms=start_ms, end_ms=end_ms, sample_id=sample.id
        )

    def varied(self, item: Faces, settings: FaceViews, generator: np.random.Generator) -> Faces:
        return replace(item, pixels=seen_otherwise(item.pixels, settings, generator))

    def augmented(self, items: Sequence[Faces], generator: np.random.Generator) -> Sequence[Faces]:
        """Flip half of the faces and shift each by up to 1/32 of its width, edges repeated."""
        most = round(_SHIFT * self.config.size)
        return [replace(item, pixels=shifted(item.pixels, most, generator)) for item in items]

    def length(self, item: Faces) -> int:
        return len(item)

    def remarks(self, item: Faces) -> Sequence[str]:
        return [name for name, count in (("no_face", item.faceless), ("damaged", item.damaged)) if count]

    def batch(self, items: Sequence[Faces]) -> tuple[torch.Tensor, ...]:
        import torch

        pixels = np.concatenate([item.pixels for item in items])
        return torch.from_numpy(pixels), torch.tensor([len(item) for item in items])

    def embed(self, items: Sequence[Faces]) -> Iterator[np.ndarray]:
        rows = super().embed(items)
        if self.config.pooling == MEAN:
            return rows
        return (np.stack(list(islice(rows, len(item)))) for item in items)

    def network(self, seed: int) -> torch.nn.Module:
        from extractors.image._network import FaceNetwork

        return FaceNetwork(self.config.depth, seed, self.config.layer)

    def serving(self, network: Any, dtype: torch.dtype) -> Callable[..., torch.Tensor]:
        import torch

        from extractors.image._network import averaged
        from extractors.image._serving import FoldedResNet

        rows: Callable[[torch.Tensor], torch.Tensor] = network.rows
        if self.inputs.numerics == "exact":
            network.lay_out(torch.contiguous_format)
        else:
            rows = FoldedResNet(network, dtype, self.config.size, grayscale=self.config.grayscale)
        if self.config.pooling == NONE:
            return lambda faces, _: rows(faces)
        return lambda faces, counts: averaged(rows(faces), counts)

    def given_state(self) -> Mapping[str, torch.Tensor] | None:
        if self.config.given == RANDOM:
            return None
        state = read_state(self.config.given, self.config.depth, self.config.layer)
        return {f"resnet.{name}": value for name, value in state.items()}

    def given_digest(self) -> str | None:
        return None if self.config.given == RANDOM else self._digest()

    def _digest(self) -> str:
        return weights_digest(self.config.given, self.config.depth, self.config.layer)

    @cached_property
    def _framing(self) -> Framing:
        return Framing(
            size=self.config.size,
            grayscale=self.config.grayscale,
            detector=None if self.config.face == NO_DETECTOR else find_detector(self.config.face),
            margin=self.config.face_margin,
            no_face=self.config.no_face,
        )
