"""Open a recording with FFmpeg, and nothing that only names other files; find a time in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stores.errors import MediaError

# Playlists read other files or the network, image2 a series of them; tty shows plain text as a film.
_NO_RECORDING = frozenset({"concat", "dash", "hls", "image2", "imf", "rtp", "rtsp", "sdp", "tty", "vobsub"})
_BACK_S = 10.0  # MPEG-TS has no index: seeking may land after the key frame; one more try lands before it

_TICK_S = 1e-5  # a tick of MPEG-TS


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield the open PyAV container of a local file. Raises MediaError (undecodable) and FFmpeg's own errors."""
    import av

    with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        if container.format.name in _NO_RECORDING:
            message = f"{path.name} is no recording, but {container.format.long_name or container.format.name}"
            raise MediaError(message, reason="undecodable")
        yield container


def beginning(container: Any) -> float:
    """Return the time in s at which the clock of all streams stands when the recording begins."""
    import av

    return float((container.start_time or 0) / av.time_base)


def decoded_at(container: Any, stream: Any, time: float) -> Iterator[Any]:
    """Decode `stream` from a frame at or before `time`, in s from the beginning; all of it if seeking finds none."""
    import av

    begin = beginning(container)
    for target in (time, time - _BACK_S) if time >= _BACK_S else (time,):
        container.seek(int((target + begin) * av.time_base))
        frames = container.decode(stream)
        first = next(frames, None)
        if first is not None and first.time is not None and first.time - begin <= time + _TICK_S:
            yield first
            yield from frames
            return
    yield from decoded_anew(container, stream)


def decoded_anew(container: Any, stream: Any) -> Iterator[Any]:
    """Decode all of `stream`, whatever was read before; the file is opened again, as not every one can be rewound."""
    with opened(Path(container.name)) as again:
        same = again.streams[stream.index]
        same.codec_context.options = stream.codec_context.options
        yield from again.decode(same)
