import csv
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from extractors.extractor import Inputs
from extractors.speech.acoustic import Acoustic, AcousticConfig, frames
from stores.errors import ConfigError, MediaError
from stores.root import Root
from stores.samples import Sample


def by_librosa(mono: np.ndarray) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=mono, sr=16000, n_fft=1024, win_length=400, hop_length=160, n_mels=128, pad_mode="constant"
    )
    level = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=80.0)
    return np.concatenate([librosa.feature.mfcc(S=level, n_mfcc=40), level]).T


def row(root: Root, path: Path, **segment: int) -> np.ndarray:
    acoustic = Acoustic(AcousticConfig(), Inputs(root=root))
    sample = Sample(id="c/1", corpus="c", audio=path, **segment)
    [found] = acoustic.embed([acoustic.decode(sample, "")])
    return found


def noise(n: int, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(n).standard_normal(n)).astype(np.float32)


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
@pytest.mark.parametrize("n", [400, 401, 1600, 16000, 20011])
@pytest.mark.parametrize("level", [0.3, 1e-4, 1e-7])
def test_frames_equal_librosa(n: int, level: float) -> None:
    found = frames(noise(n, level), AcousticConfig())
    assert found.dtype == np.float32
    assert found.shape == (1 + n // 160, 168)
    assert np.abs(found - by_librosa(noise(n, level))).max() < 5e-3


def test_silence_is_minus_100_db_everywhere() -> None:
    found = frames(np.zeros(1600, np.float32), AcousticConfig())
    assert np.allclose(found[:, 40:], -100, atol=1e-4)
    assert np.allclose(found[:, 0], -100 * np.sqrt(128), atol=1e-3)
    assert np.allclose(found[:, 1:40], 0, atol=1e-3)


def test_a_recording_at_another_rate_is_resampled_as_librosa_does(root: Root, write_tone: Callable[..., Path]) -> None:
    path = write_tone("stereo.flac", 0.5, rate=44100, channels=2)
    sound, rate = soundfile.read(path, dtype="float32")
    wanted = by_librosa(librosa.resample(sound.mean(axis=1), orig_sr=rate, target_sr=16000, res_type="soxr_hq"))
    assert np.abs(row(root, path) - wanted).max() < 5e-3


def test_the_resampler_is_a_setting_and_part_of_the_identity(root: Root, write_tone: Callable[..., Path]) -> None:
    sample = Sample(id="c/1", corpus="c", audio=write_tone("high.wav", 0.5, rate=44100, hertz=7900))
    found = {}
    for resampler in ("soxr_vhq", "soxr_hq", "soxr_mq"):
        acoustic = Acoustic(AcousticConfig(resampler=resampler), Inputs(root=root))
        found[acoustic.identity.id] = acoustic.decode(sample, "").tobytes()
    assert len(found) == len(set(found.values())) == 3
    with pytest.raises(ConfigError, match="resampler should be one of soxr_vhq"):
        AcousticConfig(resampler="linear")


def test_a_segment_is_cut_before_anything_else(root: Root, tmp_path: Path) -> None:
    sound = noise(16000)
    soundfile.write(tmp_path / "whole.wav", sound, 16000, subtype="FLOAT")
    found = row(root, tmp_path / "whole.wav", start_ms=250, end_ms=500)
    assert np.array_equal(found, frames(sound[4000:8000], AcousticConfig()))


@pytest.mark.parametrize(
    ("n", "segment"),
    [
        (0, {}),
        (399, {}),
        (16000, {"start_ms": 990}),
        (16000, {"start_ms": 2000}),
        (16000, {"start_ms": 5, "end_ms": 5}),
    ],
)
def test_less_than_a_window_of_sound_is_empty(n: int, segment: dict[str, int], root: Root, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", noise(n), 16000)
    with pytest.raises(MediaError) as caught:
        row(root, tmp_path / "short.wav", **segment)
    assert caught.value.reason == "empty_media"


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="hop <= window <= n_fft"):
        AcousticConfig(hop=500)
    with pytest.raises(ConfigError, match="n_mfcc <= n_mels"):
        AcousticConfig(n_mfcc=200)


@pytest.mark.real_data
def test_real_recordings_equal_librosa(real_data: Path, root: Root) -> None:
    with (real_data / "manifest_speech.csv").open(newline="") as file:
        paths = [real_data / line["path"] for line in csv.DictReader(file)]
    ravdess = [path for path in paths if path.parent.name == "ravdess"]
    for path in [*paths[::25], *ravdess]:
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = sound.mean(axis=1)
        wanted = by_librosa(librosa.resample(mono, orig_sr=rate, target_sr=16000, res_type="soxr_hq"))
        assert np.abs(row(root, path) - wanted).max() < 5e-3, path.name
