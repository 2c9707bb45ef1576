"""Recordings and sound tracks -> 16 kHz mono: soundfile for WAV and FLAC, PyAV for everything else."""

from pathlib import Path

import numpy as np

from stores.errors import MediaError
from stores.samples import Sample

_SOUNDFILE = frozenset({".wav", ".flac"})
_SYSTEM = 2  # libsndfile: not the file, but opening it
_PREROLL_S = 1.0  # a decoder that starts in mid-stream needs packets before the segment to settle


def load_mono(sample: Sample, rate: int) -> np.ndarray:
    """Return the sample's sound as (n,) float32 at `rate` Hz: segment cut, channels averaged, resampled by soxr.

    Raises MediaError: undecodable, no_audio_track, empty_media (nothing in the segment), not_finite.
    """
    path = sample.medium("speech")
    assert isinstance(path, Path)
    start_ms, end_ms = sample.segment("speech")
    start, end = (start_ms or 0) / 1000, None if end_ms is None else end_ms / 1000
    try:
        read = _read_soundfile if path.suffix.lower() in _SOUNDFILE else _read_container
        channels, found_rate = read(path, start, end)
    except MediaError as error:
        raise MediaError(f"{sample.id}: {error}", reason=error.reason, stage=error.stage) from None
    except Exception as error:  # libsndfile and FFmpeg raise their own kinds
        raise MediaError(f"{sample.id}: cannot decode {path.name}: {error}", reason="undecodable") from error
    mono = channels.mean(axis=0, dtype=np.float32)
    if not mono.size:
        raise MediaError(f"{sample.id}: {path.name} has no sound in its segment", reason="empty_media")
    if not np.isfinite(mono).all():
        raise MediaError(f"{sample.id}: {path.name} has samples that are not numbers", reason="not_finite")
    return _resampled(mono, found_rate, rate)


def _resampled(mono: np.ndarray, found: int, wanted: int) -> np.ndarray:
    if found == wanted:
        return mono
    import librosa

    resampled: np.ndarray = librosa.resample(mono, orig_sr=found, target_sr=wanted, res_type="soxr_hq")
    return resampled


def _read_soundfile(path: Path, start: float, end: float | None) -> tuple[np.ndarray, int]:
    import soundfile

    try:
        opened = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        if error.code != _SYSTEM:
            raise
        raise MediaError(f"cannot read {path.name}: system error", reason="unreadable_file", stage="read") from error
    with opened as file:
        rate = int(file.samplerate)
        first = min(round(start * rate), file.frames)
        file.seek(first)
        count = -1 if end is None else max(0, round(end * rate) - first)
        return file.read(count, dtype="float32", always_2d=True).T, rate


def _read_container(path: Path, start: float, end: float | None) -> tuple[np.ndarray, int]:
    import av

    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise MediaError(f"{path.name} has no audio track", reason="no_audio_track")
        stream = container.streams.audio[0]
        rate = int(stream.rate)
        if start > _PREROLL_S:
            container.seek(int((start - _PREROLL_S) * av.time_base))
        resampler = av.AudioResampler(format="fltp")
        blocks, begin = [np.empty((stream.channels, 0), np.float32)], None
        for frame in container.decode(stream):
            time = 0.0 if frame.time is None else frame.time
            if end is not None and time >= end:
                break
            begin = time if begin is None else begin
            blocks += [out.to_ndarray() for out in resampler.resample(frame)]
    samples = np.concatenate(blocks, axis=1)
    offset = begin or 0.0
    first = max(0, round((start - offset) * rate)) if start else 0
    last = None if end is None else max(first, round((end - offset) * rate))
    return samples[:, first:last], rate
