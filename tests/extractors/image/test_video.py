import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from extractors.image._faces import Framing
from extractors.image._video import load_frames
from stores.errors import MediaError

GRAYS = [20 * (1 + i // 5) for i in range(50)]  # 20, 40 ... 200, 0.1 s each
TIMES = [i / 50 for i in range(50)]


def load(path: Path, count: int, start_ms: int | None = None, end_ms: int | None = None) -> list[int]:
    frames = load_frames(path, Framing(size=32), count, start_ms=start_ms, end_ms=end_ms, sample_id="c/1").pixels
    assert frames.dtype == np.uint8
    assert frames.shape[1:] == (32, 32)
    return [round(float(frame.mean()) / 20) * 20 for frame in frames]


def test_frames_are_spread_evenly(write_video: Callable[..., Path]) -> None:
    assert load(write_video("even.mp4", GRAYS, TIMES), 5) == [40, 80, 120, 160, 200]
    assert load(write_video("even.mp4", GRAYS, TIMES), 1) == [120]


def test_a_segment_is_honoured(write_video: Callable[..., Path]) -> None:
    path = write_video("cut.mp4", GRAYS, TIMES)
    assert load(path, 2, 300, 500) == [80, 100]
    assert load(path, 2, 800) == [180, 200]


def test_frames_are_spread_over_time_and_not_over_their_number(write_video: Callable[..., Path]) -> None:
    path = write_video("variable.mp4", [40, 80, 120, 160, 200], [0.0, 0.02, 0.04, 0.06, 0.5])
    assert load(path, 4) == [160]  # on show from 0.06 to 0.5 s


def test_a_video_that_lies_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "lying.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        pixels = np.where(np.arange(64) < 32, 220, 30).astype(np.uint8) * np.ones((48, 1), np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="gray").reformat(format="yuv420p")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert seen(path) == ("left", (64, 48))
    content = path.read_bytes()
    matrix = content.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2: nine numbers; here 90 degrees clockwise
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:matrix] + turned + content[matrix + 36 :])
    assert seen(path) == ("top", (64, 48))


def seen(path: Path) -> tuple[str, tuple[int, int]]:
    """Return which side of the first frame is bright, and its stored size."""
    face = load_frames(path, Framing(size=32), 1, start_ms=None, end_ms=None, sample_id="c/1").pixels[0].astype(int)
    sides = {"left": face[:, :14], "right": face[:, 18:], "top": face[:14], "bottom": face[18:]}
    with av.open(str(path)) as container:
        return max(sides, key=lambda side: sides[side].min()), (container.streams[0].width, container.streams[0].height)


def test_fewer_frames_than_asked_for_are_each_taken_once(write_video: Callable[..., Path]) -> None:
    assert load(write_video("short.mp4", [40, 120, 200], [0.0, 0.1, 0.2]), 8) == [40, 120, 200]


def test_what_cannot_be_read_says_why(write_video: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    sound = write_video("sound.mp4", [], [], sound=np.zeros(16000))
    video = write_video("video.mp4", GRAYS, TIMES)
    for path, start, reason in (
        (tmp_path / "text.mp4", None, "undecodable"),
        (sound, None, "no_video_track"),
        (video, 5000, "empty_media"),
    ):
        with pytest.raises(MediaError, match="c/1") as caught:
            load(path, 2, start)
        assert caught.value.reason == reason


@pytest.mark.real_data
def test_the_ravdess_clip_is_decoded(real_data: Path) -> None:
    clip = real_data / "clips/ravdess/01-01-01-01-01-01-01.mp4"
    frames = load_frames(clip, Framing(size=64), 8, start_ms=None, end_ms=None, sample_id="c/1").pixels
    assert frames.shape == (8, 64, 64)
    assert len({frame.tobytes() for frame in frames}) == 8
    assert 20 < frames.mean() < 250


def test_frames_of_too_many_pixels_are_not_decoded(
    write_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video("large.mp4", [40, 80], [0.0, 0.1])  # 64 x 48
    monkeypatch.setattr("extractors.image._video.isolated", lambda function, *args: function(*args))
    monkeypatch.setattr("extractors.image._images.MOST_PIXELS", 64 * 48)
    assert load(path, 2) == [40, 80]
    monkeypatch.setattr("extractors.image._images.MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(MediaError, match=r"^c/1: 64 x 48 pixels are more than") as caught:
        load(path, 2)
    assert caught.value.reason == "too_large"


def test_a_playlist_is_no_recording(write_video: Callable[..., Path], tmp_path: Path) -> None:
    write_video("secret.mp4", [40, 80], [0.0, 0.1])
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(MediaError, match=r"^c/1: list.mp4 is no recording") as caught:
        load(tmp_path / "list.mp4", 2)
    assert caught.value.reason == "undecodable"


def write_numbered(
    path: Path, codec: str, settings: dict[str, str], *, sound_first: float = 0.0, clock: int = 0
) -> Path:
    """Write 100 frames, 25 a second, each with its number in stripes, on a clock that begins at `clock` s."""
    with av.open(str(path), "w", options={"output_ts_offset": str(clock)}) as container:
        video = container.add_stream(codec, rate=25, options=settings)
        video.width, video.height, video.pix_fmt, video.codec_context.gop_size = 64, 64, "yuv420p", 25
        audio = container.add_stream("pcm_s16le", rate=16000, layout="mono") if sound_first else None
        if audio is not None:
            block = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
            block.sample_rate, block.pts = 16000, 0
            container.mux([*audio.encode(block), *audio.encode(None)])
        for number in range(100):
            stripes = np.repeat([220 if number >> bit & 1 else 30 for bit in range(8)], 8).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.tile(stripes, (64, 1)), format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = number + round(25 * sound_first), Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def numbers(path: Path, count: int, start_ms: int | None, end_ms: int | None) -> list[int]:
    frames = load_frames(path, Framing(size=64), count, start_ms=start_ms, end_ms=end_ms, sample_id="c/1").pixels
    return [sum(1 << bit for bit in range(8) if frame[:, 8 * bit + 4].mean() > 125) for frame in frames]


H264 = ("libx264", {"bf": "2"})
OPEN_GOP = ("libx264", {"x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=25:min-keyint=25:scenecut=0"})


@pytest.mark.parametrize(
    ("name", "codec", "settings"),
    [
        *((f"h264.{kind}", *H264) for kind in ("mp4", "mkv", "flv", "ts", "avi")),
        ("open.mp4", *OPEN_GOP),
        ("open.ts", *OPEN_GOP),
        ("mpeg2.ts", "mpeg2video", {"bf": "2"}),
        ("mpeg2.mpg", "mpeg2video", {"bf": "2"}),
        ("mpeg1.mpg", "mpeg1video", {"bf": "2"}),
        ("mpeg4.avi", "mpeg4", {"bf": "2"}),
        ("plain.avi", "mpeg4", {"bf": "0"}),
    ],
)
def test_the_frame_of_a_time_is_found_in_every_container(
    tmp_path: Path, name: str, codec: str, settings: dict[str, str]
) -> None:
    path = write_numbered(tmp_path / name, codec, settings)
    asked = [0, 7, 24, 25, 26, 49, 63, 90, 99]
    assert [numbers(path, 1, 40 * number, 40 * number + 40) for number in asked] == [[number] for number in asked]
    assert numbers(path, 4, 1000, 2000) == [28, 34, 40, 46]  # on show at 1.125, 1.375, 1.625 and 1.875 s
    assert numbers(path, 2, None, None) == [25, 75]


def test_a_long_recording_without_an_index_is_not_decoded_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_numbered(tmp_path / "long.ts", *H264)
    monkeypatch.setattr("extractors.image._video._SOONER_S", 2.0)
    monkeypatch.setattr("extractors.image._video._Film._anew", lambda *_: pytest.fail("decoded from the beginning"))
    assert numbers(path, 4, 3000, None) == [78, 84, 90, 96]


@pytest.mark.parametrize("kind", ["ts", "mkv", "mp4"])
def test_a_segment_is_measured_from_the_beginning_of_the_recording(tmp_path: Path, kind: str) -> None:
    path = write_numbered(tmp_path / f"late.{kind}", *H264, clock=10)
    with av.open(str(path)) as container:
        assert container.start_time >= 10 * av.time_base
    assert numbers(path, 4, 0, 1000) == [3, 9, 15, 21]
    assert numbers(path, 4, 2000, 3000) == [53, 59, 65, 71]


def test_the_beginning_of_a_recording_is_that_of_its_first_stream(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "sound-first.mkv", *H264, sound_first=0.4, clock=10)
    assert numbers(path, 1, 400, 440) == [0]
    assert numbers(path, 4, 1400, 2400) == [28, 34, 40, 46]
    with pytest.raises(MediaError) as caught:
        numbers(path, 1, 0, 400)
    assert caught.value.reason == "empty_media"
