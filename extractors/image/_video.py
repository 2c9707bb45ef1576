"""Videos -> frames spread evenly over the time of the segment."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extractors._containers import opened
from extractors.image._faces import Faces, Framing
from extractors.image._images import MOST_PIXELS, check_pixels, square
from stores.errors import MediaError

if TYPE_CHECKING:
    from PIL import Image


def load_frames(
    path: Path, framing: Framing, count: int, *, start_ms: int | None, end_ms: int | None, sample_id: str
) -> Faces:
    """Return the frames shown in the middle of `count` equal stretches of the segment, upright, each frame once.

    They are fewer if the segment has fewer frames, or some without a face are left out.
    Raises MediaError: undecodable, too_large, no_video_track, empty_media, no_face.
    """
    end = float("inf") if end_ms is None else end_ms / 1000
    try:
        with opened(path) as container:
            if not container.streams.video:
                raise MediaError(f"{path.name} has no video track", reason="no_video_track")
            shown = _times(container, (start_ms or 0) / 1000, end)
            if not shown.size:
                raise MediaError(f"{path.name} has no frame in its segment", reason="empty_media")
            squares = [square(image, framing) for image in _pictures(container, _spread(shown, end, count))]
            if not squares:
                raise MediaError(f"{path.name} has frames, but none can be decoded", reason="undecodable")
            return framing.faces(squares)
    except MediaError as error:
        raise MediaError(f"{sample_id}: {error}", reason=error.reason) from None
    except Exception as error:  # FFmpeg's own kinds
        raise MediaError(f"{sample_id}: cannot decode {path.name}: {error}", reason="undecodable") from error


def _times(container: Any, start: float, end: float) -> np.ndarray:
    """Return the sorted times in s at which frames of the segment are shown; nothing is decoded for it."""
    packets = [p for p in container.demux(container.streams.video[0]) if p.dts is not None or p.pts is not None]
    times = sorted(float((p.dts if p.pts is None else p.pts) * p.time_base) for p in packets)
    return np.array([time for time in times if start <= time < end])


def _spread(shown: np.ndarray, end: float, count: int) -> np.ndarray:
    """Return the times of the frames on show in the middle of `count` equal stretches, each frame once."""
    last = shown[-1] + (np.median(np.diff(shown)) if len(shown) > 1 else 0.0)
    middles = shown[0] + (np.arange(count) + 0.5) * (min(last, end) - shown[0]) / count
    return np.unique(shown[np.searchsorted(shown, middles, side="right") - 1])


def _pictures(container: Any, wanted: np.ndarray) -> Iterator["Image.Image"]:
    """Decode from the key frame before the first wanted time and yield the wanted frames, upright."""
    import av

    stream = container.streams.video[0]
    check_pixels(stream.width, stream.height)
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # a stream may grow on its way
    container.seek(int(wanted[0] * av.time_base))
    position = 0
    for frame in container.decode(stream):
        if position == len(wanted):
            return
        if frame.time is not None and frame.time >= wanted[position] - 1e-6:
            position += 1
            yield frame.to_image().rotate(frame.rotation, expand=True)
