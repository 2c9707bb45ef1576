"""Frames are told by time, whatever the container, the codec and the clock: each carries its number in stripes."""

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from extractors.extractor import Inputs
from extractors.image._faces import Faces, Framing
from extractors.image._video import load_frames
from extractors.image.resnet import ResNet, ResNetConfig
from stores.errors import MediaError
from stores.root import Root
from stores.samples import Sample

H264, MPEG4, MPEG2 = (("libx264", {"bf": "2"}), ("mpeg4", {"bf": "2"}), ("mpeg2video", {"bf": "2"}))
VP8, MJPEG = ("libvpx", {"deadline": "realtime", "cpu-used": "8"}), ("mjpeg", {})
SLICE = b"\0\0\0\1\x61"  # H.264's mark of one, or the muxer would write nothing
EVEN = [number / 25 for number in range(100)]
STILL = [*EVEN[:10], *EVEN[81:]]  # frame 9 stands from 0.36 to 3.24 s
Codec = tuple[str, dict[str, str]]


def stripes(number: int, width: int = 64, height: int = 64) -> np.ndarray:
    values = [220 if number >> bit & 1 else 30 for bit in range(8)]
    return np.tile(np.repeat(values, width // 8).astype(np.uint8), (height, 1))


def write(
    path: Path,
    codec: Codec,
    times: Sequence[float],
    *,
    numbers: Sequence[int] | None = None,
    size: tuple[int, int] = (64, 64),
    form: str = "yuv420p",
    clock: float = 0,
    spoilt: Sequence[int] = (),
    kind: str | None = None,
) -> Path:
    """Write frames that are numbered by 25 times their time, each with its time, on a clock that begins at `clock`.

    The packets `spoilt` hold noise.
    """
    name, options = codec
    with av.open(str(path), "w", format=kind, options={"output_ts_offset": str(clock)}) as container:
        stream = container.add_stream(name, rate=25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if name == "mjpeg" else form
        stream.codec_context.gop_size = 25
        packets = []
        for i, time in enumerate(times):
            pixels = stripes(round(25 * time) if numbers is None else numbers[i], *size)
            frame = av.VideoFrame.from_ndarray(pixels, format="gray").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = round(25 * time), Fraction(1, 25)
            packets += stream.encode(frame)
        for i, packet in enumerate([*packets, *stream.encode(None)]):
            if i in spoilt:
                packet.update(SLICE + np.random.default_rng(i).bytes(packet.size - len(SLICE)))
            container.mux(packet)
    return path


def load(path: Path, count: int, start_ms: int | None = None, end_ms: int | None = None) -> Faces:
    return load_frames(path, Framing(size=64), count, start_ms=start_ms, end_ms=end_ms, sample_id="c/1")


def numbers(path: Path, count: int, start_ms: int | None = None, end_ms: int | None = None) -> list[int]:
    faces = load(path, count, start_ms, end_ms).pixels
    return [sum(1 << bit for bit in range(8) if face[:, 8 * bit + 4].mean() > 125) for face in faces]


def reason(path: Path, *segment: int) -> str:
    with pytest.raises(MediaError, match=r"^c/1: ") as caught:
        load(path, 4, *segment)
    return caught.value.reason


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        *((kind, H264) for kind in ("mp4", "mov", "mkv", "flv", "ts")),
        ("webm", VP8),
        ("mp4", MPEG4),
        ("mkv", MJPEG),
    ],
    ids=str,
)
def test_a_frame_is_on_show_until_the_next_begins(tmp_path: Path, kind: str, codec: Codec) -> None:
    path = write(tmp_path / f"still.{kind}", codec, STILL)
    assert numbers(path, 4, 1000, 2000) == [9]
    assert numbers(path, 1, 330, 350) == [8]
    assert numbers(path, 4, 300, 1500) == [9]  # on show at 0.45, 0.75, 1.05 and 1.35 s
    assert numbers(path, 2, 2920, 3400) == [9, 82]  # at 3.04 and 3.28 s
    assert numbers(path, 4) == [9, 87]  # at 0.5, 1.5, 2.5 and 3.5 s
    assert load(path, 4).damaged == 0


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "avi"])
def test_segments_shorter_than_a_frame_have_one(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"slow.{kind}", MPEG4, [0, 1, 2, 3, 4])
    assert numbers(path, 3, 2200, 2900) == [50]
    assert numbers(path, 4, 1900, 2600) == [25, 50]  # 25 at 1.99 s
    assert numbers(path, 3, 4100, 4200) == [100]
    assert reason(path, 6000, 7000) == "empty_media"


def test_one_picture_that_stands_is_on_show_throughout(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    path = write_video("slide.mp4", [100], [0.0], sound=np.zeros(48000))
    assert load(path, 3, 1000, 2000).pixels.mean() == pytest.approx(100, abs=2)
    assert reason(path, 3500, 4000) == "empty_media"


@pytest.mark.parametrize("clocks", [(0, 0), (50, 0), (3, 10), (100, 1), (0, 182)], ids=str)
@pytest.mark.parametrize("codec", [H264, MPEG2], ids=str)
def test_where_a_clock_begins_anew_time_goes_on(tmp_path: Path, codec: Codec, clocks: tuple[int, int]) -> None:
    parts = [
        write(tmp_path / f"{i}.ts", codec, EVEN[:50], numbers=range(50 * i, 50 * i + 50), clock=clock).read_bytes()
        for i, clock in enumerate(clocks)
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    later = max(0, clocks[1] - clocks[0] - 2) % 60  # a clock that jumps forward tells of a gap, of up to a minute
    shift = 1000 * later
    assert numbers(path, 2, 0, 1000) == [6, 18]  # on show at 0.25 and 0.75 s
    assert numbers(path, 2, 2500 + shift, 3500 + shift) == [68, 81]
    if not later:
        assert numbers(path, 4) == [12, 37, 62, 87]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.h264", H264),
        ("a.m4v", MPEG4),
        ("a.m2v", MPEG2),
        ("a.mjpeg", MJPEG),
        ("a.ivf", VP8),
    ],
)
def test_frames_of_raw_streams_are_counted(tmp_path: Path, name: str, codec: Codec) -> None:
    path = write(tmp_path / name, codec, EVEN, kind={"m2v": "mpeg2video"}.get(name[2:], name[2:]))
    asked = [0, 1, 24, 25, 63, 99]
    assert [numbers(path, 1, 40 * number, 40 * number + 40) for number in asked] == [[number] for number in asked]
    assert numbers(path, 4, 1000, 2000) == [28, 34, 40, 46]


@pytest.mark.parametrize(("size", "form"), [((128, 96), "yuv420p"), ((64, 64), "yuv444p")])
def test_pictures_may_change_on_the_way(tmp_path: Path, size: tuple[int, int], form: str) -> None:
    first = write(tmp_path / "a.ts", H264, EVEN[:50])
    second = write(tmp_path / "b.ts", H264, EVEN[:50], numbers=range(50, 100), size=size, form=form)
    path = tmp_path / "c.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    assert numbers(path, 4) == [12, 37, 62, 87]
    assert numbers(path, 2, 2000, 3000) == [56, 68]


def test_a_cover_is_passed_over(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mp4", H264, EVEN)
    covered = tmp_path / "covered.mp4"
    with av.open(str(film)) as source, av.open(str(covered), "w") as target:
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = target.add_stream_from_template(source.streams[0])
        frame = av.VideoFrame.from_ndarray(np.full((32, 32), 90, np.uint8), format="gray")
        target.mux([*cover.encode(frame.reformat(format="yuvj420p")), *cover.encode(None)])
        for packet in source.demux(0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert numbers(covered, 4) == [12, 37, 62, 87]


TURNS = {  # the matrix of the track header (a, b, c, d), and what a player shows
    "as it is": ((1, 0, 0, 1), lambda p: p),
    "turned right": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "upside down": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "turned left": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "flipped": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), np.transpose),
    "transversed": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).T),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_film_is_shown_as_its_matrix_says(tmp_path: Path, turn: str) -> None:
    picture = np.zeros((64, 64), np.uint8)
    picture[:32, :32], picture[:32, 32:], picture[32:, :32], picture[32:, 32:] = 220, 150, 90, 20
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    (a, b, c, d), shown = TURNS[turn]
    content, one = path.read_bytes(), 1 << 16
    at = content.index(b"tkhd") + 44
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:at] + matrix + content[at + 36 :])
    face = load(path, 1).pixels[0]
    corners = np.ix_([16, 48], [16, 48])
    np.testing.assert_allclose(face[corners].astype(int), shown(picture)[corners], atol=3)


@pytest.mark.parametrize(("kind", "codec"), [("mkv", MJPEG), ("mp4", H264)], ids=str)
def test_a_packet_of_noise_is_passed_over(tmp_path: Path, kind: str, codec: Codec) -> None:
    path = write(tmp_path / f"one.{kind}", codec, EVEN, spoilt=[12])
    faces = load(path, 4)
    assert (len(faces), faces.damaged) == (4, 1)
    assert numbers(path, 4)[1:] == [37, 62, 87]
    assert load(write(tmp_path / f"none.{kind}", codec, EVEN), 4).damaged == 0


def test_a_damaged_frame_is_stood_for_by_the_one_before(tmp_path: Path) -> None:
    assert numbers(write(tmp_path / "film.mkv", MJPEG, EVEN, spoilt=[12, 37]), 4) == [11, 36, 62, 87]
    assert reason(tmp_path / "film.mkv", 480, 520) == "damaged"  # all of it


def test_more_than_one_packet_in_twenty_of_noise_are_too_many(tmp_path: Path) -> None:
    few, many = (range(0, 100, step) for step in (25, 10))
    assert load(write(tmp_path / "few.mkv", MJPEG, EVEN, spoilt=few), 8).damaged == 3  # 75 comes after the last wanted
    assert reason(write(tmp_path / "many.mkv", MJPEG, EVEN, spoilt=many)) == "damaged"


@pytest.mark.parametrize("kind", ["mkv", "flv", "mp4"])
def test_a_film_that_breaks_off_is_damaged(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"whole.{kind}", MJPEG if kind == "mkv" else H264, EVEN)
    if kind == "mp4":
        with (
            av.open(str(path)) as source,
            av.open(str(tmp_path / "f.mp4"), "w", options={"movflags": "faststart"}) as target,
        ):
            stream = target.add_stream_from_template(source.streams[0])
            for packet in source.demux(0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
        path = tmp_path / "f.mp4"
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    assert reason(cut) == "damaged"
    assert numbers(cut, 2, 0, 1000) == [6, 18]
    assert load(path, 4).damaged == 0


def copied(path: Path, to: Path, options: dict[str, str]) -> Path:
    with av.open(str(path)) as source, av.open(str(to), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams[0])
        for packet in source.demux(0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return to


def rows(tmp_path: Path, path: Path) -> tuple[Faces, Faces]:
    """Return what is decoded of a file in the column of images and in that of videos."""
    resnet = ResNet(ResNetConfig(depth=18, size=64, weights="random", frames=4), Inputs(root=Root(tmp_path)))
    samples = [Sample(id="c/1", corpus="c", **{column: path}) for column in ("image", "video")]
    assert len({sample.key("image") for sample in samples}) == 1
    first, second = (resnet.decode(sample, "") for sample in samples)
    return first, second


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mp4", MPEG4, EVEN)
    Image.fromarray(stripes(77)).save(tmp_path / "still.png")
    for source, count in ((film, 4), (tmp_path / "still.png", 1)):
        for name in ("a.png", "a.mp4", "a.jpg", "a", "a%03d.jpg", "a.m3u8", "https:a.ts"):
            path = tmp_path / name
            path.write_bytes(source.read_bytes())
            image, video = rows(tmp_path, path)
            assert len(image) == count
            np.testing.assert_array_equal(image.pixels, video.pixels)
    assert numbers(film, 4) == [12, 37, 62, 87]
    np.testing.assert_array_equal(image.pixels[0], stripes(77))


def test_of_an_animation_a_still_is_the_first_picture_and_a_video_all(tmp_path: Path) -> None:
    frames = [Image.fromarray(stripes(number)) for number in (1, 2, 4, 8)]
    for name in ("a.gif", "a.apng"):
        frames[0].save(
            tmp_path / name,
            format=name[2:].replace("apng", "png"),
            save_all=True,
            append_images=frames[1:],
            duration=200,
        )
        image, video = rows(tmp_path, tmp_path / name)
        assert (len(image), len(video)) == (1, 4)
        np.testing.assert_array_equal(image.pixels[0], stripes(1))
        np.testing.assert_allclose(video.pixels[3].astype(int), stripes(8), atol=3)


def test_heic_is_refused_by_name(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mp4", H264, EVEN).read_bytes()
    path = tmp_path / "photo.mp4"
    path.write_bytes(film[:8] + b"heic" + film[12:])
    for column in ("image", "video"):
        resnet = ResNet(ResNetConfig(depth=18, size=64, weights="random"), Inputs(root=Root(tmp_path)))
        with pytest.raises(MediaError, match=r"photo.mp4: it is HEIC: convert it to JPEG or PNG"):
            resnet.decode(Sample(id="c/1", corpus="c", **{column: path}), "")


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def listing(content: bytes, packets: int) -> bytes:
    """Return the boxes of an MP4 with a table that lists so many packets of a byte, in one chunk."""
    tables = {
        b"stts": struct.pack(">4I", 0, 1, packets, 1),
        b"stsc": struct.pack(">5I", 0, 1, 1, packets, 1),
        b"stsz": struct.pack(">3I", 0, 1, packets),
        b"stco": struct.pack(">3I", 0, 1, 48),
    }
    written, at = b"", 0
    while at < len(content):
        size, kind = struct.unpack(">I4s", content[at : at + 8])
        inside = content[at + 8 : at + size]
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            inside = listing(inside, packets)
        written += box(kind, tables.get(kind, inside))
        at += size
    return written


def test_tables_that_list_more_than_there_is_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write(tmp_path / "film.mp4", ("mpeg4", {}), EVEN).read_bytes()
    path = tmp_path / "bomb.mp4"
    path.write_bytes(listing(content, 60_000_000))
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("opened"))
    assert reason(path) == "too_large"
    fragment = box(b"moof", box(b"traf", box(b"trun", struct.pack(">3I", 0, 60_000_000, 0))))
    path.write_bytes(content + fragment)
    assert reason(path) == "too_large"


def test_a_film_of_too_many_frames_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "film.mkv", MPEG4, EVEN)
    monkeypatch.setattr("extractors.image._video.isolated", lambda function, *args: function(*args))
    monkeypatch.setattr("extractors.image._video.MOST_FRAMES", 100)
    assert numbers(path, 4) == [12, 37, 62, 87]
    monkeypatch.setattr("extractors.image._video.MOST_FRAMES", 99)
    assert reason(path) == "too_large"
