"""Still pictures -> grayscale squares, whatever the file holds."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import MediaError

if TYPE_CHECKING:
    from PIL import Image

_WHITE = (255, 255, 255, 255)


def load_still(path: Path, size: int, sample_id: str) -> np.ndarray:
    """Return a picture as (1, size, size) uint8, upright. Raises MediaError (undecodable)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return gray_square(ImageOps.exif_transpose(image), size)[None]
    except Exception as error:  # Pillow raises anything from SyntaxError to DecompressionBombError
        raise MediaError(f"{sample_id}: cannot decode {path.name}: {error}", reason="undecodable") from error


def gray_square(image: "Image.Image", size: int) -> np.ndarray:
    """Return a picture as (size, size) uint8: transparency over white, ITU-R 601 luma, antialiased bilinear resize."""
    from PIL import Image

    gray = _gray(image)
    return np.asarray(gray.resize((size, size), Image.Resampling.BILINEAR), np.uint8)


def _gray(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return _deep_gray(image)
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, _WHITE), over)
    return image.convert("L")


def _deep_gray(image: "Image.Image") -> "Image.Image":
    """Scale 16-bit integers by 1 / 257; Pillow's own conversion would clip them at 255."""
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f"expected 8 or 16 bits a channel, got {image.mode} from {values.min()} to {values.max()}")
    return Image.fromarray(np.round(values / 257).astype(np.uint8))
