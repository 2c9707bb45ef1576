"""Where sound lies: containers x codecs x what clocks do, found again by correlation in the noise that was written."""

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve

from extractors.speech._loading import Sound, load_sound
from stores.errors import MediaError
from stores.samples import Sample

RATE = 16000
TIMED = {  # containers whose clock tells where sound lies
    "webm": ("webm", "libopus"), "mkv": ("matroska", "pcm_s16le"), "mka": ("matroska", "aac"), "mp4": ("mp4", "aac"),
    "mov": ("mov", "alac"), "ts": ("mpegts", "aac"), "mpg": ("mpeg", "mp2"), "flv": ("flv", "aac"),
    "opus": ("ogg", "libopus"), "oga": ("ogg", "flac"),
}  # fmt: skip
COUNTED = {  # streams without times of their own
    "aac": ("adts", "aac"), "mp3": ("mp3", "libmp3lame"), "flac": ("flac", "flac"), "ac3": ("ac3", "ac3"),
    "amr": ("amr", "libopencore_amrnb"), "g722": ("g722", "g722"), "avi": ("avi", "libmp3lame"), "wav": ("wav", "g722"),
}  # fmt: skip
RATES = {"ac3": 48000, "libopencore_amrnb": 8000}
Packets = Iterable[av.Packet]


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise of the width and the unrest of speech: no two places in it are alike."""
    generator = np.random.default_rng(seed)
    white = np.fft.rfft(generator.standard_normal(round(seconds * RATE)))
    hertz = np.fft.rfftfreq(round(seconds * RATE), 1 / RATE)
    sound = np.fft.irfft(white * ((hertz > 200) & (hertz < 3000)), round(seconds * RATE))
    sound *= np.repeat(generator.uniform(0.1, 1, -(-len(sound) // 1600)), 1600)[: len(sound)]
    return (0.4 * sound / np.abs(sound).max()).astype(np.float32)


NOISE = noise(6.0)


def encoded(
    sound: np.ndarray,
    muxer: str,
    codec: str,
    change: Callable[[Packets], Packets] = list,
    *,
    rate: int | None = None,
    layout: str = "mono",
    clock: int = 0,
    options: dict[str, str] | None = None,
) -> bytes:
    """Return the file of a sound of 16 kHz; `change` is given its packets and says which ones are written, and when."""
    file, rate = BytesIO(), rate or RATES.get(codec, RATE)
    with av.open(file, "w", format=muxer, options={"output_ts_offset": str(clock), **(options or {})}) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        fitting, packets = av.AudioResampler(format=stream.format, layout=layout, rate=rate), []
        for start in range(0, len(sound), 1600):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1600], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            packets += [packet for fit in fitting.resample(frame) for packet in stream.encode(fit)]
        packets += [packet for fit in fitting.resample(None) for packet in stream.encode(fit)]
        for packet in change([*packets, *stream.encode(None)]):
            container.mux(packet)
    return file.getvalue()


def without(first: float, last: float) -> Callable[[Packets], Packets]:
    return lambda packets: [p for p in packets if not first <= p.pts * p.time_base < last]


def unsteady(packets: Packets) -> Iterator[av.Packet]:
    """Yield the packets with times that are up to 5 ms off, as those of live recordings are."""
    generator = np.random.default_rng(1)
    for i, packet in enumerate(packets):
        packet.pts += round(generator.uniform(-0.005, 0.005) / packet.time_base) if i else 0
        packet.dts = packet.pts
        yield packet


def load(folder: Path, content: bytes, *segment: int, name: str = "a.bin") -> Sound:
    (folder / name).write_bytes(content)
    start, end = (*segment, None, None)[:2]
    return load_sound(Sample(id="c/1", corpus="c", audio=folder / name, start_ms=start, end_ms=end), RATE)


def late(found: np.ndarray, at: float, within: np.ndarray = NOISE) -> float:
    """Return by how many ms the 0.4 s of sound found at `at` s come later than where they were written."""
    piece = found[round(at * RATE) :][: round(0.4 * RATE)].astype(np.float64)
    matches = fftconvolve(within, piece[::-1], "valid")
    so_far = np.cumsum([0, *np.square(within, dtype=np.float64)])
    energy = so_far[len(piece) :] - so_far[: -len(piece)]
    alike = matches / np.sqrt(energy * np.sum(piece**2) + 1e-9)
    assert alike.max() > 0.3, "this was never written"
    return 1000 * (at - int(np.argmax(alike)) / RATE)


@pytest.mark.parametrize("kind", [*TIMED, *COUNTED])
def test_any_segment_is_what_was_recorded_then(tmp_path: Path, kind: str) -> None:
    content = encoded(NOISE, *{**TIMED, **COUNTED}[kind])
    name = f"a.{kind}"  # only G.722 needs it
    whole = load(tmp_path, content, name=name)
    delay = late(whole.mono, 0.5)
    assert -1 <= delay <= 80  # of the encoder
    assert len(whole.mono) == pytest.approx(len(NOISE), abs=0.1 * RATE)
    assert not whole.damaged
    for start in (300, 1100, 2345, 5000):
        found = load(tmp_path, content, start, start + 700, name=name)
        assert len(found.mono) == 11200
        assert late(found.mono, 0.1) == pytest.approx(delay - start, abs=2)
    last = load(tmp_path, content, 5500, name=name)
    assert late(last.mono, 0.0) == pytest.approx(delay - 5500, abs=2)
    assert len(last.mono) == pytest.approx(len(whole.mono) - 88000, abs=16)


@pytest.mark.parametrize("kind", TIMED)
def test_a_gap_is_silent_and_moves_nothing(tmp_path: Path, kind: str) -> None:
    delay = late(load(tmp_path, encoded(NOISE, *TIMED[kind])).mono, 0.5)
    content = encoded(NOISE, *TIMED[kind], without(2.0, 3.5))
    whole = load(tmp_path, content)
    assert not whole.damaged
    assert [late(whole.mono, at) for at in (0.5, 1.4, 3.9, 5.0)] == pytest.approx([delay] * 4, abs=10)
    assert not whole.mono[round(2.4 * RATE) : round(3.1 * RATE)].any()
    for start in (1500, 3800, 4900):
        found = load(tmp_path, content, start, start + 800).mono
        assert len(found) == 12800
        assert late(found, 0.0) == pytest.approx(delay - start, abs=10)
    within = load(tmp_path, content, 2700, 4400).mono
    assert not within[: round(0.5 * RATE)].any()
    assert late(within, 1.2) == pytest.approx(delay - 2700, abs=10)


@pytest.mark.parametrize("kind", TIMED)
def test_uneven_clocks_make_no_gaps(tmp_path: Path, kind: str) -> None:
    steady, content = load(tmp_path, encoded(NOISE, *TIMED[kind])), encoded(NOISE, *TIMED[kind], unsteady)
    whole = load(tmp_path, content).mono
    np.testing.assert_allclose(whole[: 5 * RATE], steady.mono[: 5 * RATE], atol=1e-6)
    delay = late(steady.mono, 0.5)
    assert late(load(tmp_path, content, 3210, 4000).mono, 0.2) == pytest.approx(delay - 3210, abs=10)


@pytest.mark.parametrize("kind", ["webm", "mkv", "mp4", "ts", "mpg"])
def test_segments_are_measured_from_the_beginning_whatever_the_clock_says_then(tmp_path: Path, kind: str) -> None:
    content = encoded(NOISE, *TIMED[kind], clock=10)
    delay = late(load(tmp_path, content).mono, 0.5)
    assert -1 <= delay <= 80
    assert late(load(tmp_path, content, 3000, 4000).mono, 0.1) == pytest.approx(delay - 3000, abs=15)


def test_segments_are_found_without_an_index(tmp_path: Path) -> None:
    for muxer, codec, options in (
        ("webm", "libopus", {"live": "1"}),
        ("matroska", "aac", {"live": "1"}),
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    ):
        content = encoded(NOISE, muxer, codec, options=options)
        delay = late(load(tmp_path, content).mono, 0.5)
        for start in (2000, 5000):
            assert late(load(tmp_path, content, start, start + 900).mono, 0.1) == pytest.approx(delay - start, abs=15)


OTHER = noise(5.0, seed=1)


@pytest.mark.parametrize("kind", ["ts", "mpg", "opus", "aac", "mp3", "ac3"])
@pytest.mark.parametrize("clock", [0, 10])
def test_joined_recordings_follow_each_other(tmp_path: Path, kind: str, clock: int) -> None:
    how = {**TIMED, **COUNTED}[kind]
    first, second = encoded(NOISE, *how, clock=clock), encoded(OTHER, *how)
    ends = len(load(tmp_path, first).mono) / RATE
    whole = load(tmp_path, first + second).mono
    assert len(whole) / RATE == pytest.approx(ends + 5, abs=0.2)
    assert late(whole, 5.0) == pytest.approx(late(load(tmp_path, first).mono, 5.0), abs=10)
    delay = late(whole, 8.0, OTHER)
    assert delay == pytest.approx(1000 * ends, abs=120)
    assert late(load(tmp_path, first + second, 8000, 9000).mono, 0.0, OTHER) == pytest.approx(delay - 8000, abs=10)


@pytest.mark.parametrize("kind", ["aac", "mp3"])
def test_rates_and_channels_may_change_on_the_way(tmp_path: Path, kind: str) -> None:
    how = COUNTED[kind]
    content = (
        encoded(NOISE, *how) + encoded(OTHER, *how, rate=44100, layout="stereo") + encoded(NOISE, *how, rate=48000)
    )
    whole = load(tmp_path, content).mono
    assert len(whole) / RATE == pytest.approx(17, abs=0.4)
    assert late(whole, 1.0) == pytest.approx(0, abs=80)
    assert late(whole, 8.0, OTHER) == pytest.approx(6000, abs=200)
    assert late(whole, 14.0) == pytest.approx(11000, abs=300)


@pytest.mark.parametrize("kind", ["aac", "mp3"])
@pytest.mark.parametrize("rates", [(44100, 22050, 44100), (22050, 44100, 22050)])
def test_segments_after_a_change_of_rate_are_what_was_recorded_then(
    tmp_path: Path, kind: str, rates: tuple[int, int, int]
) -> None:
    parts = (NOISE, OTHER, NOISE)
    layouts = ("stereo", "mono", "stereo")
    content = b"".join(
        encoded(part, *COUNTED[kind], rate=rate, layout=layout)
        for part, rate, layout in zip(parts, rates, layouts, strict=True)
    )
    whole = load(tmp_path, content).mono
    for start, part in ((4.5, NOISE), (6.3, OTHER), (9.5, OTHER), (12.5, NOISE), (15.5, NOISE)):
        segment = load(tmp_path, content, round(1000 * start), round(1000 * start) + 900).mono
        assert 1000 * start + late(segment, 0.0, part) == pytest.approx(late(whole, start, part), abs=2)


def test_an_aiff_of_packed_sound_is_whole(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.aiff", NOISE, RATE, subtype="GSM610", format="AIFF")
    found = load(tmp_path, (tmp_path / "a.aiff").read_bytes())
    assert not found.damaged
    assert late(found.mono, 4.0) == pytest.approx(0, abs=10)


def test_sound_that_sets_in_later_than_the_picture_is_silent_before(tmp_path: Path) -> None:
    file = BytesIO()
    with av.open(file, "w", format="matroska") as container:
        video, audio = container.add_stream("mpeg4", rate=10), container.add_stream("aac", rate=RATE, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(30):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64), np.uint8), format="gray")
            container.mux(video.encode(picture.reformat(format="yuv420p")))
        frame = av.AudioFrame.from_ndarray(NOISE[None, : 2 * RATE], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, RATE  # 1 s after the picture
        container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    whole, segment = load(tmp_path, file.getvalue()).mono, load(tmp_path, file.getvalue(), 1500, 2500).mono
    assert not whole[: round(0.9 * RATE)].any()
    assert late(whole, 1.5) == pytest.approx(1000, abs=10)
    assert late(segment, 0.2) == pytest.approx(-500, abs=10)


def damage(content: bytes, *, share: float, size: int) -> bytes:
    at, junk = int(share * len(content)), np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
    return content[:at] + junk + content[at + size :]


@pytest.mark.parametrize("kind", ["mp4", "aac", "mp3", "flac"])
def test_a_bad_packet_costs_what_it_held_and_is_remarked(tmp_path: Path, kind: str) -> None:
    content = encoded(NOISE, *{**TIMED, **COUNTED}[kind])
    good, bad = load(tmp_path, content), load(tmp_path, damage(content, share=0.5, size=300))
    assert (good.damaged, bad.damaged) == (False, True)
    assert len(bad.mono) == pytest.approx(len(good.mono), abs=0.15 * RATE)
    np.testing.assert_allclose(bad.mono[: 2 * RATE], good.mono[: 2 * RATE], atol=1e-3)
    assert late(bad.mono, 5.0) == pytest.approx(late(good.mono, 5.0), abs=150)
    apart = load(tmp_path, damage(content, share=0.5, size=300), 100, 1500)
    assert not apart.damaged  # it lies elsewhere


@pytest.mark.parametrize("kind", ["mp4", "mka", "mp3", "flac", "wav"])
def test_what_is_broken_off_is_quarantined_if_its_header_says_how_long_it_was(tmp_path: Path, kind: str) -> None:
    content = encoded(NOISE, *{**TIMED, **COUNTED}[kind])
    if kind == "mp4":
        content = fast_start(content, tmp_path / "first.mp4")
    if kind == "wav":
        soundfile.write(tmp_path / "a.wav", NOISE, RATE)
        content = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(MediaError, match=r"1\.\d of [56]\.\d s are damaged or missing") as caught:
        load(tmp_path, content[: len(content) * 8 // 10])
    assert caught.value.reason == "damaged"
    assert not load(tmp_path, content[: len(content) * 8 // 10], 500, 3500).damaged
    nearly = load(tmp_path, content[: len(content) * (98 if kind == "mka" else 96) // 100])
    assert nearly.damaged
    assert len(nearly.mono) < 5.95 * RATE


def fast_start(mp4: bytes, path: Path) -> bytes:
    """Return the same with its index first, as it is served to browsers."""
    with av.open(BytesIO(mp4)) as old, av.open(str(path), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux():
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a"])
def test_no_name_decides_how_a_file_is_read(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / "pcm.wav", NOISE, RATE)
    soundfile.write(tmp_path / "gsm.wav", NOISE[::2], 8000, subtype="GSM610")  # libsndfile cannot seek in it
    unclosed = bytearray((tmp_path / "pcm.wav").read_bytes())
    unclosed[4:8], unclosed[40:44] = (36).to_bytes(4, "little"), bytes(4)  # its recorder was killed
    contents = {
        "pcm": (tmp_path / "pcm.wav").read_bytes(),
        "gsm": (tmp_path / "gsm.wav").read_bytes(),
        "unclosed": bytes(unclosed),
        **{kind: encoded(NOISE, *{**TIMED, **COUNTED}[kind]) for kind in ("wav", "flac", "mp4", "mp3", "opus")},
    }
    for kind, content in contents.items():
        usual = load(tmp_path, content, name=f"usual.{kind}").mono
        np.testing.assert_array_equal(load(tmp_path, content, name=name).mono, usual)
        assert len(usual) == pytest.approx(len(NOISE), abs=0.1 * RATE)
        assert late(load(tmp_path, content, 2000, 3000, name=name).mono, 0.1) == pytest.approx(-2000, abs=80)
    with pytest.raises(MediaError) as caught:
        load(tmp_path, b"these are words and no sound " * 50, name=name)
    assert caught.value.reason == "undecodable"
