from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from extractors._ahead import decoded
from extractors.extractor import Inputs, View
from extractors.speech.acoustic import Acoustic, AcousticConfig, VoiceViews, revoiced, stretched
from stores.errors import ConfigError
from stores.root import Root
from stores.samples import Sample


def sine(n: int, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(n) / 16000)).astype(np.float32)


def peak(sound: np.ndarray) -> float:
    """Return the frequency of the highest peak in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n=1 << 18))) * 16000 / (1 << 18))


def view_of(mono: np.ndarray, seed: int = 0, **settings: float) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return revoiced(mono, VoiceViews(**settings), generator, resampler="soxr_hq", least=400)


@pytest.mark.parametrize("semitones", [-12.0, -2.0, -0.5, 0.0, 2.0, 7.0])
@pytest.mark.parametrize("size", [14400, 16000, 20000])
def test_pitch_and_duration_change_as_asked_and_by_themselves(semitones: float, size: int) -> None:
    found = stretched(sine(16000), size, semitones=semitones, resampler="soxr_hq")
    assert found.dtype == np.float32
    assert found.shape == (size,)
    assert peak(found) == pytest.approx(440 * 2 ** (semitones / 12), rel=2e-3)
    middle = slice(size // 4, -size // 4)
    assert np.std(found[middle]) == pytest.approx(np.std(sine(16000)), rel=0.4)


def test_draws_stay_within_the_settings_and_go_both_ways() -> None:
    sizes = [len(view_of(sine(8000), seed, pitch=0, stretch=0.25, noise=0)) for seed in range(24)]
    assert 6000 <= min(sizes) < 7000
    assert 9000 < max(sizes) <= 10000
    peaks = [peak(view_of(sine(8000), seed, pitch=2, stretch=0, noise=0)) for seed in range(12)]
    assert 440 * 2 ** (-2 / 12) - 2 <= min(peaks) < 430
    assert 450 < max(peaks) <= 440 * 2 ** (2 / 12) + 2


@pytest.mark.parametrize("decibels", [3.0, 20.0, 40.0])
def test_noise_has_the_asked_distance_from_the_voice(decibels: float) -> None:
    voice = sine(16000)
    added = view_of(voice, pitch=0, stretch=0, noise=decibels).astype(float) - voice
    assert 10 * np.log10(np.mean(voice.astype(float) ** 2) / np.mean(added**2)) == pytest.approx(decibels, abs=0.01)
    assert np.abs(np.fft.rfft(added))[1:].std() == pytest.approx(0.463 * np.sqrt(np.sum(added**2)), rel=0.05)  # white


def test_settings_of_zero_leave_a_recording_as_it_is() -> None:
    assert view_of(sine(5000), pitch=0, stretch=0, noise=0).tobytes() == sine(5000).tobytes()


@pytest.mark.parametrize("n", [400, 1023, 4000])
def test_views_of_short_and_silent_recordings_are_finite_and_a_window_long(n: int) -> None:
    for seed in range(8):
        for mono in (sine(n), np.zeros(n, np.float32)):
            found = view_of(mono, seed, pitch=12, stretch=0.5, noise=10)
            assert found.dtype == np.float32
            assert len(found) >= 400
            assert np.isfinite(found).all()


@pytest.mark.parametrize("wrong", [{"pitch": 13.0}, {"stretch": 0.6}, {"noise": -1.0}, {"pitch": float("nan")}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} of a view should be 0 to"):
        VoiceViews(**wrong)


def test_a_view_is_the_same_whenever_it_is_made_and_no_other(root: Root, write_tone: Callable[..., Path]) -> None:
    def made(path: str, number: int = 1, **settings: float) -> tuple[str, bytes]:
        view = View(settings=VoiceViews(**settings), number=number)
        acoustic = Acoustic(AcousticConfig(), Inputs(root=root, view=view))
        sample = Sample(id="c/1", corpus="c", audio=tones[path])
        [row] = acoustic.embed([decoded(acoustic, sample, sample.key("speech"))])
        assert acoustic.identity.spec.checked(row, sample_id="c/1") is not None
        return acoustic.identity.id, row.tobytes()

    tones = {"low": write_tone("low.wav", 0.5, hertz=200), "high": write_tone("high.wav", 0.5, hertz=201)}
    first = made("low")
    assert made("low") == first
    for other in (made("low", 2), made("low", pitch=1.0), made("low", stretch=0.2), made("low", noise=20.0)):
        assert other[0] != first[0]
        assert other[1] != first[1]
    assert made("high")[0] == first[0]
    assert made("high")[1] != first[1]
    plain = Acoustic(AcousticConfig(), Inputs(root=root))
    assert plain.identity.id != first[0]
