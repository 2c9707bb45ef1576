"""Open a recording with FFmpeg, and nothing that only names other files; find a time in it, pass over its flaws."""

import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from stores.errors import MediaError

# Playlists read other files or the network, image2 a series of them; tty shows plain text as a film.
_NO_RECORDING = {"concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sdp", "tty", "vobsub"}
_BY_NAME = {".g722": "g722", ".gsm": "gsm"}  # telephone codecs without a header: nothing else says what they are
MOST_LOST = 0.05  # of a segment: without more than that it is another recording
_ERRORS = 16  # one after the other, until a recording counts as ended

_NESTED, _DEEPEST = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"}, 5  # boxes in boxes of an MP4
_LISTS = {b"stsz": 16, b"stz2": 16, b"trun": 12}  # and where in a box the number of packets is


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield the open PyAV container of a local file; errors of FFmpeg in the block are MediaError (undecodable).

    FFmpeg is given the open file instead of its name, so that it goes by the content and can open nothing else. A clock
    that wraps or begins anew is left as it is. Raises OSError only if the disk refuses to read the file.
    """
    import av

    with path.open("rb", buffering=0) as file:
        if _packets(file, size := file.seek(0, os.SEEK_END)) > size:
            raise MediaError(f"{path.name} lists more packets than it has bytes", reason="too_large")
        file.seek(0)
        try:
            with _container(file.fileno(), path) as container:
                yield container
        except av.FFmpegError as error:
            file.seek(0)
            while file.read(1 << 20):  # FFmpeg calls bad data, too, an operation that is not permitted
                pass
            raise MediaError(f"cannot decode {path.name}: {error.strerror}", reason="undecodable") from None


def _container(number: int, path: Path) -> Any:
    import av

    formats = {"protocol_whitelist": "fd", "format_whitelist": _recordings()}
    options = {**formats, "correct_ts_overflow": "0", "fd": str(number)}
    try:
        return av.open("fd:", options=options)
    except av.ArgumentError:  # so FFmpeg refuses a format by its content, before anything in it is followed
        message = f"{path.name} is no recording by itself: a playlist or another list of files, text, or damaged"
        raise MediaError(message, reason="undecodable") from None
    except av.InvalidDataError:
        if (kind := _BY_NAME.get(path.suffix.lower())) is None:
            raise
        os.lseek(number, 0, os.SEEK_SET)
        return av.open("fd:", format=kind, options=options)


def _packets(file: IO[bytes], end: int, at: int = 0, depth: int = 0) -> int:
    """Return how many packets an MP4 lists from `at` on (ISO 14496-12); FFmpeg makes room for all of them at once."""
    listed = 0
    while at + 16 <= end:
        file.seek(at)
        size, kind, large = struct.unpack(">I4sQ", file.read(16))
        after = at + (large if size == 1 else size or end)
        if kind in _NESTED and depth < _DEEPEST:
            listed += _packets(file, min(end, after), at + 8, depth + 1)
        elif kind in _LISTS:
            file.seek(at + _LISTS[kind])
            listed += int.from_bytes(file.read(4), "big")
        if after <= at:
            break
        at = after
    return listed


@cache
def _recordings() -> str:
    import av

    return ",".join(sorted(av.formats_available - _NO_RECORDING))


def beginning(container: Any) -> float:
    """Return the time in s at which the clock of all streams stands when the recording begins."""
    import av

    return float((container.start_time or 0) / av.time_base)


def demuxed(container: Any, flaws: Counter[str], *streams: Any) -> Iterator[Any]:
    """Yield the packets of `streams` (of all, if none is named) from where the container stands.

    What cannot be read is passed over; `flaws` says how often, and how many packets FFmpeg calls corrupt: `damaged`.
    """
    import av

    errors = 0
    while errors < _ERRORS:
        try:
            for packet in container.demux(*streams):
                errors = 0
                flaws["damaged"] += packet.is_corrupt
                yield packet
        except av.FFmpegError:
            errors += 1
            flaws["damaged"] += 1
        else:
            return
