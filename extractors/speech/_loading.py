"""Recordings and sound tracks -> 16 kHz mono: libsndfile for WAV and FLAC, FFmpeg for everything else, in a child."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from extractors._isolated import isolated
from extractors.speech._mono import BLOCK, LONGEST_S, Mono, averaged, bearable, checked
from extractors.speech._tracks import read_track
from stores.errors import MediaError
from stores.samples import Sample

Reader = Callable[[Path, float, float | None, int, str], tuple[np.ndarray, bool]]
_PCM = (b"RIFF", b"RF64", b"fLaC")  # how a file begins that libsndfile is asked for first
_UNKNOWN = 1 << 62  # libsndfile: a FLAC that was streamed does not say how long it is
_TOLD = re.compile(r"^data : (\d+) \(should be (\d+)\)|Frames +: (\d+)", re.MULTILINE)  # libsndfile on headers
_STREAMED = 0x7FFFF000  # bytes: who cannot know how much comes writes about the largest number there is


@dataclass(frozen=True, slots=True)
class Sound:
    """(n,) float32, mono; `damaged` if some of it could not be decoded, or the end is missing."""

    mono: np.ndarray
    damaged: bool = False

    @property
    def nbytes(self) -> int:
        return self.mono.nbytes


def load_sound(sample: Sample, rate: int, resampler: str = "soxr_hq") -> Sound:
    """Return the sample's sound at `rate` Hz: segment cut, channels averaged, resampled.

    What a file holds decides who decodes it, never its name; what one decoder cannot read is tried with the other.
    Raises MediaError: undecodable, no_audio_track, empty_media (nothing in the segment), not_finite, damaged (too much
    of the segment is lost), too_large (a segment of more than LONGEST_S, told by its header or once that much is
    decoded).
    """
    path = sample.medium("speech")
    assert isinstance(path, Path)
    start_ms, end_ms = sample.segment("speech")
    start, end = (start_ms or 0) / 1000, None if end_ms is None else end_ms / 1000
    try:
        with path.open("rb") as file:
            ours = file.read(4) in _PCM
        track, whole = partial(isolated, read_track), _read_file if ours else partial(isolated, _read_file)
        readers: tuple[Reader, Reader] = (whole, track) if ours else (track, whole)
        with np.errstate(over="ignore", invalid="ignore"):  # sums of hostile floats: not_finite says it
            mono, damaged = _read(readers, path, start, end, rate, resampler)
    except MediaError as error:
        raise MediaError(f"{sample.id}: {error}", reason=error.reason, stage=error.stage) from None
    except OSError as error:
        message = f"{sample.id}: cannot read {path.name}: {error.strerror or error}"
        raise MediaError(message, reason="unreadable_file", stage="read") from error
    except Exception as error:  # libsndfile raises its own kinds
        raise MediaError(f"{sample.id}: cannot decode {path.name}: {error}", reason="undecodable") from error
    if not mono.size:
        raise MediaError(f"{sample.id}: {path.name} has no sound in its segment", reason="empty_media")
    if not np.isfinite(mono).all():
        raise MediaError(f"{sample.id}: {path.name} has samples that are not numbers", reason="not_finite")
    return Sound(mono, damaged)


def _read(readers: tuple[Reader, Reader], *args: Any) -> tuple[np.ndarray, bool]:
    """Ask the first reader, and the second for what the first cannot decode."""
    first, second = readers
    try:
        return first(*args)
    except Exception as error:
        if not _another_may(error):
            raise
        try:
            return second(*args)
        except Exception as other:
            raise (error if _another_may(other) else other) from None


def _another_may(error: Exception) -> bool:
    if isinstance(error, MediaError):
        return error.reason == "undecodable"
    return not isinstance(error, ImportError | MemoryError | OSError)


def _read_file(path: Path, start: float, end: float | None, rate: int, resampler: str) -> tuple[np.ndarray, bool]:
    """Read a segment as `read_track` does, by libsndfile."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        found = checked(file.samplerate, file.channels, path)
        if file.frames >= _UNKNOWN or (not file.frames and not _closed(path)):
            raise MediaError(f"{path.name} does not say how long it is", reason="undecodable")
        told, stop = _told(file), round((LONGEST_S * 1000 if end is None else end) * found)
        first, last = round(start * found), min(stop, file.frames)
        mono = Mono(path, rate, resampler)
        mono.expect(max(0, last - first) / found)
        position = file.seek(min(first, file.frames)) if file.seekable() else 0
        while position < last:
            block = file.read(min(last - position, BLOCK // file.channels), dtype="float32", always_2d=True)
            if not len(block):
                break
            mono.add(averaged(block[max(0, first - position) :].T), found)
            position += len(block)
        wanted = min(stop, told)
        return mono.sound(), bearable(path, (wanted - max(first, position)) / found, (wanted - first) / found)


def _told(file: Any) -> int:
    """Return how many frames the header speaks of, if that can be believed; libsndfile counts those that are there."""
    told: list[int] = [file.frames]
    for declared, there, frames in _TOLD.findall(file.extra_info):
        if frames or int(declared) < _STREAMED:
            told.append(int(frames or file.frames * int(declared) // max(1, int(there))))
    return max(count for count in told if count <= max(file.frames, LONGEST_S * file.samplerate))


def _closed(path: Path) -> bool:
    """Return whether a RIFF file ends where its header says: a recorder that is killed leaves it without a size."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(8)[4:], "little") + 8 == path.stat().st_size
