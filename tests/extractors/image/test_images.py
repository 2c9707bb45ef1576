import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from extractors.image._faces import Framing
from extractors.image._images import load_still, square
from stores.errors import MediaError


def load(path: Path, size: int = 32) -> np.ndarray:
    return load_still(path, Framing(size=size), "c/1").pixels


def test_colour_becomes_luma(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    found = load(tmp_path / "red.png")
    assert (found.shape, found.dtype) == ((1, 32, 32), np.uint8)
    assert (found == 76).all()  # 0.299 x 255


def test_colour_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "red.png")
    Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)).save(tmp_path / "deep.png")
    framing = Framing(size=32, grayscale=False)
    red, deep = (load_still(tmp_path / name, framing, "c/1").pixels for name in ("red.png", "deep.png"))
    assert (red.shape, red.dtype) == ((1, 32, 32, 3), np.uint8)
    assert np.abs(red - np.array([255, 127, 127])).max() <= 1
    assert (deep == 100).all()


def test_a_picture_lying_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64), np.uint8)
    pixels[:, :32] = 255  # bright on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned 90 degrees clockwise: bright on top
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    found = load(tmp_path / "turned.jpg")[0]
    assert found[:12].min() > 240
    assert found[20:].max() < 15


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str, tmp_path: Path) -> None:
    black_half_clear = (0,) * (len(mode) - 1) + (128,)
    Image.new(mode, (8, 8), black_half_clear).save(tmp_path / "clear.png")
    assert np.abs(load(tmp_path / "clear.png").astype(int) - 127).max() <= 1


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 200, 200, 200])
    picture.save(tmp_path / "palette.gif")
    assert (load(tmp_path / "palette.gif") == 200).all()


def test_16_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)).save(tmp_path / "deep.png")
    assert (load(tmp_path / "deep.png") == 100).all()


def test_16_bits_in_three_channels_are_scaled(tmp_path: Path) -> None:
    deep = np.full((8, 8, 3), 257 * np.array([200, 100, 50]), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    cv2.imwrite(str(tmp_path / "deep.tiff"), deep[..., ::-1])
    for name in ("deep.png", "deep.tiff"):
        assert (load(tmp_path / name) == 124).all()  # 0.299 x 200 + 0.587 x 100 + 0.114 x 50


def test_16_bits_and_transparency_lie_over_white(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 8, 4), [0, 0, 0, 257 * 128], np.uint16))
    assert np.abs(load(tmp_path / "deep.png").astype(int) - 127).max() <= 1


def test_ink_becomes_light(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (255, 0, 0, 51)).save(tmp_path / "ink.tiff")  # (0, 204, 204)
    Image.new("CMYK", (8, 8), (255, 0, 0, 51)).save(tmp_path / "ink.jpg", quality=100)
    for name in ("ink.tiff", "ink.jpg"):
        assert np.abs(load(tmp_path / name).astype(int) - 143).max() <= 2  # 0.587 x 204 + 0.114 x 204


def test_one_bit_is_black_or_white(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64).reshape(8, 8) % 8 < 4).save(tmp_path / "bits.png")
    found = load(tmp_path / "bits.png", 32)[0]
    assert (found[:, :12] == 255).all()
    assert (found[:, 20:] == 0).all()


@pytest.mark.parametrize("name", ["two.gif", "two.png", "two.webp", "two.tiff"])
def test_of_an_animation_the_first_picture_counts(tmp_path: Path, name: str) -> None:
    first, second = (Image.new("L", (8, 8), level) for level in (50, 200))
    kind = {"lossless": True} if name == "two.webp" else {}
    first.save(tmp_path / name, save_all=True, append_images=[second], **kind)
    assert (load(tmp_path / name) == 50).all()


def test_a_small_picture_is_enlarged_and_a_large_one_antialiased(tmp_path: Path) -> None:
    checks = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "checks.png")
    assert np.abs(load(tmp_path / "checks.png").astype(int) - 127).max() <= 2
    Image.fromarray(np.array([[10]], np.uint8)).save(tmp_path / "dot.png")
    assert (load(tmp_path / "dot.png") == 10).all()


def test_what_is_no_picture_is_undecodable(tmp_path: Path) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:300])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "float.tiff")
    for name in ("cut.jpg", "text.png", "empty.png", "float.tiff"):
        with pytest.raises(MediaError, match=f"c/1: cannot decode {name}") as caught:
            load(tmp_path / name)
        assert caught.value.reason == "undecodable"


def failure(path: Path) -> tuple[str, str]:
    with pytest.raises(MediaError) as caught:
        load(path)
    return caught.value.reason, str(caught.value)


def test_more_pixels_than_a_camera_takes_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors.image._images.MOST_PIXELS", 80)
    Image.new("L", (8, 10)).save(tmp_path / "most.png")
    Image.new("L", (9, 9)).save(tmp_path / "more.png")
    load(tmp_path / "most.png")
    monkeypatch.setattr(Image.Image, "resize", lambda *_: pytest.fail("decoded"))
    reason, message = failure(tmp_path / "more.png")
    assert reason == "too_large"
    assert message.startswith("c/1: more.png: 9 x 9 pixels are more than")


@pytest.mark.parametrize("limit", [40, 60])  # Pillow raises at twice its limit, and warns at once
def test_what_pillow_calls_a_bomb_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    Image.new("L", (10, 10)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert failure(tmp_path / "bomb.png")[0] == "too_large"


def test_a_bomb_is_an_error_and_no_warning_in_a_fresh_process(tmp_path: Path) -> None:
    Image.new("L", (10, 10)).save(tmp_path / "bomb.png")
    program = """
import sys
import zlib
from pathlib import Path
from PIL import Image, ImageOps
from extractors.image._faces import Framing
from extractors.image._images import load_still
Image.MAX_IMAGE_PIXELS = 60
try:
    load_still(Path(sys.argv[1]), Framing(size=32), "c/1")
except OSError as error:
    print(error.reason)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "bomb.png")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("too_large\n", "")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("grayscale", [True, False])
def test_large_pictures_are_converted_in_bands_that_leave_no_trace(
    mode: str, grayscale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (45, 30, 4), np.uint8)
    whole = Image.fromarray(pixels, "RGBA")
    if mode == "I;16":
        whole = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode != "RGBA":
        whole = whole.convert("RGB").convert(mode)
    if mode == "P":
        whole.info["transparency"] = 3
    framing = Framing(size=32, grayscale=grayscale)
    at_once, _ = square(whole, framing)
    monkeypatch.setattr("extractors.image._images._BAND", 100)
    np.testing.assert_array_equal(square(whole, framing)[0], at_once)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def quarters() -> np.ndarray:
    """Four gray levels, so that all eight ways to turn a picture differ."""
    return np.kron(np.array([[220, 150], [90, 20]], np.uint8), np.ones((24, 32), np.uint8))


def corners(path: Path) -> list[int]:
    face = load(path)[0].astype(int)
    return [round(face[y, x] / 10) * 10 for y in (8, 24) for x in (8, 24)]


UPRIGHT, TURNED = [220, 150, 90, 20], [90, 220, 20, 150]  # as stored, and with orientation 6


def exif(*entries: bytes) -> bytes:
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0" * 8


LYING = struct.pack("<HHII", 0x0112, 3, 1, 6)
ODD_EXIF = {  # with an orientation: what another tag may say
    "unit": exif(LYING, struct.pack("<HHII", 0x0128, 4, 1, 0xFFFFFFFF)),
    "width": exif(struct.pack("<HHI4s", 0x0100, 2, 3, b"64"), LYING),
    "negative": exif(struct.pack("<HHII", 0x0103, 9, 1, 0xFFFFFFFF), LYING),
}
NO_EXIF = {
    "garbage": b"garbage!" * 4,
    "twice": b"Exif\0\0" + exif(LYING),
    "elsewhere": b"II*\0\xff\xff\xff\x7f",
    "zero": exif(struct.pack("<HHII", 0x0112, 3, 1, 0)),
    "nine": exif(struct.pack("<HHII", 0x0112, 3, 1, 9)),
}


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("name", [*ODD_EXIF, *NO_EXIF])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_odd_metadata_do_not_cost_a_picture(tmp_path: Path, kind: str, name: str) -> None:
    content = io.BytesIO()
    told = ODD_EXIF.get(name) or NO_EXIF[name]
    settings = {"jpg": {"quality": 98}, "png": {}, "webp": {"lossless": True, "exif": b"Exif\0\0" + told}}[kind]
    Image.fromarray(quarters()).convert("RGB").save(content, {"jpg": "JPEG"}.get(kind, kind), **settings)
    written = content.getvalue()
    if kind == "jpg":
        body = b"Exif\0\0" + told
        written = written[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + written[2:]
    elif kind == "png":
        written = written[:33] + chunk(b"eXIf", told) + written[33:]
    (tmp_path / f"odd.{kind}").write_bytes(written)
    assert corners(tmp_path / f"odd.{kind}") in (
        [TURNED] if name in ODD_EXIF else [UPRIGHT, TURNED] if name == "twice" else [UPRIGHT]
    )


LONG = {
    "profile": (b"iCCP", b"big\0\0" + zlib.compress(np.random.default_rng(0).bytes(700_000) + b"\0" * 1_000_000)),
    "text": (b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 3_000_000)),
    "workflow": (b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b'{"a":1}' * 400_000)),
    "raw profile": (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n      10\nzzzz\n")),
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("last", [False, True])
def test_texts_of_a_png_that_cannot_be_read_do_not_cost_it(tmp_path: Path, name: str, last: bool) -> None:
    content = io.BytesIO()
    Image.fromarray(quarters()).save(content, "PNG", exif=b"Exif\0\0" + exif(LYING))
    at = -12 if last else 33
    (tmp_path / "a.png").write_bytes(content.getvalue()[:at] + chunk(*LONG[name]) + content.getvalue()[at:])
    assert corners(tmp_path / "a.png") == TURNED


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "packed.tiff", "a.avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_followed_wherever_it_is_written(tmp_path: Path, name: str, orientation: int) -> None:
    told = Image.Exif()
    told[0x0112] = orientation
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 98}, "avif": {"quality": 95}}.get(
        name.partition(".")[2], {}
    )
    packed = {"compression": "tiff_lzw"} if name == "packed.tiff" else {}
    stored = Image.fromarray(quarters()).convert("RGB")
    stored.save(tmp_path / name, exif=told, **lossless, **packed)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / name))
    upright.save(tmp_path / "upright.png", exif=Image.Exif())
    assert corners(tmp_path / name) == corners(tmp_path / "upright.png")
    assert (corners(tmp_path / name) == UPRIGHT) == (orientation == 1)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_that_is_not_square_is_turned_as_it_says(tmp_path: Path, compression: str, orientation: int) -> None:
    upright = Image.fromarray(quarters())  # gray is what Pillow maps
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)  # Pillow's transpositions: what a camera stored
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    fine = {"quality": 98} if compression == "jpeg" else {}
    stored.save(tmp_path / "a.tiff", compression=compression, tiffinfo={0x0112: orientation}, **fine)
    np.testing.assert_allclose(load(tmp_path / "a.tiff")[0][4:-4:8, 4:-4:8], shrunk(upright)[4:-4:8, 4:-4:8], atol=3)


def shrunk(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BILINEAR), np.float64)


KINDS = {"a.jpg": {}, "a.png": {}, "a.gif": {"interlace": 0}, "a.tiff": {}, "a.bmp": {}, "a.ppm": {}}


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_that_lacks_its_end_is_remarked_and_above_5_percent_damaged(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).normal(0, 12, (300, 200, 3))
    pixels = np.clip(np.add.outer(np.arange(300) * 0.5, np.arange(200) * 0.5)[..., None] + noise, 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name, **KINDS[name])
    content, whole = (tmp_path / name).read_bytes(), load_still(tmp_path / name, Framing(size=32), "c/1")
    (tmp_path / name).write_bytes(content[: len(content) * 98 // 100])
    cut = load_still(tmp_path / name, Framing(size=32), "c/1")
    assert (whole.damaged, cut.damaged) == (0, 1)
    there = slice(3, 29)  # a BMP begins below
    np.testing.assert_array_equal(cut.pixels[0, there], whole.pixels[0, there])
    assert (cut.pixels != whole.pixels).any()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(
        MediaError, match=r"a\....: its end is missing: up to 1\d\d of 300 rows|a\.tiff: its end"
    ) as caught:
        load(tmp_path / name)
    assert caught.value.reason == "damaged"


@pytest.mark.parametrize(("kind", "settings"), [("JPEG", {"progressive": True}), ("GIF", {"interlace": 1})])
def test_a_picture_that_comes_coarse_first_needs_its_end(tmp_path: Path, kind: str, settings: dict[str, int]) -> None:
    Image.fromarray(quarters()).save(tmp_path / "a", kind, **settings)
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: len(content) * 97 // 100])
    with pytest.raises(MediaError) as caught:
        load(tmp_path / "a")
    assert caught.value.reason == "damaged"


def test_an_orientation_is_read_from_xmp(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.fromarray(quarters()).save(tmp_path / "a.jpg", quality=98, xmp=xmp)
    assert corners(tmp_path / "a.jpg") == TURNED


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff", "big.tiff", "whole.tiff"])
@pytest.mark.parametrize("most", [255, 4095, 65535])
def test_gray_is_scaled_by_the_depth_that_its_largest_value_needs(tmp_path: Path, name: str, most: int) -> None:
    values = np.round(quarters() / 220 * most).astype({"big.tiff": ">u2", "whole.tiff": np.int32}.get(name, np.uint16))
    image = Image.frombytes("I;16B", (64, 48), values.tobytes()) if name == "big.tiff" else Image.fromarray(values)
    image.save(tmp_path / name)
    np.testing.assert_allclose(
        load(tmp_path / name)[0][np.ix_([8, 24], [8, 24])], [[255, 174], [104, 23]], atol=1
    )  # 255 / 220 of the levels


def test_what_is_no_kind_of_picture_read_here_says_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(quarters()).convert("RGB").convert("LAB").save(tmp_path / "lab.tiff")
    Image.fromarray(quarters()).save(tmp_path / "a.ico")
    Image.fromarray(quarters()).convert("RGB").save(tmp_path / "a.icns")
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  =                    T".ljust(80) + b" " * 2800)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    for name in ("lab.tiff", "a.ico", "a.icns", "a.fits", "a.heic"):
        why, message = failure(tmp_path / name)
        assert why == "undecodable"
        assert "convert it to" in message
    assert "HEIC" in failure(tmp_path / "a.heic")[1]


@pytest.mark.parametrize(("name", "most"), [("a.webp", 900 // 17), ("a.avif", 900 // 16), ("a.jp2", 900 // 25)])
def test_pixels_are_bounded_by_what_their_format_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr("extractors.image._images._MOST_BYTES", 900)
    Image.new("RGB", (most, 1)).save(tmp_path / name)
    load(tmp_path / name)
    Image.new("RGB", (most + 1, 1)).save(tmp_path / name)
    assert failure(tmp_path / name)[0] == "too_large"


def test_a_tile_that_is_larger_than_its_picture_is_not_decoded(tmp_path: Path) -> None:
    sizes = {0x0100: 64, 0x0101: 64, 0x0102: 8, 0x0103: 8, 0x0106: 1, 0x0115: 1, 0x0142: 40_000, 0x0143: 40_000}
    where = {0x0144: 8, 0x0145: 100}  # of its one tile
    (tmp_path / "tile.tiff").write_bytes(
        exif(*(struct.pack("<HHII", t, 4, 1, v) for t, v in {**sizes, **where}.items()))
    )
    assert failure(tmp_path / "tile.tiff")[0] == "too_large"
