import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile

from extractors.extractor import Inputs
from extractors.speech._loading import Sound
from extractors.speech.acoustic import Acoustic, AcousticConfig, _derivatives, frames
from stores.errors import ConfigError, MediaError
from stores.root import Root
from stores.samples import Sample

SPECTRUM = {"sr": 16000, "n_fft": 1024, "win_length": 400, "hop_length": 160, "n_mels": 128, "pad_mode": "constant"}


def by_librosa(mono: np.ndarray, **changes: object) -> np.ndarray:
    power = librosa.feature.melspectrogram(y=mono, **{**SPECTRUM, **changes})
    level = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=80.0)
    return np.concatenate([librosa.feature.mfcc(y=mono, n_mfcc=40, **{**SPECTRUM, **changes}), level]).T


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


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(np.full(16000, 1e-7), id="nearly nothing"),
        pytest.param(np.full(16000, 0.5), id="a constant"),
        pytest.param(np.sign(np.sin(np.arange(16000) / 9)), id="clipped"),
        pytest.param(np.concatenate([np.zeros(8000), np.full(8000, 32767 / 32768)]), id="silence, then full scale"),
        pytest.param(np.eye(1, 16000, 8000)[0], id="one click"),
        pytest.param(np.full(16000, 1e-30), id="below what a square can hold"),
    ],
)
def test_odd_sounds_equal_librosa_and_stay_finite(sound: np.ndarray) -> None:
    found = frames(sound.astype(np.float32), AcousticConfig())
    assert np.isfinite(found).all()
    assert found[:, 40:].min() >= -100.001
    assert np.abs(found - by_librosa(sound.astype(np.float32))).max() < 5e-3


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
@pytest.mark.parametrize("n", [400, 16000])
@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({"fmin": 50.0, "fmax": 7600.0}, {"fmin": 50.0, "fmax": 7600.0}),
        ({"mel_scale": "htk"}, {"htk": True}),
        ({"padding": "reflect"}, {"pad_mode": "reflect"}),
    ],
)
def test_what_frames_are_made_of_is_a_setting(n: int, settings: dict[str, Any], theirs: dict[str, Any]) -> None:
    found = frames(noise(n), AcousticConfig(**settings))
    assert np.abs(found - by_librosa(noise(n), **theirs)).max() < 5e-3
    assert np.abs(found - by_librosa(noise(n))).max() > 0.1


@pytest.mark.parametrize("deltas", [1, 2])
@pytest.mark.parametrize(("n", "mode"), [(16000, "interp"), (1280, "interp"), (1279, "nearest"), (400, "nearest")])
def test_deltas_are_those_of_librosa_between_mfcc_and_bands(n: int, mode: str, deltas: int) -> None:
    plain, found = frames(noise(n), AcousticConfig()), frames(noise(n), AcousticConfig(deltas=deltas))
    assert found.shape == (1 + n // 160, 168 + 40 * deltas)
    assert np.array_equal(found[:, :40], plain[:, :40])
    assert np.array_equal(found[:, -128:], plain[:, 40:])
    for order in range(1, deltas + 1):
        wanted = librosa.feature.delta(plain[:, :40].T, width=9, order=order, mode=mode).T
        assert np.abs(found[:, 40 * order : 40 * (order + 1)] - wanted).max() < 1e-3


def test_the_delta_of_a_ramp_is_its_slope() -> None:
    found = list(_derivatives(np.arange(24, dtype=np.float32).reshape(2, 12) * 3, 2))
    assert np.allclose(found, [np.full((2, 12), 3), np.zeros((2, 12))], atol=1e-5)


def test_deltas_are_in_the_spec_and_change_the_identity(root: Root) -> None:
    features = [Acoustic(AcousticConfig(deltas=deltas), Inputs(root=root)).identity for deltas in (0, 1, 2)]
    assert [feature.spec.dim for feature in features] == [168, 208, 248]
    assert len({feature.id for feature in features}) == 3


def test_a_row_is_the_same_bytes_whatever_its_neighbours(root: Root) -> None:
    clips = [Sound(noise(n)) for n in (400, 799, 5000, 16000, 90000, 33333)]  # 90000: more frames than a block
    acoustic = Acoustic(AcousticConfig(), Inputs(root=root))
    alone = [row.tobytes() for clip in clips for row in acoustic.embed([clip])]
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(clips))
        together = acoustic.embed([clips[i] for i in order])
        assert [row.tobytes() for row in together] == [alone[i] for i in order]


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
        found[acoustic.identity.id] = acoustic.decode(sample, "").mono.tobytes()
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
    with pytest.raises(ConfigError, match="fmin < fmax <= rate / 2, got 0, 8000, 8000"):
        AcousticConfig(rate=8000)
    with pytest.raises(ConfigError, match="deltas should be one of 0, 1, 2"):
        AcousticConfig(deltas=3)
    with pytest.raises(ConfigError, match="padding should be one of zero, reflect"):
        AcousticConfig(padding="wrap")
    with pytest.raises(ConfigError, match="mel_scale should be one of slaney, htk"):
        AcousticConfig(mel_scale="bark")


@pytest.mark.real_data
def test_all_real_recordings_equal_librosa(real_data: Path, root: Root) -> None:
    with (real_data / "manifest_speech.csv").open(newline="") as file:
        paths = [real_data / line["path"] for line in csv.DictReader(file)]
    seen = set()
    for path in paths:
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        wanted = by_librosa(librosa.resample(sound.mean(axis=1), orig_sr=rate, target_sr=16000, res_type="soxr_hq"))
        assert np.abs(row(root, path) - wanted).max() < 5e-3, path.name
        seen.add((path.parent.name, rate, sound.shape[1]))
    assert seen == {("nemo", 24000, 1), ("emodb", 16000, 1), ("ravdess", 48000, 2)}
