"""Still pictures -> grayscale or RGB squares, whatever the file holds."""

import io
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from extractors._containers import MOST_LOST
from extractors._isolated import isolated
from extractors.image._faces import Faces, Framing
from stores.errors import MediaError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")  # each begins unmistakably
MOST_PIXELS = 80_000_000  # twice what cameras take; 320 MB once decoded
_MOST_BYTES = 900_000_000  # of memory, to decode one picture
_COSTS = {"WEBP": 17, "AVIF": 16, "JPEG2000": 25, "film": 26}  # measured bytes a pixel; others take up to 11
_BAND = 4_000_000  # pixels converted at a time: the copies made on the way stay small
_WHITE = (255, 255, 255, 255)
_DEEPEST = (255, 4095, 65535)  # values of 8, 12 and 16 bits
_ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 0x0112, 0x0142, 0x0143  # tags of TIFF and EXIF
_TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands of ISO 23008-12
_SIGNATURE, _TEXTS = b"\x89PNG\r\n\x1a\n", (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def load_still(path: Path, framing: Framing, sample_id: str) -> Faces:
    """Return the one picture (of an animation, the first) of a file, upright.

    Its content is one of FORMATS, whatever its name. Gray of more than 8 bits is taken to have the fewest of 8, 12 and
    16 bits that hold its largest value. Metadata that cannot be read are passed over, and a missing end (`damaged`).
    Raises MediaError: undecodable, no_face, damaged (more than MOST_LOST of its rows are missing), too_large (nothing
    of it is decoded then).
    """
    from PIL import Image, UnidentifiedImageError

    _bombs_are_errors()
    mode = "L" if framing.grayscale else "RGB"
    try:
        try:
            with path.open("rb") as file:  # of what it opens itself, Pillow maps a TIFF, and turns it twice
                picture, orientation = _read(file, mode)
        except OSError as error:
            if "truncated" not in str(error):
                raise
            return Faces(*isolated(_read_cut, path, framing, mode))
        except ValueError:  # Pillow does not pass over texts and profiles that it cannot read
            if not (content := path.read_bytes()).startswith(_SIGNATURE):
                raise
            picture, orientation = _read(_without_texts(content), mode)
        return framing.faces([_cut(picture, framing, orientation)])
    except MediaError as error:
        raise MediaError(f"{sample_id}: {path.name}: {error}", reason=error.reason) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(f"{sample_id}: {path.name}: {error}", reason="too_large") from error
    except UnidentifiedImageError:
        raise MediaError(f"{sample_id}: cannot decode {path.name}: {refusal(path)}", reason="undecodable") from None
    except Exception as error:  # Pillow raises anything, SyntaxError for one
        raise MediaError(f"{sample_id}: cannot decode {path.name}: {error}", reason="undecodable") from error


def is_picture(path: Path) -> bool:
    """Return whether a file begins as one of FORMATS does."""
    from PIL import Image, UnidentifiedImageError

    try:
        Image.open(path, formats=FORMATS).close()
    except UnidentifiedImageError:
        return False
    except Exception:  # whatever is wrong with it, `load_still` says it
        return True
    return True


def refusal(path: Path) -> str:
    """Return why a file that holds none of FORMATS is not read, and what to do."""
    kind = "HEIC" if is_heic(path) else f"none of {', '.join(FORMATS)}"
    return f"it is {kind}: convert it to JPEG or PNG"


def is_heic(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:] in _HEIC


def check_pixels(width: int, height: int, kind: str | None) -> None:
    """Raise MediaError (too_large) for more than MOST_PIXELS, or than fit the memory that a kind of picture takes."""
    if width * height > (most := most_pixels(kind)):
        raise MediaError(f"{width} x {height} pixels are more than {most / 1e6:.3g} million", reason="too_large")


def most_pixels(kind: str | None) -> int:
    return min(MOST_PIXELS, _MOST_BYTES // _COSTS.get(str(kind), 1))


@cache
def _bombs_are_errors() -> None:
    """Pillow warns from 89 million pixels on, and raises from twice that; here nothing is printed."""
    from PIL import Image

    warnings.filterwarnings("ignore", module=r"PIL\.")  # of metadata that cannot be read
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def _read(source: IO[bytes], mode: str) -> tuple["Image.Image", int]:
    """Return a picture in 8 bits as it is stored, and EXIF's number of how to turn it."""
    from PIL import Image

    with Image.open(source, formats=FORMATS) as image:
        check_pixels(*image.size, image.format)
        if image.format == "TIFF":
            check_pixels(_tags(image).get(_TILE_WIDTH, 1), _tags(image).get(_TILE_LENGTH, 1), image.format)
            # Pillow's own turns the picture and writes its metadata anew, which fails where they are odd
            image.load_end = lambda: setattr(image, "_size", image.im.size)  # type: ignore[method-assign]
        image.load()
        return _flattened(image, mode), _orientation(image)


def _read_cut(path: Path, framing: Framing, mode: str) -> tuple[np.ndarray, int, int]:
    """Return the fields of Faces of a picture whose end is missing. In a child: Pillow's switch is a process's.

    What a shorter file shows otherwise ends where this one ends. A picture that comes coarse first may lack all of its
    last pass, which is half of it, in every row: it counts as lost.
    """
    from PIL import Image, ImageChops, ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        of_gif: Any = image.tile[0].args if image.format == "GIF" else (0, 0)
        coarse_first = of_gif[1] or {"progressive", "interlace"} & image.info.keys()
    picture, orientation = _read(io.BytesIO(content), mode)
    shorter, _ = _read(io.BytesIO(content[: len(content) * 19 // 20]), mode)
    box = ImageChops.difference(picture, shorter).getbbox()
    if box is None and not coarse_first:
        raise MediaError("nothing of it can be decoded", reason="undecodable")
    lost = picture.height if box is None or coarse_first else min(box[1], picture.height - box[3])  # BMP begins below
    if lost > MOST_LOST * picture.height:
        raise MediaError(f"its end is missing: up to {lost} of {picture.height} rows", reason="damaged")
    faces = framing.faces([_cut(picture, framing, orientation)])
    return faces.pixels, faces.faceless, 1


def _orientation(image: "Image.Image") -> int:
    """Return EXIF's number, 1 to 8, of EXIF, XMP or TIFF; 1, which is upright, if it cannot be read."""
    try:
        found = int(_tags(image)[_ORIENTATION])
    except Exception:  # Pillow raises anything
        return 1
    return found if 1 <= found <= 8 else 1


def _tags(image: "Image.Image") -> Any:
    return getattr(image, "tag_v2", None) or image.getexif()


def _without_texts(content: bytes) -> IO[bytes]:
    """Return a PNG without its texts and colour profile."""
    kept, at = [_SIGNATURE], len(_SIGNATURE)
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] not in _TEXTS:
            kept.append(content[at:end])
        at = end
    return io.BytesIO(b"".join(kept))


def square(image: "Image.Image", framing: Framing, orientation: int = 1) -> tuple[np.ndarray, bool]:
    """Return (size, size) uint8 (ITU-R 601 luma), in colour (size, size, 3), and whether the face in it was found.

    The picture is turned by its orientation (EXIF's number), transparency lies over white; the resize is bilinear and
    antialiased. Without a detector a picture is a face.
    """
    return _cut(_flattened(image, "L" if framing.grayscale else "RGB"), framing, orientation)


def _cut(picture: "Image.Image", framing: Framing, orientation: int) -> tuple[np.ndarray, bool]:
    from PIL import Image

    if orientation > 1:
        picture = picture.transpose(Image.Transpose[_TURNS[orientation - 2]])
    box = framing.box(picture) if framing.detector else None
    small = picture.resize((framing.size, framing.size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small, np.uint8), box is not None or framing.detector is None


def _flattened(image: "Image.Image", mode: str) -> "Image.Image":
    """Return a picture of 8 bits a channel (`mode` L or RGB) without transparency."""
    from PIL import Image

    deepest = max(_largest(band) for _, band in _bands(image)) if image.mode.startswith(("I", "F")) else 0
    picture = Image.new(mode, image.size)
    for top, band in _bands(image):
        picture.paste(_flat(band, deepest).convert(mode), (0, top))
    return picture


def _bands(image: "Image.Image") -> Iterator[tuple[int, "Image.Image"]]:
    width, height = image.size
    rows = max(1, _BAND // width)
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _flat(image: "Image.Image", deepest: int) -> "Image.Image":
    from PIL import Image

    if deepest:
        return Image.fromarray(np.round(np.asarray(image) / (deepest / 255)).astype(np.uint8))
    if image.mode == "LAB":
        raise ValueError("colours in LAB are not read here: convert it to RGB")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, _WHITE), over)
    return image


def _largest(image: "Image.Image") -> int:
    """Return the largest value of the depth that holds a gray picture; Pillow's own conversion would clip it at 255."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > _DEEPEST[-1]:
        raise ValueError(f"expected 8 to 16 bits a channel, got {image.mode} from {values.min()} to {values.max()}")
    return next(most for most in _DEEPEST if values.max() <= most)
