"""Sound as it grows: channels averaged, resampled block by block, refused once it is too long."""

from pathlib import Path
from typing import Any

import numpy as np

from extractors._containers import MOST_LOST
from stores.errors import MediaError

LONGEST_S = 3600  # an utterance takes seconds; an hour takes 230 MB at 16 kHz
BLOCK = 1 << 22  # values at a time: 16 MB
_ROUNDED_S = 0.1  # no end is missing that is shorter: headers round, and codecs pad
_RATES = (1000, 768_000)  # Hz: nobody speaks below, no converter samples above
_MOST_CHANNELS = 64  # more than an array of microphones has


class Mono:
    """The sound of a segment at `rate` Hz, from blocks at any rates, each stretch of one rate resampled as a stream.

    Equals librosa.resample of a whole stretch. Raises MediaError (too_large) once it is, or says it will be, too long.
    """

    def __init__(self, path: Path, rate: int, resampler: str) -> None:
        self._path, self._rate, self._resampler = path, rate, resampler
        self._blocks: list[np.ndarray] = []
        self._stream: Any = None
        self._found = self._given = self._made = 0
        self._seconds = 0.0

    def expect(self, seconds: float) -> None:
        if self._seconds + seconds > LONGEST_S + 1e-6:
            message = f"{self._path.name}: the segment is longer than {LONGEST_S} s: cut it (start_ms, end_ms)"
            raise MediaError(message, reason="too_large")

    def add(self, block: np.ndarray, found: int) -> None:
        """Add (n,) float32 at `found` Hz."""
        self.expect(len(block) / found)
        if found != self._found:
            self._finish()
            self._found, self._given, self._made = found, 0, 0
            self._stream = self._new_stream() if found != self._rate else None
        self._seconds += len(block) / found
        self._given += len(block)
        self._keep(block if self._stream is None else self._stream.resample_chunk(block))

    def silence(self, count: int, found: int) -> None:
        self.expect(count / found)
        for start in range(0, count, BLOCK):
            self.add(np.zeros(min(BLOCK, count - start), np.float32), found)

    def sound(self) -> np.ndarray:
        self._finish()
        return np.concatenate(self._blocks) if self._blocks else np.empty(0, np.float32)

    def _new_stream(self) -> Any:
        import soxr

        return soxr.ResampleStream(self._found, self._rate, 1, dtype="float32", quality=self._resampler)

    def _finish(self) -> None:
        if self._stream is not None:
            self._keep(self._stream.resample_chunk(np.empty(0, np.float32), last=True))
            self._keep(np.zeros(int(np.ceil(self._given * (self._rate / self._found))) - self._made, np.float32))

    def _keep(self, block: np.ndarray) -> None:
        self._made += len(block)
        self._blocks.append(block)


def averaged(channels: np.ndarray) -> np.ndarray:
    """Return (n,) float32 of (channels, n)."""
    mixed: np.ndarray = channels.mean(axis=0, dtype=np.float32)
    return mixed


def checked(rate: int | None, channels: int, path: Path) -> int:
    """Return the rate in Hz. Raises MediaError (undecodable) if no recording has such a rate or so many channels."""
    if rate is None or not _RATES[0] <= rate <= _RATES[1]:
        message = f"{path.name} says {rate or 0} Hz; expected {_RATES[0]} to {_RATES[1]} Hz"
        raise MediaError(message, reason="undecodable")
    if not 1 <= channels <= _MOST_CHANNELS:
        message = f"{path.name} says {channels} channels; expected 1 to {_MOST_CHANNELS}"
        raise MediaError(message, reason="undecodable")
    return int(rate)


def bearable(path: Path, missing: float, length: float, damaged: float = 0.0) -> bool:
    """Return whether sound is lost: a `missing` end, or `damaged` parts, in s, of `length` s.

    Raises MediaError (damaged) if it is more than MOST_LOST of them.
    """
    lost = max(damaged, missing if missing > _ROUNDED_S else 0.0)  # an unplaced loss is missing at the end as well
    if lost > MOST_LOST * max(0.0, length):
        message = f"{path.name}: {lost:.1f} of {length:.1f} s are damaged or missing"
        raise MediaError(message, reason="damaged")
    return lost > 0
