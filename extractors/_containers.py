"""Open a recording with FFmpeg, and nothing that only names other files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stores.errors import MediaError

# Playlists read other files or the network, image2 a series of them; tty shows plain text as a film.
_NO_RECORDING = frozenset({"concat", "dash", "hls", "image2", "imf", "rtp", "rtsp", "sdp", "tty", "vobsub"})


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield the open PyAV container of a local file. Raises MediaError (undecodable) and FFmpeg's own errors."""
    import av

    with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        if container.format.name in _NO_RECORDING:
            message = f"{path.name} is no recording, but {container.format.long_name or container.format.name}"
            raise MediaError(message, reason="undecodable")
        yield container
