"""Recordings and sound tracks -> 16 kHz mono: soundfile for WAV and FLAC, PyAV for everything else."""

from collections import Counter
from pathlib import Path

import numpy as np

from extractors._containers import beginning, decoded, decoded_at, demuxed, opened
from stores.errors import MediaError
from stores.samples import Sample

_SOUNDFILE = frozenset({".wav", ".flac"})
LONGEST_S = 3600  # an utterance takes seconds; an hour takes 230 MB at 16 kHz
RATES = (1000, 768_000)  # Hz: nobody speaks below, no converter samples above
MOST_CHANNELS = 64  # more than an array of microphones has
_BLOCK = 1 << 22  # values decoded at a time: 16 MB
_UNKNOWN = 1 << 62  # libsndfile: a FLAC that was streamed does not say how long it is
_SYSTEM = 2  # libsndfile: not the file, but opening it
_PREROLL_S = 1.0  # a decoder that starts in mid-stream needs packets before the segment to settle


def load_mono(sample: Sample, rate: int, resampler: str = "soxr_hq") -> np.ndarray:
    """Return the sample's sound as (n,) float32 at `rate` Hz: segment cut, channels averaged, resampled.

    Raises MediaError: undecodable, no_audio_track, empty_media (nothing in the segment), not_finite, too_large (a
    segment of more than LONGEST_S, told by its header or once that much is decoded).
    """
    path = sample.medium("speech")
    assert isinstance(path, Path)
    start_ms, end_ms = sample.segment("speech")
    start, end = (start_ms or 0) / 1000, None if end_ms is None else end_ms / 1000
    try:
        read = _read_soundfile if path.suffix.lower() in _SOUNDFILE else _read_container
        with np.errstate(over="ignore", invalid="ignore"):  # sums of hostile floats: not_finite says it
            mono, found_rate = read(path, start, end)
    except MediaError as error:
        raise MediaError(f"{sample.id}: {error}", reason=error.reason, stage=error.stage) from None
    except Exception as error:  # libsndfile and FFmpeg raise their own kinds
        raise MediaError(f"{sample.id}: cannot decode {path.name}: {error}", reason="undecodable") from error
    if not mono.size:
        raise MediaError(f"{sample.id}: {path.name} has no sound in its segment", reason="empty_media")
    if not np.isfinite(mono).all():
        raise MediaError(f"{sample.id}: {path.name} has samples that are not numbers", reason="not_finite")
    return _resampled(mono, found_rate, rate, resampler)


def _resampled(mono: np.ndarray, found: int, wanted: int, resampler: str) -> np.ndarray:
    if found == wanted:
        return mono
    import librosa

    resampled: np.ndarray = librosa.resample(mono, orig_sr=found, target_sr=wanted, res_type=resampler)
    return resampled


def _read_soundfile(path: Path, start: float, end: float | None) -> tuple[np.ndarray, int]:
    import soundfile

    try:
        source = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        if error.code != _SYSTEM:
            raise
        raise MediaError(f"cannot read {path.name}: system error", reason="unreadable_file", stage="read") from error
    with source as file:
        rate = _checked(file.samplerate, file.channels, path)
        if file.frames >= _UNKNOWN:
            return _read_container(path, start, end)
        first = min(round(start * rate), file.frames)
        last = file.frames if end is None else min(max(first, round(end * rate)), file.frames)
        kept = _Kept(path, rate)
        kept.expect(last - first)
        file.seek(first)
        while first < last:
            block = file.read(min(last - first, _BLOCK // file.channels), dtype="float32", always_2d=True)
            if not len(block):
                break
            kept.add(_mono(block.T))
            first += len(block)
        return kept.sound(), rate


def _read_container(path: Path, start: float, end: float | None) -> tuple[np.ndarray, int]:
    import av

    with opened(path) as container:
        if not container.streams.audio:
            raise MediaError(f"{path.name} has no audio track", reason="no_audio_track")
        stream = container.streams.audio[0]
        rate = _checked(stream.rate, stream.channels, path)
        seeks = start > _PREROLL_S
        flaws = Counter[str]()
        sought = decoded_at(path, container, stream, start - _PREROLL_S, flaws)
        frames = sought if seeks else decoded(demuxed(container, flaws, stream), flaws)
        resampler, begin = av.AudioResampler(format="fltp"), beginning(container)
        kept, position, first, last = _Kept(path, rate), None, 0, None
        for frame in frames:
            time = 0.0 if frame.time is None else frame.time - begin
            if end is not None and time >= end:
                break
            if position is None:
                position = 0
                first = max(0, round((start - time) * rate)) if start else 0
                last = None if end is None else max(first, round((end - time) * rate))
            for out in resampler.resample(frame):
                block = _mono(out.to_ndarray())
                kept.add(block[max(0, first - position) : None if last is None else max(0, last - position)])
                position += len(block)
    return kept.sound(), rate


def _mono(channels: np.ndarray) -> np.ndarray:
    mixed: np.ndarray = channels.mean(axis=0, dtype=np.float32)
    return mixed


def _checked(rate: int | None, channels: int, path: Path) -> int:
    """Return the rate in Hz. Raises MediaError (undecodable) if no recording has such a rate or so many channels."""
    if rate is None or not RATES[0] <= rate <= RATES[1]:
        message = f"{path.name} says {rate or 0} Hz; expected {RATES[0]} to {RATES[1]} Hz"
        raise MediaError(message, reason="undecodable")
    if not 1 <= channels <= MOST_CHANNELS:
        message = f"{path.name} says {channels} channels; expected 1 to {MOST_CHANNELS}"
        raise MediaError(message, reason="undecodable")
    return int(rate)


class _Kept:
    """The sound of a segment as it grows. Raises MediaError (too_large) once it is, or says it will be, too long."""

    def __init__(self, path: Path, rate: int) -> None:
        self._path, self._most = path, LONGEST_S * rate
        self._blocks: list[np.ndarray] = []
        self._size = 0

    def expect(self, size: int) -> None:
        if size > self._most:
            message = f"{self._path.name}: the segment is longer than {LONGEST_S} s: cut it (start_ms, end_ms)"
            raise MediaError(message, reason="too_large")

    def add(self, block: np.ndarray) -> None:
        self._size += len(block)
        self.expect(self._size)
        self._blocks.append(block)

    def sound(self) -> np.ndarray:
        return np.concatenate(self._blocks) if self._blocks else np.empty(0, np.float32)
