"""Speech -> MFCC and log-mel frames, as librosa computes them."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, ClassVar

import numpy as np

from extractors.extractor import Extractor
from extractors.speech._loading import Sound, load_sound
from stores.errors import ConfigError, MediaError
from stores.samples import Sample
from stores.settings import check_choices
from stores.spec import FeatureSpec, Tolerance

RESAMPLERS = ("soxr_vhq", "soxr_hq", "soxr_mq")
MEL_SCALES = ("slaney", "htk")
PADDINGS = {"zero": "constant", "reflect": "reflect"}  # numpy's and librosa's names
DELTA_WIDTH = 9  # frames, librosa's default
_WINDOW = 1024  # samples of the phase vocoder: 64 ms at 16 kHz
_MOST_SEMITONES, _MOST_STRETCH, _MOST_DB = 12.0, 0.5, 120.0
_BLOCK = 128  # frames at a time: what they need stays in the cache, and larger arrays cost a page fault a page
_PART = 1 << 14  # frames at a time, where all of them at once would be a second copy of an hour
_THREADS = min(4, os.cpu_count() or 1)  # one clip each: what a clip needs fits the cache of its core


@dataclass(frozen=True, slots=True, kw_only=True)
class AcousticConfig:
    """What an acoustic frame is: area-normalised mel bank on the power spectrum, Hann window, centred padding.

    `rate`, `fmin` and `fmax` in Hz; `window`, `hop` and `n_fft` in samples: 25 ms, 10 ms and 64 ms at 16 kHz;
    `mel_scale` is "slaney" or "htk"; `padding`, before the first and after the last sample, "zero" or "reflect";
    `deltas` is the order up to which derivatives of the MFCC are added, 0 to 2; `top_db` in dB below the loudest band
    of the recording; `resampler` is librosa's name of the filter for recordings at another rate.
    """

    rate: int = 16000
    n_fft: int = 1024
    window: int = 400
    hop: int = 160
    n_mels: int = 128
    fmin: float = 0.0
    fmax: float = 8000.0
    mel_scale: str = "slaney"
    padding: str = "zero"
    n_mfcc: int = 40
    deltas: int = 0
    amin: float = 1e-10
    top_db: float = 80.0
    resampler: str = "soxr_hq"

    def __post_init__(self) -> None:
        if not 0 < self.hop <= self.window <= self.n_fft or self.n_fft % 2:
            got = f"{self.hop}, {self.window}, {self.n_fft}"
            raise ConfigError(f"expected 0 < hop <= window <= n_fft and an even n_fft, got {got}")
        if not 0 < self.n_mfcc <= self.n_mels or self.rate < 1 or self.amin <= 0 or self.top_db <= 0:
            raise ConfigError(f"expected 0 < n_mfcc <= n_mels and rate, amin and top_db above 0, got {self}")
        if not 0 <= self.fmin < self.fmax <= self.rate / 2:
            got = f"{self.fmin:g}, {self.fmax:g}, {self.rate}"
            raise ConfigError(f"expected 0 <= fmin < fmax <= rate / 2, got {got}")
        check_choices(self, deltas=(0, 1, 2), resampler=RESAMPLERS, mel_scale=MEL_SCALES, padding=PADDINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceViews:
    """How far a view may be from its recording; all 0: not at all.

    `pitch` in semitones up or down; `stretch` as a share of the duration, longer or shorter (0.1: 0.9 to 1.1 times);
    both are drawn uniformly. `noise` is the signal-to-noise ratio in dB of white noise over the whole recording, 0
    for none.
    """

    pitch: float = 2.0
    stretch: float = 0.1
    noise: float = 30.0

    def __post_init__(self) -> None:
        for name, most in (("pitch", _MOST_SEMITONES), ("stretch", _MOST_STRETCH), ("noise", _MOST_DB)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} of a view should be 0 to {most:g}, got {getattr(self, name):g}")


class Acoustic(Extractor[Sound]):
    """Recording or sound track -> (frames, 168) float32: 40 MFCC, then 128 log-mel bands in dB (power, ref 1).

    One frame each 10 ms, the first centred on the first sample. With `deltas` the MFCC are followed by their first
    and second derivatives: (frames, 208) or (frames, 248), the log-mel bands always last. Equals librosa.feature.mfcc,
    melspectrogram (pad_mode="constant") and delta within 5e-3 dB; silence is -100 dB. Recordings of fewer than 9
    frames have the derivatives of librosa's mode="nearest": first and last frame go on for ever. Source: reference
    paper, section 2.1.3.
    """

    modality = "speech"
    version = 2
    preprocessing = 3
    config_type = AcousticConfig
    packages: ClassVar[tuple[str, ...]] = ("av", "librosa", "numpy", "scipy", "soundfile", "soxr")
    budget = 4_000_000  # samples: four minutes
    decodes_unopened = True
    view_type = VoiceViews

    config: AcousticConfig

    def spec(self) -> FeatureSpec:
        return FeatureSpec(
            layout="ragged",
            dim=(1 + self.config.deltas) * self.config.n_mfcc + self.config.n_mels,
            unit="dB (log-mel) and orthonormal DCT-II of dB (MFCC)",
            dtype="float32",
            tolerance=Tolerance(metric="max_abs", bound=5e-3),
        )

    def warm(self) -> None:
        import soundfile  # noqa: F401
        import soxr  # noqa: F401

    def decode(self, sample: Sample, key: str) -> Sound:
        sound = load_sound(sample, self.config.rate, self.config.resampler)
        if len(sound.mono) < self.config.window:
            message = f"{sample.id}: {len(sound.mono)} samples at {self.config.rate} Hz are less than one window"
            raise MediaError(message, reason="empty_media")
        return sound

    def varied(self, item: Sound, settings: Any, generator: np.random.Generator) -> Sound:
        mono = revoiced(item.mono, settings, generator, resampler=self.config.resampler, least=self.config.window)
        return replace(item, mono=mono)

    def length(self, item: Sound) -> int:
        return len(item.mono)

    def remarks(self, item: Sound) -> Sequence[str]:
        return ("damaged",) if item.damaged else ()

    def embed(self, items: Sequence[Sound]) -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(_THREADS) as threads:
            yield from threads.map(partial(frames, config=self.config), (item.mono for item in items))


@np.errstate(over="ignore", invalid="ignore")  # of hostile floats: the row is then not_finite
def frames(mono: np.ndarray, config: AcousticConfig) -> np.ndarray:
    """Return (1 + n // hop, (1 + deltas) * n_mfcc + n_mels) float32 of one recording (n,) float32.

    No step is a dense matrix product: BLAS would start threads of its own for each.
    """
    from scipy.fft import dct, rfft

    window, bank = _constants(config)
    # A window centred in n_fft zeros has the power spectrum of the bare window: pad for the window only.
    lead = config.n_fft // 2 - (config.n_fft - config.window) // 2
    padded = np.pad(mono, (lead, config.window - lead), PADDINGS[config.padding])  # type: ignore[call-overload]
    framed = np.lib.stride_tricks.sliding_window_view(padded, config.window)[:: config.hop]
    level = np.empty((config.n_mels, 1 + len(mono) // config.hop), np.float32)
    for start in range(0, level.shape[1], _BLOCK):
        spectrum = rfft(framed[start : start + _BLOCK] * window, n=config.n_fft, axis=1)
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        level[:, start : start + _BLOCK] = bank @ np.ascontiguousarray(power.T)
    del padded, framed  # 230 MB of an hour
    np.log10(np.maximum(level, np.float32(config.amin), out=level), out=level)
    level *= 10
    np.maximum(level, level.max() - np.float32(config.top_db), out=level)
    mfcc = np.empty((config.n_mfcc, level.shape[1]), np.float32)
    parts = [slice(start, start + _PART) for start in range(0, level.shape[1], _PART)]
    for part in parts:
        mfcc[:, part] = dct(level[:, part], type=2, norm="ortho", axis=0)[: config.n_mfcc]
    columns = [mfcc, *_derivatives(mfcc, config.deltas), level]
    rows = (np.ascontiguousarray(np.concatenate([column[:, part] for column in columns]).T) for part in parts)
    if len(parts) == 1:
        return next(rows)
    found = np.empty((level.shape[1], sum(map(len, columns))), np.float32)
    for part, row in zip(parts, rows, strict=True):
        found[part] = row
    return found


def _derivatives(mfcc: np.ndarray, orders: int) -> Iterator[np.ndarray]:
    """Yield the derivatives along time of (n_mfcc, frames), per frame: slopes of polynomials fitted to 9 frames."""
    from scipy.signal import savgol_filter

    mode = "interp" if mfcc.shape[1] >= DELTA_WIDTH else "nearest"
    for order in range(1, orders + 1):
        yield savgol_filter(mfcc, DELTA_WIDTH, polyorder=order, deriv=order, axis=1, mode=mode)


@lru_cache(maxsize=4)
def _constants(config: AcousticConfig) -> tuple[np.ndarray, Any]:
    """Return window (window,) and the sparse mel bank (n_mels, 1 + n_fft / 2), both float32."""
    from librosa.filters import mel
    from scipy.signal import get_window
    from scipy.sparse import csr_array

    bank = mel(
        sr=config.rate,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.fmin,
        fmax=config.fmax,
        htk=config.mel_scale == "htk",
        dtype=np.float32,
    )
    return get_window("hann", config.window, fftbins=True).astype(np.float32), csr_array(bank)


def revoiced(
    mono: np.ndarray, views: VoiceViews, generator: np.random.Generator, *, resampler: str, least: int
) -> np.ndarray:
    """Return a view of (n,) float32, itself (m,) float32, at least `least` samples long."""
    semitones, longer = generator.uniform(-1, 1, 2) * (views.pitch, views.stretch)
    if semitones or longer:
        size = max(least, round(len(mono) * (1 + longer)))
        mono = stretched(mono, size, semitones=semitones, resampler=resampler)
    if views.noise:
        noise = generator.standard_normal(len(mono))
        noise *= np.sqrt(np.mean(np.square(mono, dtype=np.float64)) / np.mean(noise**2) / 10 ** (views.noise / 10))
        mono = (mono + noise).astype(np.float32)
    return mono


def stretched(mono: np.ndarray, size: int, *, semitones: float, resampler: str) -> np.ndarray:
    """Return (n,) float32 as (size,) float32, its pitch shifted: one phase vocoder (librosa's), then a resampling."""
    import librosa

    higher = 2.0 ** (semitones / 12)
    enough = librosa.util.fix_length(mono, size=max(len(mono), _WINDOW))  # the vocoder's window must fit
    spectrum = librosa.stft(enough, n_fft=_WINDOW)
    slower = librosa.phase_vocoder(spectrum, rate=len(mono) / (size * higher), hop_length=_WINDOW // 4, n_fft=_WINDOW)
    sound = librosa.istft(slower, n_fft=_WINDOW, length=round(len(enough) * size * higher / len(mono)))
    if semitones:
        sound = librosa.resample(sound, orig_sr=higher, target_sr=1.0, res_type=resampler)
    found: np.ndarray = librosa.util.fix_length(sound, size=size).astype(np.float32, copy=False)
    return found
