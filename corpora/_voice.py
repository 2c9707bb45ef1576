"""A small source-filter synthesiser: glottal pulses and noise through the formants of vowels.

Source: Fant, Acoustic Theory of Speech Production (1960); pulse shape after Rosenberg, doi:10.1121/1.1912389 (type C).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

RATE = 16_000  # Hz
_VOWELS = np.array(
    [[750, 1200, 2500], [530, 1800, 2500], [300, 2250, 3000], [480, 900, 2450], [330, 800, 2300]], dtype=float
)  # first three formants of a, e, i, o, u in Hz, adult male
_BANDWIDTHS = np.array([70.0, 100.0, 140.0, 220.0])  # Hz
_PHASE = np.linspace(0, 1, 401)  # of one glottal cycle: opens for 40 %, closes for 16 %, stays closed
_OPENING, _CLOSING = 0.5 - 0.5 * np.cos(np.pi * _PHASE / 0.4), np.cos(np.pi / 2 * (_PHASE - 0.4) / 0.16)
_FLOW = np.where(_PHASE < 0.4, _OPENING, np.where(_PHASE < 0.56, _CLOSING, 0.0))
_FRICATIVE = butter(2, [2500, 6500], btype="bandpass", fs=RATE, output="sos")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A speaker: pitch in Hz, formants relative to an adult male, syllables a second, share of breath noise."""

    pitch: float
    tract: float
    rate: float
    breath: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How an utterance is spoken, relative to the speaker's plain manner (all 1 or 0)."""

    pitch: float = 1.0
    accent: float = 1.0  # size of pitch movements
    rate: float = 1.0
    effort: float = 0.0  # 1 is pressed and bright, below 0 lax
    tremor: float = 0.0  # depth of a 6.5 Hz wobble of pitch and loudness
    breath: float = 1.0


def draw_voice(rng: np.random.Generator, *, female: bool) -> Voice:
    return Voice(
        pitch=float((200 if female else 118) * np.exp(rng.normal(0, 0.1))),
        tract=float((1.16 if female else 1.0) * np.exp(rng.normal(0, 0.04))),
        rate=float(rng.uniform(4.2, 5.2)),
        breath=float(rng.uniform(0.02, 0.06)),
    )


def draw_manner(rng: np.random.Generator, cue: str | None) -> Manner:
    """Return a manner that carries the cue of `anger`, of `fear`, or (None) neither; its strength varies."""
    strength = float(rng.uniform(0.7, 1.2))
    anger, fear = (strength * (cue == name) for name in ("anger", "fear"))
    return Manner(
        pitch=float(np.exp(rng.normal(0, 0.05) + 0.2 * anger + 0.25 * fear)),
        accent=float(np.exp(rng.normal(0, 0.2) + 0.9 * anger - 0.2 * fear)),
        rate=float(np.exp(rng.normal(0, 0.05) + 0.06 * anger + 0.1 * fear)),
        effort=float(rng.normal(0, 0.15) + 1.4 * anger - 0.6 * fear),
        tremor=0.15 * fear,
        breath=float(np.exp(rng.normal(0, 0.25) - 0.3 * anger + 2.0 * fear)),
    )


def speak(rng: np.random.Generator, voice: Voice, manner: Manner) -> np.ndarray:
    """Return (samples,) int16 at 16 kHz: six to eight syllables with silence around, 1.1 to 2.3 s."""
    syllables = int(rng.integers(6, 9))
    lengths = rng.uniform(0.8, 1.2, syllables) / (voice.rate * manner.rate)
    starts = 0.08 + np.concatenate([[0], np.cumsum(lengths)])  # seconds, and the end of the last one
    time = np.arange(int((starts[-1] + 0.1) * RATE)) / RATE
    voiced, noisy = _envelopes(rng, time, starts)
    wobble = np.sin(2 * np.pi * 6.5 * time + rng.uniform(0, 2 * np.pi))
    pulses = _pulses(rng, _pitch(rng, time, starts, voice, manner) * (1 + manner.tremor * wobble))
    hiss = rng.standard_normal(len(time))
    source = _tilted(pulses, manner.effort) + voice.breath * manner.breath * hiss
    sound = _spoken(rng, time, starts, voice.tract, source * voiced * (1 + 2 * manner.tremor * wobble))
    sound = sound / np.sqrt(np.mean(sound**2)) + 0.5 * sosfilt(_FRICATIVE, hiss * noisy)
    loudness = 0.05 * np.exp(rng.normal(0, 0.25) + 0.3 * manner.effort)
    room = 10 ** rng.uniform(-3.5, -2.8) * rng.standard_normal(len(time))
    return np.asarray(np.clip((loudness * sound + room) * 32767, -32768, 32767), dtype=np.int16)


def _envelopes(rng: np.random.Generator, time: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the loudness of voice and of fricative noise: each syllable opens with a fricative, a stop or neither."""
    times, voiced, noisy = [0.0], [0.0], [0.0]
    for start, end in pairwise(starts):
        onset = start + (end - start) * rng.uniform(0.2, 0.35)
        closed = rng.choice([0.0, 0.4])  # a stop or fricative silences the voice, a sonorant dips it
        noise = rng.choice([0.0, 1.0]) if closed == 0.0 else 0.0
        times += [start, (start + onset) / 2, onset, onset + 0.02, end - 0.03]
        voiced += [closed, closed, 0.7 if closed else 0.1, 1.0, 0.8]
        noisy += [0.0, noise, 0.2 * noise, 0.0, 0.0]
    times += [starts[-1] + 0.04]
    return np.interp(time, times, [*voiced, 0.0]), np.interp(time, times, [*noisy, 0.0])


def _pitch(rng: np.random.Generator, time: np.ndarray, starts: np.ndarray, voice: Voice, manner: Manner) -> np.ndarray:
    accents = rng.normal(0, 0.07, len(starts)) * manner.accent
    falling = np.linspace(0.08, -0.12, len(starts))
    return np.asarray(voice.pitch * manner.pitch * np.exp(np.interp(time, starts, accents + falling)))


def _pulses(rng: np.random.Generator, pitch: np.ndarray) -> np.ndarray:
    """Return the flow derivative of a glottal pulse train with 1 % jitter."""
    jitter = np.repeat(rng.normal(1, 0.01, len(pitch) // 80 + 1), 80)[: len(pitch)]
    phase = np.cumsum(pitch * jitter) / RATE % 1
    return np.asarray(np.diff(np.interp(phase, _PHASE, _FLOW), prepend=0.0))


def _tilted(pulses: np.ndarray, effort: float) -> np.ndarray:
    """Return the pulses with unit power behind a one-pole low-pass that more effort opens."""
    pole = 1 / (1 + np.exp(1.8 * effort - 0.8))
    tilted = np.asarray(lfilter([1 - pole], [1, -pole], pulses))
    return np.asarray(tilted / np.sqrt(np.mean(tilted**2)))


def _spoken(
    rng: np.random.Generator, time: np.ndarray, starts: np.ndarray, tract: float, source: np.ndarray
) -> np.ndarray:
    """Return the source through one vowel a start, each fading into the next."""
    sound = np.zeros_like(source)
    edges = (np.array([0.0, *starts[:-1], starts[-1]]) * RATE).astype(int)
    vowels = _VOWELS[rng.integers(len(_VOWELS), size=len(starts))] * rng.normal(1, 0.03, (len(starts), 3))
    for number, vowel in enumerate(vowels):
        heard = slice(edges[number], edges[number + 2] if number + 2 < len(edges) else None)
        fade = np.interp(time[heard], starts, np.eye(len(starts))[number])
        sound[heard] += fade * sosfilt(_resonators(tract * np.append(vowel, 3500.0)), source[heard])
    return sound


def _resonators(formants: np.ndarray) -> np.ndarray:
    """Return (4, 6) second-order sections, one resonator a formant in Hz, with unit gain at 0 Hz."""
    radius = np.exp(-np.pi * _BANDWIDTHS / RATE)
    first, second = -2 * radius * np.cos(2 * np.pi * formants / RATE), radius**2
    zero, one = np.zeros(4), np.ones(4)
    return np.column_stack([1 + first + second, zero, zero, one, first, second])
