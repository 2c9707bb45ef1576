"""Still pictures -> grayscale or RGB squares, whatever the file holds."""

import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extractors.image._faces import Faces, Framing
from stores.errors import MediaError

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 80_000_000  # twice what cameras take; 320 MB once decoded
_BAND = 4_000_000  # pixels converted at a time: the copies made on the way stay small
_WHITE = (255, 255, 255, 255)


def load_still(path: Path, framing: Framing, sample_id: str) -> Faces:
    """Return the one picture (of an animation, the first) of a file, upright.

    Raises MediaError: undecodable, no_face, too_large (nothing of it is decoded then).
    """
    from PIL import Image, ImageOps

    _bombs_are_errors()
    try:
        with Image.open(path) as image:
            check_pixels(*image.size)
            if image.format == "EPS":
                raise MediaError("PostScript is a program, not a picture", reason="undecodable")
            ImageOps.exif_transpose(image, in_place=True)
            return framing.faces([square(image, framing)])
    except MediaError as error:
        raise MediaError(f"{sample_id}: {path.name}: {error}", reason=error.reason) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(f"{sample_id}: {path.name}: {error}", reason="too_large") from error
    except Exception as error:  # Pillow raises anything, SyntaxError for one
        raise MediaError(f"{sample_id}: cannot decode {path.name}: {error}", reason="undecodable") from error


def check_pixels(width: int, height: int) -> None:
    """Raise MediaError (too_large) for more than MOST_PIXELS."""
    if width * height > MOST_PIXELS:
        raise MediaError(f"{width} x {height} pixels are more than {MOST_PIXELS // 10**6} million", reason="too_large")


@cache
def _bombs_are_errors() -> None:
    """Pillow warns from 89 million pixels on and raises from twice that; here neither is printed."""
    from PIL import Image

    warnings.simplefilter("error", Image.DecompressionBombWarning)


def square(image: "Image.Image", framing: Framing) -> tuple[np.ndarray, bool]:
    """Return (size, size) uint8 (ITU-R 601 luma), in colour (size, size, 3), and whether the face in it was found.

    Transparency lies over white; the resize is bilinear and antialiased. Without a detector a picture is a face.
    """
    from PIL import Image

    picture = Image.new("L" if framing.grayscale else "RGB", image.size)
    for top, band in _bands(image):
        picture.paste(_flat(band).convert(picture.mode), (0, top))
    box = framing.box(picture) if framing.detector else None
    small = picture.resize((framing.size, framing.size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small, np.uint8), box is not None or framing.detector is None


def _bands(image: "Image.Image") -> Iterator[tuple[int, "Image.Image"]]:
    width, height = image.size
    rows = max(1, _BAND // width)
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _flat(image: "Image.Image") -> "Image.Image":
    """Return a picture of 8 bits a channel without transparency."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return _deep_gray(image)
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, _WHITE), over)
    return image


def _deep_gray(image: "Image.Image") -> "Image.Image":
    """Scale 16-bit integers by 1 / 257; Pillow's own conversion would clip them at 255."""
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f"expected 8 or 16 bits a channel, got {image.mode} from {values.min()} to {values.max()}")
    return Image.fromarray(np.round(values / 257).astype(np.uint8))
