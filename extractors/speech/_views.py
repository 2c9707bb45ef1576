"""Views of a voice: the same words a little higher or lower, faster or slower, in a little noise."""

from dataclasses import dataclass

import numpy as np

from stores.errors import ConfigError

_WINDOW = 1024  # samples of the phase vocoder: 64 ms at 16 kHz
_MOST_SEMITONES, _MOST_STRETCH, _MOST_DB = 12.0, 0.5, 120.0


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
