from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extractors.image._images import load_still
from stores.errors import MediaError


def load(path: Path, size: int = 32) -> np.ndarray:
    return load_still(path, size, "c/1")


def test_colour_becomes_luma(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    found = load(tmp_path / "red.png")
    assert (found.shape, found.dtype) == ((1, 32, 32), np.uint8)
    assert (found == 76).all()  # 0.299 x 255


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
