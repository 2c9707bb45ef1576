import struct
from collections.abc import Callable
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
