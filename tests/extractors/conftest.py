"""Small recordings of every kind, written by the test that needs them."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from extractors.extractor import Extractor, Inputs, Runtime, find_extractor
from extractors.run import extract
from extractors.training import TrainConfig, plan_recipe, train
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

SENTENCES = (
    "No.",
    "I can't believe you said that to her, in front of everyone, at the party.",
    "You’re late again!",
    "Kids are talking by the door",
    "Well, that is that.",
    "What a wonderful, wonderful day this has been for all of us",
)
RUNTIME = Runtime(device="cpu", batch_size=3)
SMALL = {"resnet": {"depth": 18, "size": 32, "weights": "random"}}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "runs")


@pytest.fixture
def write_tone(tmp_path: Path) -> Callable[..., Path]:
    def write(
        name: str,
        seconds: float = 0.3,
        *,
        hertz: float = 220.0,
        rate: int = 16000,
        level: float = 0.3,
        channels: int = 1,
    ) -> Path:
        time = np.arange(round(seconds * rate)) / rate
        sound = level * np.sin(2 * np.pi * hertz * time) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time)) / 1.5
        path = tmp_path / name
        soundfile.write(path, np.repeat(sound[:, None], channels, axis=1), rate)
        return path

    return write


@pytest.fixture
def write_face(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, seed: int = 0, *, low: int = 0, high: int = 256, size: tuple[int, int] = (48, 40)) -> Path:
        pixels = np.random.default_rng(seed).integers(low, high, (*size, 3), np.uint8)
        path = tmp_path / name
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    """Write an mp4 of gray frames, one brightness each at the given times in s, with a tone beside them."""

    def write(
        name: str, brightness: list[int], times: list[float], *, sound: np.ndarray | None = None, rate: int = 16000
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            if brightness:
                video = container.add_stream("libx264", rate=50, options={"qp": "0"})
                video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
                video.codec_context.time_base = Fraction(1, 1000)
            if sound is not None:
                audio = container.add_stream("aac", rate=rate, layout="mono")
            for value, time in zip(brightness, times, strict=True):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64), value, np.uint8), format="gray")
                frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
                container.mux(video.encode(frame.reformat(format="yuv420p")))
            if sound is not None:
                block = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
                block.sample_rate, block.pts = rate, 0
                container.mux(audio.encode(block))
                container.mux(audio.encode(None))
            if brightness:
                container.mux(video.encode(None))
        return path

    return write


@pytest.fixture
def people(write_tone: Callable[..., Path], write_face: Callable[..., Path]) -> list[Sample]:
    """Six samples of two classes that pitch and brightness tell apart, three speakers with one of each."""
    return [
        Sample(
            id=f"c/{i}",
            corpus="c",
            text=sentence,
            audio=write_tone(f"{i}.wav", 0.2 + 0.15 * i, hertz=(150, 900)[i % 2] + i),
            image=write_face(f"{i}.png", i, low=(0, 156)[i % 2], high=(100, 256)[i % 2]),
            labels={"emotion": ("calm", "joy")[i % 2]},
            groups={"speaker": f"s{i // 2}"},
        )
        for i, sentence in enumerate(SENTENCES)
    ]


@pytest.fixture
def make(root: Root, people: list[Sample]) -> Callable[..., Extractor]:
    """Return an extractor by name, with its upstream extracted and its encoder trained on `people`."""

    def build(modality: str, name: str, *, numerics: str = "standard", **settings: object) -> Extractor:
        kind = find_extractor(modality, name)
        config = kind.config_type(**{**SMALL.get(name, {}), **settings})
        upstream = None
        if kind.upstream is not None:
            before = build(modality, kind.upstream)
            extract(before, people, root, RUNTIME, report=Silent())
            upstream = FeatureStore(root, before.identity)
        encoder = None
        if kind.needs_encoder(config):
            plan = TrainConfig(epochs=2, batch_size=4)
            recipe = plan_recipe(
                kind,
                config,
                plan,
                people,
                scheme="emotion",
                classes=["calm", "joy"],
                groups=["speaker"],
                upstream=upstream,
            )
            encoder = train(kind, recipe, people, root, RUNTIME, config=config, report=Silent())
        return kind(config, Inputs(root=root, numerics=numerics, upstream=upstream, encoder=encoder))

    return build


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; tests that use it are marked `real_data`."""
    folder = os.environ.get("AFFUSE_REAL_DATA")
    if not folder:
        pytest.skip("AFFUSE_REAL_DATA names no folder")
    return Path(folder)
