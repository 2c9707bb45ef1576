"""How often the tests of a report see what is not there, and what they miss: simulations with the product's own tests.

Equal models by construction, as in the audit of the reference paper: a data set has two classes and disjoint pairs of
features of one law, one pair a model; nearest centroid on stratified 70/15/15 splits. A true gain is a pair of features
whose classes lie further apart. `--table` prints the table of docs/statistics.md.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize
from scipy.special import ndtr, ndtri

from benchmarks._measure import tell
from reports.findings.limits import Spread
from reports.statistics._statistic import Design, Measured, PairTest
from reports.statistics.clustered_bootstrap import ClusteredBootstrap, group_weights
from reports.statistics.corrected_repeated_kfold_t import CorrectedRepeatedKFoldT
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.paired_t import PairedT

TRAIN, TEST = 0.70, 0.15
BASE = 0.80  # accuracy of every model, and of the weaker one where there is a gain
SETS, SEED = 1000, 20250218
BLOCK = 50  # data sets at once
FOLDS = 5
DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of the table: `samples` of a data set, `repeats` on it (which may be `folds`), and the true `gain`."""

    samples: int
    repeats: int
    gain: float = 0.0
    folds: bool = False


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Shares of data sets with p < 0.05, the naive one where there is no gain, and the power `foreseen`."""

    primary: float
    naive: float | None = None
    foreseen: float | None = None


CASES = (
    Case(samples=400, repeats=10),
    Case(samples=400, repeats=20),
    Case(samples=400, repeats=20, folds=True),
    *(Case(samples=samples, repeats=20, gain=gain) for samples in (400, 2000) for gain in (0.01, 0.02, 0.04)),
)
GROUPS = (6, 10, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.false_positives", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--table", action="store_true", help="print the table of docs/statistics.md")
    options = parser.parse_args()
    if options.table:
        print("\n".join(table()))
        return
    started = time.perf_counter()
    cases = [{"design": words(case), "gain": case.gain, **vars(rates(case))} for case in CASES]
    found: dict[str, Any] = {"cases": cases, "groups": {str(n): group_rate(n) for n in GROUPS}}
    tell("false_positives", {"seconds": round(time.perf_counter() - started, 1), **found}, options.json)


def table() -> Iterator[str]:
    """Yield the lines of the table, rates in percent."""
    yield "| design | true gain | primary test | naive paired t | power foreseen |"
    yield "|---|---|---|---|---|"
    for case in CASES:
        found = rates(case)
        shares = (found.primary, found.naive, found.foreseen)
        cells = ("" if share is None else f"{100 * share:.1f}" for share in shares)
        yield f"| {words(case)} | {100 * case.gain:.0f} | {' | '.join(cells)} |"
    for n in GROUPS:
        yield f"| one split, bootstrap over {n} groups | 0 | {100 * group_rate(n):.1f} |  |  |"


def words(case: Case) -> str:
    design = f"{case.repeats // FOLDS} x {FOLDS} folds" if case.folds else f"{case.repeats} repeats of 70/15/15"
    return f"{case.samples} samples, {design}"


def rates(case: Case) -> Rates:
    """Return the shares of data sets in which each test rejects."""
    a, b = accuracies(case)
    ratio = 1 / (FOLDS - 1) if case.folds else TEST / TRAIN
    design = Design(overlap=True, ratio=ratio)
    primary: PairTest = CorrectedRepeatedKFoldT() if case.folds else CorrectedResampledT()
    sd = float(np.sqrt((a - b).var(axis=1, ddof=1).mean()))
    spread = Spread(sd=sd, n=case.repeats, ratio=ratio)
    return Rates(
        primary=_rejected(primary, a, b, design),
        naive=None if case.gain else _rejected(PairedT(), a, b, design),
        foreseen=spread.power(case.gain, design.alpha) if case.gain else None,
    )


def _rejected(test: PairTest, a: np.ndarray, b: np.ndarray, design: Design) -> float:
    results = (
        test.compare(Measured(repeats=first), Measured(repeats=second), design)
        for first, second in zip(a, b, strict=True)
    )
    return sum(result.p is not None and result.p < design.alpha for result in results) / len(a)


def accuracies(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return the accuracies (data sets, repeats) of two models, the first better by the true gain."""
    rng = np.random.default_rng(SEED)
    n = case.samples // 2  # of a class
    trained = round((1 - 1 / FOLDS if case.folds else TRAIN) * n)
    shifts = [_shift(BASE + case.gain, trained), _shift(BASE, trained)]
    blocks = [_block(case, shifts, trained, rng) for _ in range(SETS // BLOCK)]
    first, second = np.moveaxis(np.concatenate(blocks), 2, 0)
    return first, second


def _block(case: Case, shifts: Sequence[float], trained: int, rng: np.random.Generator) -> np.ndarray:
    """Return (BLOCK, repeats, models). Samples are exchangeable, so the data sets of a block can share their splits."""
    n = case.samples // 2
    features = rng.standard_normal(
        (BLOCK, 2, n, len(shifts), 2), dtype=np.float32
    )  # set, class, sample, model, feature
    centres = np.array(shifts, dtype=np.float32)[:, None] / np.sqrt(2)
    features[:, 0] += centres
    features[:, 1] -= centres
    found = np.empty((BLOCK, case.repeats, len(shifts)))
    for j, (train, test) in enumerate(_parts(case, n, trained, rng)):
        means = features[:, :, train].mean(axis=2)  # set, class, model, feature
        normal, middle = means[:, 0] - means[:, 1], (means[:, 0] + means[:, 1]) / 2
        side = ((features[:, :, test] - middle[:, None, None]) * normal[:, None, None]).sum(axis=-1) > 0
        found[:, j] = (side[:, 0].mean(axis=1) + 1 - side[:, 1].mean(axis=1)) / 2
    return found


def _parts(case: Case, n: int, trained: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places of training and test samples in each class: folds, or random splits."""
    for j in range(case.repeats):
        if not case.folds or j % FOLDS == 0:
            order = rng.permutation(n)
        if case.folds:
            turned = np.roll(order, -(n // FOLDS) * (j % FOLDS))
            yield turned[n // FOLDS :], turned[: n // FOLDS]
        else:
            yield order[:trained], order[n - round(TEST * n) :]


def _shift(accuracy: float, trained: int) -> float:
    """Return the half distance of the classes at which a model trained on `trained` a class has that true accuracy."""
    rng = np.random.default_rng(SEED)
    noise = rng.standard_normal((2, 100_000, 2)) / np.sqrt(trained)

    def short(shift: float) -> float:
        mean = np.full(2, shift / np.sqrt(2))
        first, second = noise[0] + mean, noise[1] - mean
        normal, middle = first - second, (first + second) / 2
        length = np.linalg.norm(normal, axis=1)
        hits = ndtr(((mean - middle) * normal).sum(axis=1) / length) + ndtr(
            ((mean + middle) * normal).sum(axis=1) / length
        )
        return float(hits.mean() / 2) - accuracy

    guess = float(ndtri(accuracy))
    return float(optimize.brentq(short, guess - 0.2, guess + 0.5, xtol=1e-6))


def group_rate(n_groups: int) -> float:
    """Return the share of data sets in which the bootstrap over groups rejects, between models that are equal.

    A group has 20 samples; each model has a chance of its own in it to be right, 0.8 in the mean with a spread of 0.1.
    """
    rng, design, test = np.random.default_rng(SEED), Design(overlap=False), ClusteredBootstrap(n_groups)
    weights = group_weights(n_groups, DRAWS, SEED)
    rejected = 0
    for _ in range(SETS):
        chance = rng.beta(12.0, 3.0, size=(n_groups, 2))
        right = rng.binomial(20, chance) / (20 * n_groups)
        a, b = (
            Measured(repeats=np.array([own.sum()]), pooled=float(own.sum()), draws=weights @ own) for own in right.T
        )
        p = test.compare(a, b, design).p
        rejected += p is not None and p < design.alpha
    return rejected / SETS


if __name__ == "__main__":
    main()
