"""How often sound studies are warned of near-duplicates, and how many copies are found: `find_near` in simulated rows.

Rows of 240 samples of five classes and 24 speakers fill 12 of 64 dimensions; ten test parts are dealt by speaker.
Scatter is how far each row lies from the mean of its class, log-normal with a sigma. A study is warned of if more than
1 % of its tests are surely flagged; those that are flagged unsurely are left out then, too. Copies are 44 % of the
samples again, under another speaker, with a noise of 2 % of the deviation of every column.
"""

import argparse

import numpy as np

from benchmarks._measure import tell
from fusion.splits import ProtocolConfig, make_splits
from reports.findings.leaks import NOTABLE
from reports.findings.near_duplicates import find_near

SAMPLES, SPEAKERS, CLASSES, WIDTH, FILLED = 240, 24, 5, 64, 12
COPIES, NOISE = 0.44, 0.02
SHAPES = {
    "spread evenly": (0.0, 0.0, 0.0),
    "about classes": (20.0, 0.0, 0.0),
    "about classes and speakers": (20.0, 5.0, 0.0),
    "about classes, sigma 0.6": (20.0, 0.0, 0.6),
    "about classes, sigma 0.9": (20.0, 0.0, 0.9),
    "about classes, sigma 1.2": (20.0, 0.0, 1.2),
}


def rows_of(shape: tuple[float, float, float], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows (n, WIDTH) float64, labels and speakers (n,) of one corpus."""
    by_class, by_speaker, sigma = shape
    labels, speakers = np.arange(SAMPLES) % CLASSES, np.arange(SAMPLES) // (SAMPLES // SPEAKERS)
    scatter = rng.lognormal(sigma=sigma, size=(SAMPLES, 1)) if sigma else 1.0
    own = rng.normal(size=(SAMPLES, FILLED)) @ rng.normal(size=(FILLED, WIDTH))
    means = by_class * rng.normal(size=(CLASSES, WIDTH))[labels]
    means += by_speaker * rng.normal(size=(SPEAKERS, WIDTH))[speakers]
    return means + scatter * own, labels, speakers


def flagged(rows: np.ndarray, labels: np.ndarray, speakers: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the share of all tests that surely have a near row in their training part, and that of all such tests."""
    rows = rows.astype(np.float16)
    near = find_near(rows, speakers, rows, speakers)
    splits = make_splits(labels, speakers, CLASSES, ProtocolConfig(repeats=10), seed)
    tests = sum(len(split.test) for split in splits)

    def share(pairs: np.ndarray) -> float:
        hits = [np.isin(split.test, pairs[np.isin(pairs[:, 1], split.train), 0]).sum() for split in splits]
        return float(sum(hits) / tests)

    return share(near.pairs[near.sure]), share(near.pairs)


def with_copies(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return rows, labels and speakers with copies of COPIES of the samples, each under a speaker of its own."""
    chosen = rng.permutation(len(rows))[: round(COPIES * len(rows))]
    copies = rows[chosen] + NOISE * rows.std(axis=0) * rng.normal(size=(len(chosen), WIDTH))
    return np.concatenate([rows, copies]), np.concatenate([labels, labels[chosen]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for name, shape in SHAPES.items():
        sound, copied = [], []
        for seed in range(options.studies):
            rng = np.random.default_rng(seed)
            rows, labels, speakers = rows_of(shape, rng)
            sound.append(flagged(rows, labels, speakers, seed))
            more, all_labels = with_copies(rows, labels, rng)
            strangers = SPEAKERS + np.arange(len(more) - SAMPLES) // (SAMPLES // SPEAKERS)
            copied.append(flagged(more, all_labels, np.concatenate([speakers, strangers]), seed))
        shares = {
            "sure": np.mean([sure for sure, _ in sound]),
            "all": np.mean([every for _, every in sound]),
            "warned": np.mean([sure > NOTABLE for sure, _ in sound]),
            "copied_sure": np.mean([sure for sure, _ in copied]),
            "copied_all": np.mean([every for _, every in copied]),
            "copied_warned": np.mean([sure > NOTABLE for sure, _ in copied]),
        }
        tell(name, {key: round(float(share), 4) for key, share in shares.items()}, options.json)


if __name__ == "__main__":
    main()
