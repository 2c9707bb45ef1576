from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import cv2
import matplotlib
import numpy as np
import pytest
from PIL import Image

from extractors.extractor import Inputs, Runtime
from extractors.image._faces import DETECTORS, Detector, Framing, find_detector
from extractors.image._images import load_still
from extractors.image.detectors.haar import Haar
from extractors.image.resnet import ResNet, ResNetConfig
from extractors.run import extract
from stores.errors import ConfigError, MediaError
from stores.features import FeatureStore
from stores.plugins import plugin_names
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

HOPPER = (
    Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
)  # 512 x 600, her face at about (260, 130)


class Bright(Detector):
    """Finds each square of one level above 100."""

    version: ClassVar[int] = 1

    def digest(self) -> str:
        return "none"

    def boxes(self, gray: np.ndarray) -> np.ndarray:
        found = [np.argwhere(gray == level) for level in range(101, 256) if (gray == level).sum() > 100]
        return np.array([[*p.min(0)[::-1], *(p.max(0) - p.min(0) + 1)[::-1]] for p in found], float).reshape(-1, 4)


def picture(*squares: tuple[int, int, int, int], size: tuple[int, int] = (320, 200)) -> Image.Image:
    """Black, with squares at left, top, of a side, of a level; at most 320 wide, so that it is seen as it is."""
    pixels = np.zeros(size[::-1], np.uint8)
    for left, top, side, level in squares:
        pixels[top : top + side, left : left + side] = level
    return Image.fromarray(pixels)


def box(image: Image.Image, margin: float = 0.0) -> tuple[float, ...] | None:
    return Framing(size=32, detector=Bright(), margin=margin).box(image)


def test_the_largest_face_is_kept_with_its_margin() -> None:
    two = picture((40, 60, 30, 150), (120, 80, 40, 200))
    assert box(two) == (120, 80, 160, 120)
    assert box(two, 0.25) == (110, 70, 170, 130)
    assert box(picture()) is None


def test_of_equal_faces_the_left_one_is_kept() -> None:
    assert box(picture((120, 80, 40, 200), (20, 80, 40, 150))) == (20, 80, 60, 120)


def test_a_square_that_reaches_out_is_moved_inside_or_made_smaller() -> None:
    assert box(picture((0, 150, 50, 200)), 0.5) == (0, 100, 100, 200)
    assert box(picture((20, 20, 150, 200)), 0.5) == (0, 0, 200, 200)


def test_large_and_small_pictures_are_seen_alike() -> None:
    for scale in (4, 0.5):
        sides = [round(scale * side) for side in (320, 200)]
        found = box(picture((120, 80, 40, 200)).resize(sides, Image.Resampling.NEAREST))
        np.testing.assert_allclose(found, np.array([120, 80, 160, 120]) * scale, atol=3 * scale)


def test_the_square_is_cut_out_and_resized(tmp_path: Path) -> None:
    picture((120, 80, 40, 200)).save(tmp_path / "face.png")
    faces = load_still(tmp_path / "face.png", Framing(size=32, detector=Bright()), "c/1")
    assert (faces.pixels[:, 2:-2, 2:-2] == 200).all()  # the resize looks across the edge
    assert faces.faceless == 0


def test_without_a_face_the_whole_picture_is_used_or_none(tmp_path: Path) -> None:
    picture((120, 80, 40, 90)).save(tmp_path / "none.png")
    whole = load_still(tmp_path / "none.png", Framing(size=32, detector=Bright()), "c/1")
    assert whole.faceless == 1
    np.testing.assert_array_equal(whole.pixels, load_still(tmp_path / "none.png", Framing(size=32), "c/1").pixels)
    with pytest.raises(MediaError, match=r"c/1: none.png: no face found in 1 pictures") as caught:
        load_still(tmp_path / "none.png", Framing(size=32, detector=Bright(), no_face="quarantine"), "c/1")
    assert (caught.value.reason, caught.value.stage) == ("no_face", "decode")


def test_frames_without_a_face_are_used_whole_or_left_out() -> None:
    squares = [(np.full((32, 32), level, np.uint8), found) for level, found in ((1, True), (2, False), (3, True))]
    whole, kept = (Framing(size=32, no_face=policy).faces(squares) for policy in ("whole-frame", "quarantine"))
    assert (whole.pixels[:, 0, 0].tolist(), whole.faceless) == ([1, 2, 3], 1)
    assert (kept.pixels[:, 0, 0].tolist(), kept.faceless) == ([1, 3], 1)


def test_every_detector_keeps_its_contract() -> None:
    for name in plugin_names(DETECTORS):
        detector = find_detector(name)
        found = detector.boxes(np.zeros((240, 320), np.uint8))
        assert (found.shape, found.dtype) == ((0, 4), np.float64)
        assert detector.digest() == detector.digest()
        assert len(detector.digest()) == 64


def test_haar_finds_a_face_where_it_is() -> None:
    with Image.open(HOPPER) as image:
        found = Framing(size=64, detector=Haar()).box(image)
    assert found is not None
    left, top, right, bottom = found
    assert left < 240 < 280 < right
    assert top < 110 < 160 < bottom
    assert 80 < right - left < 250


def test_threads_share_a_detector_and_find_the_same() -> None:
    haar, gray = Haar(), np.asarray(Image.open(HOPPER).convert("L").resize((273, 320)))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(haar.boxes, [gray] * 12))
    assert all((boxes == found[0]).all() for boxes in found)
    assert len(found[0]) >= 1


def test_another_cascade_is_another_feature(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def ids() -> list[str]:
        configs = [ResNetConfig(depth=18, weights="random", face=face) for face in ("none", "haar")]
        return [ResNet(config, Inputs(root=root)).identity.id for config in configs]

    before = ids()
    other = Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt.xml"
    monkeypatch.setattr(Haar, "path", other)
    find_detector.cache_clear()
    after = ids()
    find_detector.cache_clear()
    assert before[0] == after[0]
    assert len({*before, *after}) == 3


def test_a_run_counts_and_quarantines_pictures_without_a_face(root: Root, write_face: Callable[..., Path]) -> None:
    samples = [
        Sample(id="c/face", corpus="c", image=HOPPER),
        Sample(id="c/noise", corpus="c", image=write_face("noise.png")),
    ]
    for policy, quarantined, remarked in (("whole-frame", [], 1), ("quarantine", [("c/noise", "no_face")], 0)):
        config = ResNetConfig(depth=18, size=32, weights="random", face="haar", no_face=policy)
        resnet = ResNet(config, Inputs(root=root))
        books = extract(resnet, samples, root, Runtime(device="cpu"), report=Silent())
        store = FeatureStore(root, resnet.identity)
        assert (books.extracted, books.quarantined) == (2 - len(quarantined), len(quarantined))
        assert [(row.sample_id, row.reason) for row in store.quarantine_log()] == quarantined
        assert sum(seal.receipt.counts.get("no_face", 0) for seal in store.seals()) == remarked


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"face": "harr"}, "did you mean 'haar'"),
        ({"face_margin": -0.1}, "face_margin"),
        ({"no_face": "drop"}, "no_face should be one of whole-frame, quarantine"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ResNetConfig(weights="random", **settings)


@pytest.mark.real_data
def test_the_ravdess_actor_is_found_in_every_frame(real_data: Path, root: Root) -> None:
    resnet = ResNet(ResNetConfig(depth=18, size=64, weights="random", face="haar"), Inputs(root=root))
    clip = real_data / "clips/ravdess/01-01-01-01-01-01-01.mp4"
    faces = resnet.decode(Sample(id="c/1", corpus="c", video=clip), "")
    assert (len(faces), faces.faceless) == (8, 0)
