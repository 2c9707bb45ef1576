"""Speech -> MFCC and log-mel frames, as librosa computes them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from extractors.extractor import Extractor
from extractors.speech._loading import load_mono
from stores.errors import ConfigError, MediaError
from stores.samples import Sample
from stores.spec import FeatureSpec, Tolerance

RESAMPLERS = ("soxr_vhq", "soxr_hq", "soxr_mq")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcousticConfig:
    """What an acoustic frame is: Slaney mel bank from 0 Hz to half the rate, Hann window, centred zero padding.

    `rate` in Hz; `window`, `hop` and `n_fft` in samples: 25 ms, 10 ms and 64 ms at 16 kHz; `top_db` in dB below the
    loudest band of the recording; `resampler` is librosa's name of the filter for recordings at another rate.
    """

    rate: int = 16000
    n_fft: int = 1024
    window: int = 400
    hop: int = 160
    n_mels: int = 128
    n_mfcc: int = 40
    amin: float = 1e-10
    top_db: float = 80.0
    resampler: str = "soxr_hq"

    def __post_init__(self) -> None:
        if not 0 < self.hop <= self.window <= self.n_fft:
            raise ConfigError(f"expected 0 < hop <= window <= n_fft, got {self.hop}, {self.window}, {self.n_fft}")
        if not 0 < self.n_mfcc <= self.n_mels or self.rate < 1 or self.amin <= 0 or self.top_db <= 0:
            raise ConfigError(f"expected 0 < n_mfcc <= n_mels and rate, amin and top_db above 0, got {self}")
        if self.resampler not in RESAMPLERS:
            raise ConfigError(f"resampler should be one of {', '.join(RESAMPLERS)}, got {self.resampler!r}")


class Acoustic(Extractor[np.ndarray]):
    """Recording or sound track -> (frames, 168) float32: 40 MFCC, then 128 log-mel bands in dB (power, ref 1).

    One frame each 10 ms, the first centred on the first sample. Equals librosa.feature.mfcc and melspectrogram
    (pad_mode="constant") within 5e-3 dB; silence is -100 dB. Source: reference paper, section 2.1.3.
    """

    modality = "speech"
    version = 1
    config_type = AcousticConfig
    packages: ClassVar[tuple[str, ...]] = ("av", "librosa", "numpy", "scipy", "soundfile", "soxr")

    config: AcousticConfig

    def spec(self) -> FeatureSpec:
        return FeatureSpec(
            layout="ragged",
            dim=self.config.n_mfcc + self.config.n_mels,
            unit="dB (log-mel) and orthonormal DCT-II of dB (MFCC)",
            dtype="float32",
            tolerance=Tolerance(metric="max_abs", bound=5e-3),
        )

    def decode(self, sample: Sample, key: str) -> np.ndarray:
        mono = load_mono(sample, self.config.rate, self.config.resampler)
        if len(mono) < self.config.window:
            message = f"{sample.id}: {len(mono)} samples at {self.config.rate} Hz are less than one window"
            raise MediaError(message, reason="empty_media")
        return mono

    def length(self, item: np.ndarray) -> int:
        return len(item)

    def embed(self, items: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        return (frames(item, self.config) for item in items)


@np.errstate(over="ignore", invalid="ignore")  # of hostile floats: the row is then not_finite
def frames(mono: np.ndarray, config: AcousticConfig) -> np.ndarray:
    """Return (1 + n // hop, n_mfcc + n_mels) float32 of one recording (n,) float32."""
    from scipy.fft import rfft

    window, bank, transform = _constants(config)
    # A window centred in n_fft zeros has the power spectrum of the bare window: pad for the window only.
    lead = config.n_fft // 2 - (config.n_fft - config.window) // 2
    padded = np.pad(mono, (lead, config.n_fft))
    count = 1 + len(mono) // config.hop
    framed = np.lib.stride_tricks.sliding_window_view(padded, config.window)[:: config.hop][:count]
    spectrum = rfft(framed * window, n=config.n_fft, axis=1)
    mel = (spectrum.real**2 + spectrum.imag**2) @ bank
    level = 10 * np.log10(np.maximum(mel, np.float32(config.amin)))
    level = np.maximum(level, level.max() - np.float32(config.top_db))
    return np.concatenate([level @ transform, level], axis=1)


@lru_cache(maxsize=4)
def _constants(config: AcousticConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return window (window,), mel bank (1 + n_fft / 2, n_mels) and DCT (n_mels, n_mfcc), all float32."""
    from librosa.filters import mel
    from scipy.fft import dct
    from scipy.signal import get_window

    bank = mel(sr=config.rate, n_fft=config.n_fft, n_mels=config.n_mels, dtype=np.float32)
    transform = dct(np.eye(config.n_mels), type=2, norm="ortho", axis=1)[:, : config.n_mfcc]
    window = get_window("hann", config.window, fftbins=True)
    return window.astype(np.float32), np.ascontiguousarray(bank.T), np.ascontiguousarray(transform, np.float32)
