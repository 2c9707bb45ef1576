from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from extractors.speech._loading import load_sound
from stores.errors import MediaError
from stores.samples import Sample


def sample(path: Path, **more: object) -> Sample:
    return Sample(id="c/1", corpus="c", **{"audio": path, **more})


def load_mono(one: Sample, rate: int) -> np.ndarray:
    return load_sound(one, rate).mono


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(16000 * seconds)) / 16000)


def reason(bad: Sample) -> str:
    with pytest.raises(MediaError) as caught:
        load_mono(bad, 16000)
    assert bad.id in str(caught.value)
    return caught.value.reason


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "two.wav", np.array([[0.5, 0.25], [0.5, -0.5]] * 10), 16000, subtype="FLOAT")
    assert load_mono(sample(tmp_path / "two.wav"), 16000)[:2] == pytest.approx([0.375, 0.0])


def test_the_sound_track_of_a_video_is_read(write_video: Callable[..., Path]) -> None:
    path = write_video("clip.mp4", [50] * 50, [i / 50 for i in range(50)], sound=tone(1.0))
    found = load_mono(Sample(id="c/1", corpus="c", video=path), 16000)
    assert abs(len(found) - 16000) <= 1024  # whole AAC frames
    assert np.corrcoef(found[1000:15000], tone(1.0)[1000:15000])[0, 1] > 0.99


def test_a_segment_of_a_sound_track_is_where_it_says(write_video: Callable[..., Path]) -> None:
    sound = np.concatenate([tone(2.0, 300), tone(1.0, 900), tone(1.0, 300)])
    path = write_video("long.mp4", [], [], sound=sound)
    found = load_mono(Sample(id="c/1", corpus="c", video=path, start_ms=2000, end_ms=3000), 16000)
    assert len(found) == 16000
    spectrum = np.abs(np.fft.rfft(found[200:-200]))
    assert np.argmax(spectrum) == pytest.approx(900 * 15600 / 16000, abs=1)
    assert np.corrcoef(found[500:-500], sound[32500:47500])[0, 1] > 0.98


def test_a_file_that_is_no_recording_is_undecodable(tmp_path: Path) -> None:
    for name in ("noise.wav", "noise.flac", "noise.mp3", "noise.mp4"):
        (tmp_path / name).write_bytes(b"this is not sound" * 100)
        assert reason(sample(tmp_path / name)) == "undecodable"


def test_a_video_without_sound_says_so(write_video: Callable[..., Path]) -> None:
    path = write_video("mute.mp4", [50] * 5, [i / 50 for i in range(5)])
    assert reason(Sample(id="c/1", corpus="c", video=path)) == "no_audio_track"


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan] * 500), 16000, subtype="FLOAT")
    assert reason(sample(tmp_path / "nan.wav")) == "not_finite"


@pytest.mark.real_data
def test_the_sound_of_the_ravdess_clip_is_that_of_its_wav(real_data: Path) -> None:
    clip = real_data / "clips/ravdess/01-01-01-01-01-01-01.mp4"
    wav = real_data / "speech/ravdess/01-01-01-01-01-01-01.wav"
    heard, wanted = load_mono(Sample(id="c/1", corpus="c", video=clip), 16000), load_mono(sample(wav), 16000)
    assert abs(len(heard) - len(wanted)) < 1600
    n = min(len(heard), len(wanted))
    assert np.corrcoef(heard[:n], wanted[:n])[0, 1] > 0.99


def test_a_file_that_cannot_be_opened_is_not_called_undecodable(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        load_mono(Sample(id="c/1", corpus="c", audio=tmp_path / "gone.wav"), 16000)
    assert (caught.value.stage, caught.value.reason) == ("read", "unreadable_file")


def write_long(path: Path, seconds: int, rate: int = 1000) -> Sample:
    soundfile.write(path, np.zeros(seconds * rate, np.int16), rate)
    return sample(path)


@pytest.mark.parametrize("name", ["long.flac", "long.wav"])
def test_more_than_an_hour_is_too_large_and_a_segment_of_it_is_not(tmp_path: Path, name: str) -> None:
    long = write_long(tmp_path / name, 3601)
    assert reason(long) == "too_large"
    assert reason(replace(long, end_ms=3_600_500)) == "too_large"
    assert len(load_mono(replace(long, start_ms=1000), 1000)) == 3_600_000
    assert len(load_mono(replace(long, start_ms=3_600_000), 1000)) == 1000


def test_a_container_is_read_no_further_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "long.ogg", tone(5.0), 16000)
    assert len(load_mono(sample(tmp_path / "long.ogg"), 16000)) >= 80000
    monkeypatch.setattr("extractors.speech._mono.LONGEST_S", 4)
    monkeypatch.setattr("extractors.speech._loading.isolated", lambda function, *args: function(*args))
    assert reason(sample(tmp_path / "long.ogg")) == "too_large"
    assert len(load_mono(sample(tmp_path / "long.ogg", start_ms=2500, end_ms=4500), 16000)) == 32000


def test_a_recording_is_read_in_blocks_that_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (5000, 3))
    for name in ("noise.wav", "noise.flac"):
        soundfile.write(tmp_path / name, noise, 16000)
        at_once = load_mono(sample(tmp_path / name, start_ms=10, end_ms=290), 16000)
        with monkeypatch.context() as patch:
            patch.setattr("extractors.speech._loading.BLOCK", 1000)
            found = load_mono(sample(tmp_path / name, start_ms=10, end_ms=290), 16000)
        np.testing.assert_array_equal(found, at_once)
        assert len(found) == 4480


@pytest.mark.parametrize(("rate", "channels"), [(999, 1), (1_000_000, 1), (16000, 65)])
def test_rates_and_channels_that_no_recording_has_are_named(tmp_path: Path, rate: int, channels: int) -> None:
    soundfile.write(tmp_path / "odd.wav", np.zeros((2000, channels)), rate)
    assert reason(sample(tmp_path / "odd.wav")) == "undecodable"
    with pytest.raises(MediaError, match=r"odd.wav says \d+ (Hz|channels); expected 1"):
        load_mono(sample(tmp_path / "odd.wav"), 16000)


def write_encoded(path: Path, codec: str, sound: np.ndarray, *, rate: int = 16000, clock: int = 0) -> Sample:
    """Write the sound on a clock that begins at `clock` s."""
    with av.open(str(path), "w", options={"output_ts_offset": str(clock)}) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for fitting in av.AudioResampler(format=stream.format, layout="mono", rate=rate).resample(frame):
            container.mux(stream.encode(fitting))
        container.mux(stream.encode(None))
    return sample(path)


@pytest.mark.parametrize(("name", "codec"), [("late.mkv", "pcm_s16le"), ("late.mp4", "aac"), ("late.ts", "mp2")])
def test_a_segment_is_measured_from_the_beginning_of_the_recording(tmp_path: Path, name: str, codec: str) -> None:
    late = write_encoded(tmp_path / name, codec, np.concatenate([0 * tone(2.0), tone(1.0), 0 * tone(1.0)]), clock=10)
    first, third = replace(late, end_ms=1000), replace(late, start_ms=2000, end_ms=3000)
    quiet, loud = load_mono(first, 16000), load_mono(third, 16000)
    assert (len(quiet), len(loud)) == (16000, 16000)
    assert abs(quiet).max() < 0.01
    assert np.sqrt(np.mean(loud[1600:-1600] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_the_delay_of_an_mp3_encoder_is_no_sound(tmp_path: Path) -> None:
    wanted = np.concatenate([tone(0.5, 300), tone(1.5, 900)])
    sound = write_encoded(tmp_path / "tone.mp3", "mp3", wanted)
    first = load_mono(replace(sound, start_ms=0, end_ms=1000), 16000)
    assert len(first) == 16000
    assert np.corrcoef(first, wanted[:16000])[0, 1] > 0.99
    assert np.corrcoef(load_mono(replace(sound, start_ms=450, end_ms=550), 16000), wanted[7200:8800])[0, 1] > 0.98
