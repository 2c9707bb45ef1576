"""MFCC and log-mel frames of decoded clips: ours, against a librosa call pair a clip, as a script would have it."""

import csv
import os
from pathlib import Path

import librosa
import numpy as np

from benchmarks._measure import ratio, say
from extractors.extractor import Inputs
from extractors.speech._loading import Sound
from extractors.speech.acoustic import _THREADS, Acoustic, AcousticConfig
from stores.root import Root
from stores.samples import Sample

CLIPS, BATCH, RATE = 400, 64, 16000
SPECTRUM = {"n_fft": 1024, "win_length": 400, "hop_length": 160, "n_mels": 128, "pad_mode": "constant"}


def main() -> None:
    acoustic = Acoustic(AcousticConfig(), Inputs(root=Root()))
    clips, of = _real(acoustic) if os.environ.get("AFFUSE_REAL_DATA") else _synthetic()
    sounds = [Sound(clip) for clip in clips]

    def peer() -> list[np.ndarray]:
        return [by_librosa(clip) for clip in clips]

    def ours() -> list[np.ndarray]:
        return [row for i in range(0, len(clips), BATCH) for row in acoustic.embed(sounds[i : i + BATCH])]

    worst = max(float(np.abs(a - b).max()) for a, b in zip(peer(), ours(), strict=True))
    timed = ratio(peer, ours)
    rate = round(len(clips) / timed["ours_s"])
    made_of = f"{of}; ours on {_THREADS} threads, the peer on one besides those of its matrix products"
    say("acoustic_features", {**timed, "clips_per_s": rate, "worst_db": float(f"{worst:.1e}"), "of": made_of})


def by_librosa(clip: np.ndarray) -> np.ndarray:
    """Return (frames, 168) float32 of a clip at 16 kHz."""
    mfcc = librosa.feature.mfcc(y=clip, sr=RATE, n_mfcc=40, **SPECTRUM)
    level = librosa.power_to_db(librosa.feature.melspectrogram(y=clip, sr=RATE, **SPECTRUM))
    return np.concatenate([mfcc, level]).T


def _real(acoustic: Acoustic) -> tuple[list[np.ndarray], str]:
    """Return clips of every corpus, decoded to 16 kHz."""
    folder = Path(os.environ["AFFUSE_REAL_DATA"])
    with (folder / "manifest_speech.csv").open(newline="") as file:
        paths = [folder / line["path"] for line in csv.DictReader(file)]
    chosen = paths[:: max(1, len(paths) // CLIPS)]
    clips = [acoustic.decode(Sample(id=path.stem, corpus="c", audio=path), "").mono for path in chosen]
    return clips, f"{len(clips)} real clips of {np.mean([len(clip) for clip in clips]) / RATE:.1f} s on average"


def _synthetic() -> tuple[list[np.ndarray], str]:
    generator = np.random.default_rng(0)
    clips = [(0.1 * generator.standard_normal(3 * RATE)).astype(np.float32) for _ in range(CLIPS)]
    return clips, f"{CLIPS} clips of 3.0 s of noise"


if __name__ == "__main__":
    main()
