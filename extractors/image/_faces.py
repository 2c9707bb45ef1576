"""Faces in pictures: what finds them, which square around one is kept, and what becomes of pictures without any."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from stores.errors import MediaError
from stores.plugins import find_plugin

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[float, float, float, float]
WHOLE, QUARANTINE = NO_FACE = ("whole-frame", "quarantine")
DETECTORS = "extractors.image.detectors"
SEEN = 320  # pixels: the longer side of a picture in which a face is looked for


class Detector(ABC):
    """Finds faces; a module of `extractors/image/detectors` is one. Threads share it.

    `version` is raised by hand when the same weights find other boxes.
    """

    version: ClassVar[int]

    def __reduce__(self) -> tuple[Callable[[str], "Detector"], tuple[str]]:
        """Another process finds its own by name."""
        return find_detector, (type(self).__module__.rpartition(".")[2],)

    @abstractmethod
    def digest(self) -> str:
        """Return the digest of its weights."""

    @abstractmethod
    def boxes(self, gray: np.ndarray) -> np.ndarray:
        """Return (n, 4) float64, in pixels: left, top, width and height of the faces in (height, width) uint8."""


@cache
def find_detector(name: str) -> Detector:
    """Return the detector of that name. Raises UnknownPlugin naming the nearest."""
    return find_plugin(DETECTORS, name, Detector)()  # type: ignore[type-abstract]


@dataclass(frozen=True)
class Faces:
    """Pixels (k, size, size) uint8, in colour (k, size, size, 3), in how many pictures no face was found, and how many
    packets of their film are damaged.
    """

    pixels: np.ndarray
    faceless: int = 0
    damaged: int = 0

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def nbytes(self) -> int:
        return int(self.pixels.nbytes)


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Which square of a picture is kept, and how large: all of it, squeezed, or around the largest face.

    The square around a face has its larger side and `margin` times that on each side; it is moved, and if need be made
    smaller, to lie inside the picture. `no_face` says what becomes of a picture without a face.
    """

    size: int
    grayscale: bool = True
    detector: Detector | None = None
    margin: float = 0.0
    no_face: str = WHOLE

    def box(self, picture: "Image.Image") -> Box | None:
        """Return left, top, right, bottom of the square around the largest face, in pixels; None without a face."""
        assert self.detector is not None
        scale = max(picture.size) / SEEN
        seen = picture.convert("L").resize([max(1, round(side / scale)) for side in picture.size])
        boxes = self.detector.boxes(np.asarray(seen, np.uint8)) * scale
        if not len(boxes):
            return None
        left, top, width, height = max(boxes.tolist(), key=lambda box: (box[2] * box[3], -box[0], -box[1]))
        side = min(max(width, height) * (1 + 2 * self.margin), *picture.size)
        x = min(max(left + (width - side) / 2, 0.0), picture.width - side)
        y = min(max(top + (height - side) / 2, 0.0), picture.height - side)
        return x, y, x + side, y + side

    def faces(self, squares: Sequence[tuple[np.ndarray, bool]]) -> Faces:
        """Return the squares of a sample (pixels, face found). Raises MediaError (no_face) if none may be kept."""
        kept = [pixels for pixels, found in squares if found or self.no_face == WHOLE]
        if not kept:
            raise MediaError(f"no face found in {len(squares)} pictures", reason="no_face")
        return Faces(np.stack(kept), sum(not found for _, found in squares))
