"""A training that is killed goes on from its last checkpoint, to the very same weights."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stores.encoders import EncoderStore
from stores.root import Root

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("train_encoder.py")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        low, shade = ((0, "dark"), (156, "light"))[i % 2]
        Image.fromarray(rng.integers(low, low + 100, (32, 32)).astype(np.uint8)).save(folder / f"{i:02}-{shade}.png")
    return folder


def start(root: Path, faces: Path, every: float) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(root), str(faces), str(every)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT, env=environment)


def test_a_killed_training_ends_as_if_undisturbed(tmp_path: Path, faces: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    calm = start(whole, faces, 1e9)
    encoder = calm.communicate(timeout=120)[0].strip()
    assert calm.returncode == 0

    process = start(killed, faces, 0)
    checkpoint = killed / "encoders" / encoder / "checkpoint.safetensors"
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert encoder not in EncoderStore(Root(killed))

    again = start(killed, faces, 0)
    assert again.communicate(timeout=120)[0].strip() == encoder
    assert not checkpoint.exists()
    stores = [EncoderStore(Root(root)) for root in (whole, killed)]
    ours, theirs = ({n: w.tobytes() for n, w in store.weights(encoder).items()} for store in stores)
    assert ours == theirs
    curves = [[replace(epoch, seconds=0) for epoch in store.curves(encoder)] for store in stores]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 5
