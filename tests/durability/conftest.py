import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from extractors.extractor import Inputs
from extractors.speech.acoustic import Acoustic, AcousticConfig
from stores.features import FeatureStore
from stores.root import Root

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("extract_clips.py")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of 24 recordings of a tenth of a second, one of which is none."""
    folder = tmp_path / "clips"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(23):
        soundfile.write(folder / f"{number:02}.wav", rng.normal(0, 0.1, 1600), 16000)
    (folder / "99.wav").write_bytes(b"RIFF, but no recording")
    return folder


@pytest.fixture
def start() -> Callable[..., subprocess.Popen]:
    """Start an extraction in a process of its own; `prefix` is a command to run it under, `without` are variables of
    the environment it does not get."""

    def started(
        root: Path | str, clips: Path, *settings: str, prefix: tuple[str, ...] = (), without: tuple[str, ...] = ()
    ) -> subprocess.Popen:
        command = [*prefix, sys.executable, str(SCRIPT), str(root), str(clips), *settings]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
        environment = {name: value for name, value in environment.items() if name not in without}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT, env=environment
        )

    return started


@pytest.fixture
def extract_clips(start: Callable[..., subprocess.Popen]) -> Callable[..., dict[str, int] | str]:
    """Extract and return the books, or the error it ended with."""

    def extracted(*arguments: object, **more: object) -> dict[str, int] | str:
        process = start(*arguments, **more)
        out, error = process.communicate(timeout=120)
        return json.loads(out) if process.returncode == 0 else error

    return extracted


@pytest.fixture
def rows() -> Callable[[Path | str], dict[str, str]]:
    """Return key -> value digest of what a reader sees."""

    def read(root: Path | str) -> dict[str, str]:
        store = FeatureStore(Root(root), Acoustic(AcousticConfig(), Inputs(root=Root(root))).identity)
        return {key: place.digest for key, place in store.index().items()}

    return read
