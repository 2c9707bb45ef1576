from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from extractors._ahead import decoded
from extractors.extractor import Inputs, View
from extractors.image._views import FaceViews, seen_otherwise, shifted
from extractors.image.resnet import ResNet, ResNetConfig
from stores.errors import ConfigError
from stores.root import Root
from stores.samples import Sample

NOTHING = {"rotation": 0.0, "crop": 0.0, "flip": False, "brightness": 0.0, "noise": 0.0}
RAMP = np.tile(np.arange(0, 128, 4, dtype=np.uint8), (32, 1))  # brighter to the right


def view_of(faces: np.ndarray, seed: int = 0, **settings: object) -> np.ndarray:
    return seen_otherwise(faces, FaceViews(**{**NOTHING, **settings}), np.random.default_rng(seed))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 33, 33), (2, 32, 32, 3)])
def test_settings_of_zero_leave_pictures_as_they_are(shape: tuple[int, ...]) -> None:
    found = view_of(noise(*shape))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, noise(*shape))


def test_a_flip_mirrors_every_other_view() -> None:
    faces = noise(2, 32, 32, 3)
    found = [view_of(faces, seed, flip=True) for seed in range(24)]
    mirrored = [bool((view == faces[:, :, ::-1]).all()) for view in found]
    assert all(flipped or (view == faces).all() for view, flipped in zip(found, mirrored, strict=True))
    assert 6 <= sum(mirrored) <= 18


def test_brightness_is_one_factor_for_all_frames_within_its_range() -> None:
    faces = np.full((2, 32, 32), 100, np.uint8)
    levels = {int(level) for seed in range(40) for level in np.unique(view_of(faces, seed, brightness=0.3))}
    assert min(levels) in range(70, 80)
    assert max(levels) in range(121, 131)
    assert all(len(np.unique(view_of(faces, seed, brightness=0.3))) == 1 for seed in range(5))
    assert (view_of(np.full((1, 32, 32), 250, np.uint8), 3, brightness=1.0) <= 255).all()


def test_noise_has_its_deviation_and_is_another_in_each_frame() -> None:
    found = view_of(np.full((2, 64, 64), 128, np.uint8), noise=8.0).astype(float)
    assert found.mean() == pytest.approx(128, abs=0.5)
    assert found.std() == pytest.approx(8, rel=0.05)
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 0.1


def test_a_quarter_turn_is_exact() -> None:
    faces = noise(1, 31, 31)
    settings = FaceViews(**{**NOTHING, "rotation": 90.0})

    class Most:
        def uniform(self, *_: object) -> float:
            return 1.0

    found = seen_otherwise(faces, settings, Most())  # type: ignore[arg-type]
    inside = found[:, 1:-1, 1:-1].astype(int)
    assert np.abs(inside - np.rot90(faces, axes=(1, 2))[:, 1:-1, 1:-1]).max() <= 1


def test_rotation_goes_both_ways_and_no_further_than_asked() -> None:
    ramp = RAMP[None].astype(np.uint8)
    angles = []
    for seed in range(30):
        middle = view_of(ramp, seed, rotation=20.0)[0, 12:20, 12:20].astype(float)
        down, right = np.gradient(middle)
        angles.append(np.degrees(np.arctan2(down.mean(), right.mean())))
    assert -21 < min(angles) < -10
    assert 10 < max(angles) < 21


def test_a_crop_is_a_window_of_the_picture_enlarged() -> None:
    slopes = [np.diff(view_of(RAMP[None], seed, crop=0.5)[0].astype(float)).mean() for seed in range(20)]
    assert 2.0 <= min(slopes) < 2.6  # half of the picture at most is cut away
    assert 3.4 < max(slopes) <= 4.0
    for seed in range(20):
        view = view_of(RAMP[None], seed, crop=0.5)
        assert view.min() >= RAMP.min()
        assert view.max() <= RAMP.max()


def test_whole_pixels_are_shifted_and_edges_repeated() -> None:
    seen = set()
    for seed in range(40):
        row = shifted(RAMP[None], 2, np.random.default_rng(seed))[0, 16].astype(int)
        row = row if row[0] < row[-1] else row[::-1]
        moved = int(row[16] - RAMP[16, 16]) // 4
        wanted = RAMP[16].astype(int)[np.clip(np.arange(RAMP.shape[1]) + moved, 0, RAMP.shape[1] - 1)]
        np.testing.assert_array_equal(row, wanted)
        seen.add(moved)
    assert seen == {-2, -1, 0, 1, 2}


def test_all_frames_of_a_video_are_varied_alike() -> None:
    frame = noise(1, 40, 40)
    found = view_of(np.concatenate([frame, frame]), 5, rotation=30.0, crop=0.3, flip=True, brightness=0.4)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != frame[0]).mean() > 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation": 181.0},
        {"crop": 1.0},
        {"brightness": -0.1},
        {"noise": 256.0},
        {"crop": float("nan")},
    ],
)
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} of a view should be 0 to"):
        FaceViews(**wrong)


def test_a_view_is_the_same_whenever_it_is_made_and_no_other(root: Root, write_face: Callable[..., Path]) -> None:
    faces = {seed: write_face(f"{seed}.png", seed) for seed in (0, 1)}

    def made(seed: int = 0, number: int = 1, **settings: object) -> tuple[str, bytes]:
        inputs = Inputs(root=root, view=View(settings=FaceViews(**settings), number=number))
        resnet = ResNet(ResNetConfig(depth=18, size=32, weights="random"), inputs)
        sample = Sample(id="c/1", corpus="c", image=faces[seed])
        return resnet.identity.id, decoded(resnet, sample, sample.key("image")).pixels.tobytes()

    first = made()
    assert made() == first
    others = [made(0, 2), *(made(**change) for change in ({"rotation": 14.0}, {"crop": 0.2}, {"flip": False}))]
    others += [made(**change) for change in ({"brightness": 0.1}, {"noise": 3.0})]
    for other in others:
        assert other[0] != first[0]
        assert other[1] != first[1]
    assert made(1)[0] == first[0]
    assert made(1)[1] != first[1]
    plain = ResNet(ResNetConfig(depth=18, size=32, weights="random"), Inputs(root=root))
    assert plain.identity.id != first[0]
