"""Two small corpora and a study on each, shared by the tests of this room: drawn faces, and people who talk."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
from PIL import Image

from flows.cli import main
from flows.jobs import Options, extract_job
from fusion.latency import time_calls

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
epoch_steps = 1
learning_rate = 1e-3
"""


def _draw(path: Path, label: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(90, 20, (48, 48))
    band = CLASSES.index(label) * 16
    pixels[band : band + 16] += 90
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session", autouse=True)
def few_calls() -> Iterator[None]:
    """Studies time their models by a few calls: here nobody reads the times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cast(dict[str, Any], time_calls.__kwdefaults__), "seconds", 0.0)
        yield


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


TALKERS = """
name = "talkers"
seed = 1

[corpus]
kind = "table"
path = "talkers.csv"
columns.id = "id"
columns.text = "text"
columns.audio = "audio"
columns.image = "image"
columns.start_ms = "start"
columns.end_ms = "end"
columns.split = "split"
labels = { emotion = "emotion" }
classes = { emotion = ["joy", "anger"] }
groups = { speaker = "speaker" }

[study]
groups = ["speaker"]

[protocol]
repeats = 2

[features.text]
extractor = "bert"

[features.speech]
extractor = "lstm_cnn"
filters = 4
hidden = 4
upstream = { n_mels = 64 }
train = { epochs = 1 }

[features.image]
extractor = "resnet"
depth = 18
size = 32
weights = "random"

[heads.unimodal]
"""


@dataclass
class Talkers:
    """A corpus of 16 samples of 8 speakers, the first 4 reserved for the speech encoder; change it, then `save`."""

    folder: Path
    root: Path
    rows: list[dict[str, str]]
    study: str = TALKERS

    @property
    def path(self) -> Path:
        return self.folder / "study.toml"

    def replace(self, old: str, new: str) -> None:
        assert old in self.study
        self.study = self.study.replace(old, new)

    def save(self) -> Path:
        with (self.folder / "talkers.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        self.path.write_text(self.study, encoding="utf-8")
        return self.path

    def copy_to(self, folder: Path) -> "Talkers":
        """Return a copy, of the root too, that may be changed."""
        return Talkers(
            folder=Path(shutil.copytree(self.folder, folder / "talkers")),
            root=Path(shutil.copytree(self.root, folder / "talkers-root")),
            rows=[dict(row) for row in self.rows],
            study=self.study,
        )


@pytest.fixture(scope="session")
def extracted_talkers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talkers]:
    """The talkers, every feature of their study extracted; their root is not to be changed."""
    folder = tmp_path_factory.mktemp("talkers")
    rng = np.random.default_rng(0)
    rows = []
    for speaker in range(8):
        for label in ("joy", "anger"):
            name = f"{speaker}_{label}"
            time = np.arange(3200 + 160 * speaker) / 16000
            soundfile.write(folder / f"{name}.wav", 0.3 * np.sin(2 * np.pi * (200 + 50 * len(rows)) * time), 16000)
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{name}.png")
            rows.append(
                {
                    "id": name,
                    "text": f"caf\u00e9 number {speaker}, it's {label}",
                    "audio": f"{name}.wav",
                    "image": f"{name}.png",
                    "start": "",
                    "end": "",
                    "split": "encoder" if speaker < 4 else "",
                    "emotion": label,
                    "speaker": f"s{speaker}",
                }
            )
    made = Talkers(folder=folder, root=tmp_path_factory.mktemp("runs"), rows=rows)
    extract_job(str(made.save()), Options(root=str(made.root), device="cpu", quiet=True))
    there = sorted(made.root.rglob("*"))
    yield made
    assert sorted(made.root.rglob("*")) == there, "a test has changed the root that all share: use a copy"


@pytest.fixture
def talkers(extracted_talkers: Talkers, tmp_path: Path) -> Talkers:
    """A copy of the talkers in another folder, to be changed, and of their root, which holds all rows."""
    return extracted_talkers.copy_to(tmp_path)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def affuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Call the command as the console script does, in this process."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["affuse", *arguments])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return call


@pytest.fixture
def result(affuse: Callable[..., Done]) -> Callable[..., Any]:
    """Call with --json and --root and return the object on stdout."""

    def call(*arguments: str, root: Path) -> Any:
        done = affuse(*arguments, "--json", "--root", str(root))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call
