"""Videos -> frames spread evenly over the time of the segment."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extractors._containers import beginning, decoded_anew, decoded_at, opened
from extractors.image._faces import Faces, Framing
from extractors.image._images import MOST_PIXELS, check_pixels, square
from stores.errors import MediaError

if TYPE_CHECKING:
    from PIL import Image

_DIGITS = 5  # of a time in s: a frame at 0.68 s is in a segment from 680 ms on, whatever the clock's ticks are
_UNTIMED = frozenset({"avi", "mpeg"})  # not every frame has a time of its own: FFmpeg guesses that of B-frames


def load_frames(
    path: Path, framing: Framing, count: int, *, start_ms: int | None, end_ms: int | None, sample_id: str
) -> Faces:
    """Return the frames shown in the middle of `count` equal stretches of the segment, upright, each frame once.

    They are fewer if the segment has fewer frames, or some without a face are left out. `start_ms` and `end_ms` are
    measured from the beginning of the recording, whatever its clock says then.
    Raises MediaError: undecodable, too_large, no_video_track, empty_media, no_face.
    """
    end = float("inf") if end_ms is None else end_ms / 1000
    try:
        with opened(path) as container:
            if not container.streams.video:
                raise MediaError(f"{path.name} has no video track", reason="no_video_track")
            times = _times(container)
            shown = times[(times >= (start_ms or 0) / 1000) & (times < end)]
            if not shown.size:
                raise MediaError(f"{path.name} has no frame in its segment", reason="empty_media")
            squares = [square(image, framing) for image in _pictures(container, times, _spread(shown, end, count))]
            if not squares:
                raise MediaError(f"{path.name} has frames, but none can be decoded", reason="undecodable")
            return framing.faces(squares)
    except MediaError as error:
        raise MediaError(f"{sample_id}: {error}", reason=error.reason) from None
    except Exception as error:  # FFmpeg's own kinds
        raise MediaError(f"{sample_id}: cannot decode {path.name}: {error}", reason="undecodable") from error


def _times(container: Any) -> np.ndarray:
    """Return the sorted times in s, from the beginning, at which frames are shown; nothing is decoded for it."""
    stamps = (_time(container, packet) for packet in container.demux(container.streams.video[0]))
    return np.array(sorted(time for time in stamps if time is not None))


def _time(container: Any, stamped: Any) -> float | None:
    """Return when a packet or a frame is shown, in s from the beginning; AVI only has times of decoding."""
    stamp = stamped.dts if stamped.pts is None or container.format.name == "avi" else stamped.pts
    return None if stamp is None else round(float(stamp * stamped.time_base) - beginning(container), _DIGITS)


def _spread(shown: np.ndarray, end: float, count: int) -> np.ndarray:
    """Return the times of the frames on show in the middle of `count` equal stretches, each frame once."""
    last = shown[-1] + (np.median(np.diff(shown)) if len(shown) > 1 else 0.0)
    middles = shown[0] + (np.arange(count) + 0.5) * (min(last, end) - shown[0]) / count
    return np.unique(shown[np.searchsorted(shown, middles, side="right") - 1])


def _pictures(container: Any, times: np.ndarray, wanted: np.ndarray) -> Iterator["Image.Image"]:
    """Yield the frames of `wanted`, upright: some of the `times` of all frames."""
    stream = container.streams.video[0]
    check_pixels(stream.width, stream.height)
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # a stream may grow on its way
    position = 0
    for time, frame in _timed(container, stream, times, wanted[0]):
        if time >= wanted[position]:
            yield frame.to_image().rotate(frame.rotation, expand=True)
            position += 1
            if position == len(wanted):
                return


def _timed(container: Any, stream: Any, times: np.ndarray, first: float) -> Iterator[tuple[float, Any]]:
    """Decode from a frame at or before `first`, each with its time in s: if it has none of its own, by counting."""
    if container.format.name in _UNTIMED and stream.codec_context.has_b_frames:
        yield from zip(times, decoded_anew(container, stream), strict=False)
        return
    for frame in decoded_at(container, stream, first):
        time = _time(container, frame)
        if time is not None:
            yield time, frame
