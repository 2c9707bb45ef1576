"""Films -> frames spread evenly over the time of the segment."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extractors._containers import MOST_LOST, beginning, demuxed, opened
from extractors._isolated import isolated
from extractors.image._faces import Faces, Framing
from extractors.image._images import check_pixels, is_heic, is_picture, most_pixels, refusal, square
from stores.errors import MediaError

if TYPE_CHECKING:
    from PIL import Image

MOST_FRAMES = 4_000_000  # 18 hours of 60 a second; 32 MB of times
_SOONER_S = 10.0  # MPEG-TS has no index: seeking may land after the key frame; one more try lands before it
_TICK_S = 1e-5  # a tick of MPEG-TS
_DIGITS = 5  # of a time in s: a frame at 0.68 s is in a segment from 680 ms on, whatever the clock's ticks are
_BACK_S, _JUMP_S = 0.1, 60.0  # further back, or on where formats say that clocks may jump, another recording begins
_TELLING = frozenset({"asf", "flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"})  # headers say how long they are
_UNTIMED = frozenset({"avi", "mpeg"})  # not every frame has a time of its own: FFmpeg guesses that of B-frames
_HIDING = frozenset({"vp8", "vp9", "mpeg4"})  # decoders that have packets without a frame to show
_INTERLACED = 2  # FFmpeg's field orders from here on
_RATE = 25  # frames a second, where nothing says it


def load_frames(
    path: Path, framing: Framing, count: int, *, start_ms: int | None, end_ms: int | None, sample_id: str
) -> Faces:
    """Return the frames on show in the middle of `count` equal stretches of the segment, upright, each frame once.

    On show is the last frame that began at or before a time. They are fewer if the segment has fewer frames, or some
    without a face are left out. `start_ms` and `end_ms` are measured from the beginning of the recording, whatever its
    clock says then; where the clock starts anew, time goes on; frames without times are counted. Cover pictures are
    passed over, and packets that cannot be read or decoded, which are counted (`damaged`).
    Raises MediaError: undecodable, too_large, no_video_track, empty_media, no_face, damaged (more than MOST_LOST of the
    segment cannot be decoded, or is missing at the end).
    """
    start, end = (start_ms or 0) / 1000, float("inf") if end_ms is None else end_ms / 1000
    try:
        return Faces(*isolated(_read, path, framing, count, start, end))
    except MediaError as error:
        raise MediaError(f"{sample_id}: {error}", reason=error.reason) from None
    except Exception as error:  # FFmpeg's own kinds
        raise MediaError(f"{sample_id}: cannot decode {path.name}: {error}", reason="undecodable") from error


def _read(path: Path, framing: Framing, count: int, start: float, end: float) -> tuple[np.ndarray, int, int]:
    """Return the fields of Faces."""
    with opened(path) as container:
        film = _Film(path, container)
        wanted = film.spread(start, end, count)
        squares = [square(_picture(frame), framing, _orientation(frame)) for frame in film.on_show(wanted)]
        if not squares:
            raise MediaError(f"{path.name} has frames, but none can be decoded", reason="undecodable")
        faces = framing.faces(squares)
        return faces.pixels, faces.faceless, film.damage()


def shows_one(path: Path, *, still: bool) -> bool:
    """Return whether a file is read as one picture: by its content, and of an animation if a `still` is wanted."""
    if is_picture(path):
        return still or isolated(_frames, path) < 2
    return still and not isolated(_frames, path)


def _frames(path: Path) -> int:
    """Return how many frames FFmpeg finds in a file, 2 if more."""
    import av

    with suppress(MediaError, av.FFmpegError), opened(path) as container:
        packets = demuxed(container, Counter(), _stream(container, path))
        return len(list(islice((packet for packet in packets if packet.size), 2)))
    return 0


def _stream(container: Any, path: Path) -> Any:
    """Return the first stream of moving pictures; covers are no such. Raises MediaError (no_video_track)."""
    from av.stream import Disposition

    if container.format.name.endswith("_pipe") or is_heic(path):  # FFmpeg's stills
        raise MediaError(f"cannot decode {path.name}: {refusal(path)}", reason="undecodable")
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise MediaError(f"{path.name} has no video track", reason="no_video_track")


class _Clock:
    """Sets the stamps of packets so that time goes on where another recording begins, or where none are given."""

    def __init__(self, container: Any, stream: Any) -> None:
        from av.format import Flags

        flags, ticks = Flags(container.format.flags), 1 / float(stream.time_base)
        self.raw = Flags.no_timestamps in flags
        self._step = round(ticks / float(stream.average_rate or _RATE))
        self._most = ticks * (_JUMP_S if Flags.ts_discont in flags else float("inf"))
        self._back, self._last, self._until, self.moved = ticks * _BACK_S, None, 0, 0

    def set(self, packet: Any) -> Any:
        stamp = packet.dts if packet.pts is None else packet.pts
        if packet.dts is not None and not self.raw:
            jump = 0 if self._last is None else packet.dts + self.moved - self._last
            if not -self._back <= jump <= self._most:
                self.moved = self._until - stamp
            self._last = packet.dts = packet.dts + self.moved
        packet.pts = self._until if stamp is None or self.raw else stamp + self.moved
        self._until = max(self._until, packet.pts + (packet.duration or self._step))
        return packet


class _Film:
    """A stream of pictures whose packets have been read and not decoded: `times` of its frames in s, sorted."""

    def __init__(self, path: Path, container: Any) -> None:
        self._path, self._container, self._stream = path, container, _stream(container, path)
        check_pixels(self._stream.width, self._stream.height, "film")
        self._stream.codec_context.options = {"max_pixels": str(most_pixels("film"))}  # a stream may grow on its way
        self._flaws, self._lost = Counter[str](), Counter[str]()
        self._clock = _Clock(container, self._stream)
        guessed = container.format.name in _UNTIMED and self._stream.codec_context.has_b_frames
        self._counted = guessed or self._clock.raw
        self._shown: list[float] = []  # times of what was decoded
        self._until = 0.0  # when the last packet of any stream ends
        self.times = self._walk()

    def _walk(self) -> np.ndarray:
        times = array("d")
        for packet in demuxed(self._container, self._flaws):
            if packet.size:
                own = packet.stream_index == self._stream.index
                time = self._time(self._clock.set(packet) if own else packet) or 0.0
                self._until = max(self._until, time + float((packet.duration or 0) * packet.time_base))
                times.extend([time] * own)
                if len(times) > MOST_FRAMES:
                    message = f"{self._path.name} has more than {MOST_FRAMES} frames"
                    raise MediaError(message, reason="too_large")
        return np.sort(np.frombuffer(times))

    def _time(self, stamped: Any) -> float | None:
        """Return when a packet or a frame is shown, in s from the beginning; AVI only has times of decoding."""
        avi = self._container.format.name == "avi"
        stamp = stamped.dts if stamped.pts is None or avi else stamped.pts
        return None if stamp is None else round(float(stamp * stamped.time_base) - beginning(self._container), _DIGITS)

    def spread(self, start: float, end: float, count: int) -> np.ndarray:
        """Return the times of the frames on show in the middle of `count` equal stretches, each frame once."""
        times, steps = self.times, np.diff(self.times)
        last = times[-1] + (np.median(steps) if steps.size else 0.0) if times.size else 0.0
        if self._container.format.name in _TELLING and self._container.duration and steps.size:
            told = min(end, self._container.duration / 1e6 - max(0.0, beginning(self._container)))
            missing = told - max(start, self._until, times[-1] + steps.max())  # a frame may stand as long as any other
            if missing > MOST_LOST * (told - start):
                raise MediaError(f"{self._path.name} ends {missing:.2f} s too early", reason="damaged")
        if not times.size or end <= times[0] or start >= max(last, self._until):
            raise MediaError(f"{self._path.name} has no frame in its segment", reason="empty_media")
        first = max(start, times[0])
        middles = first + (np.arange(count) + 0.5) * (max(first, min(last, end)) - first) / count
        return np.unique(times[np.searchsorted(times, middles, side="right") - 1])

    def on_show(self, wanted: np.ndarray) -> Iterator[Any]:
        """Yield the decoded frames on show at the times of `wanted`; where one is damaged, the one before it."""
        held, position = None, 0
        for time, frame in self._timed(wanted[0]):
            self._shown.append(time)
            if held is not None and time > wanted[position]:
                yield held
                position = int(np.searchsorted(wanted, time))
                if position == len(wanted):
                    return
            held = frame
        if held is not None:
            yield held

    def _timed(self, first: float) -> Iterable[tuple[float, Any]]:
        """Decode from a frame at or before `first`, each with its time in s: if it has none of its own, by counting."""
        if self._counted or self._clock.moved:
            frames = self._anew(_Clock(self._container, self._stream))
        else:
            frames = self._sought(first)
        if self._counted:
            return zip(self.times, frames, strict=False)
        return ((time, frame) for frame in frames if (time := self._time(frame)) is not None)

    def _sought(self, time: float) -> Iterator[Any]:
        """Decode from a frame at or before `time`, in s from the beginning; all of it if seeking finds none."""
        import av

        begin = beginning(self._container)
        for target in (time, time - _SOONER_S) if time >= _SOONER_S else (time,):
            try:
                self._container.seek(int((target + begin) * av.time_base))
            except av.FFmpegError:  # not everything can be sought in
                break
            frames = self._decoded(demuxed(self._container, self._lost, self._stream))
            first: Any = next(frames, None)
            known = first is not None and first.time is not None and first.key_frame
            if known and first.time - begin <= time + _TICK_S:  # MPEG-4 shows frames, too, that lack their key frame
                yield first
                yield from frames
                return
            self._lost.clear()
        yield from self._anew()

    def _anew(self, clock: _Clock | None = None) -> Iterator[Any]:
        """Decode all of it, by that clock; the file is opened again, as not every one can be rewound."""
        with opened(self._path) as again:
            stream = again.streams[self._stream.index]
            stream.codec_context.options = self._stream.codec_context.options
            packets = demuxed(again, self._lost, stream)
            yield from self._decoded(clock.set(p) if clock and p.size else p for p in packets)

    def _decoded(self, packets: Iterable[Any]) -> Iterator[Any]:
        """Yield the frames of packets, and count these, and those of them that are lost."""
        import av

        for packet in packets:
            self._lost["packets"] += 1
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except av.FFmpegError:
                self._lost["lost"] += 1
            else:
                yield from frames

    def damage(self) -> int:
        """Return how many packets could not be read or decoded. Raises MediaError (damaged) if they are too many."""
        lost, packets = self._lost["lost"], self._lost["packets"]
        codec = self._stream.codec_context
        if codec.name not in _HIDING and codec.field_order < _INTERLACED:  # where a packet may be half a frame
            first, last = np.searchsorted(self.times, (self._shown[0], self._shown[-1]))
            lost = max(lost, int(last - first) + 1 - len(self._shown))
        if lost > MOST_LOST * packets:
            raise MediaError(f"{self._path.name}: {lost} of {packets} packets cannot be decoded", reason="damaged")
        return self._flaws["damaged"] + lost


def _picture(frame: Any) -> "Image.Image":
    from PIL import Image

    return Image.fromarray(frame.to_ndarray(format="rgb24"))  # half the memory of to_image


def _orientation(frame: Any) -> int:
    """Return by EXIF's number how a frame is to be turned and mirrored: by its display matrix (ISO 14496-12, 8.3.2)."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    on_its_side = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if on_its_side else (a, d)
    return (1, 2, 4, 3, 5, 6, 8, 7)[4 * on_its_side + 2 * (down < 0) + (across < 0)]
