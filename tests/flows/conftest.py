"""A small corpus of drawn faces in a folder, and a study on it, shared by the tests of this room."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("joy", "anger", "fear")
STUDY = r"""
name = "faces"
seed = 3

[corpus]
kind = "folder"
path = "faces"
medium = "image"
pattern = '(?P<emotion>[a-z]+)_(?P<number>\d+)\.png'
labels = { emotion = "emotion" }
classes = { emotion = ["joy", "anger", "fear"] }

[protocol]
repeats = 3

[features.image]
extractor = "resnet"
depth = 18
size = 32
weights = "random"

[heads.unimodal]

[training]
epochs = 4
learning_rate = 1e-3
"""


def _draw(path: Path, label: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(90, 20, (48, 48))
    band = CLASSES.index(label) * 16
    pixels[band : band + 16] += 90
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def draw_face() -> Callable[[Path, str, int], None]:
    """Write a 48x48 grey picture whose bright band tells the label, with noise."""
    return _draw


@pytest.fixture(scope="session")
def make_faces() -> Callable[[Path], Path]:
    """Fill `<folder>/faces` with 16 pictures of three classes and write `<folder>/study.toml`; return its path."""

    def make(folder: Path) -> Path:
        (folder / "faces").mkdir(parents=True)
        for number in range(16):
            for label in CLASSES:
                _draw(folder / "faces" / f"{label}_{number:02}.png", label, len(label) * 1000 + number)
        study = folder / "study.toml"
        study.write_text(STUDY, encoding="utf-8")
        return study

    return make


@pytest.fixture
def faces_study(tmp_path: Path, make_faces: Callable[[Path], Path]) -> Path:
    return make_faces(tmp_path / "corpus")
