"""How often the tests of a report see what is not there, and what they miss: simulations with the product's own tests.

Equal models by construction, as in the audit of the reference paper: a data set has two classes and disjoint pairs of
features of one law, one pair a model; nearest centroid on stratified 70/15/15 splits. A true gain is a pair of features
whose classes lie further apart. Studies of speakers, whole ones with the product's own splits, are in
`_group_designs.py`. `--table` prints the tables of docs/statistics.md.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import ndtr, ndtri

from benchmarks import _group_designs
from benchmarks._measure import tell
from reports.findings.limits import GroupSpread, Spread
from reports.statistics._statistic import Design, Measured, PairTest
from reports.statistics.clustered_bootstrap import ClusteredBootstrap, group_weights, noise_of
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


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """One line of the bootstrap over `groups`: one split, `seeds` whose accuracy varies by `noise`, a true `gain`."""

    groups: int
    gain: float = 0.0
    seeds: int = 1
    noise: float = 0.0


GROUPED = (
    *(Grouped(groups=groups) for groups in (10, 20, 50)),
    *(Grouped(groups=groups, gain=gain) for groups, gain in ((10, 0.1), (50, 0.04))),
    *(Grouped(groups=40, seeds=seeds, noise=noise) for noise in (0.015, 0.0) for seeds in (3, 5, 10)),
    *(Grouped(groups=40, seeds=seeds, noise=0.015, gain=gain) for seeds, gain in ((3, 0.04), (10, 0.02))),
)
SAMPLES = 20  # of a group


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.false_positives", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--table", action="store_true", help="print the tables of docs/statistics.md (ten minutes)")
    options = parser.parse_args()
    if options.table:
        for line in table():
            print(line, flush=True)
        return
    started = time.perf_counter()
    cases = [{"design": words(case), "gain": case.gain, **vars(rates(case))} for case in CASES]
    cases += [{"design": words_of_groups(case), "gain": case.gain, **vars(group_rates(case))} for case in GROUPED]
    cases += [
        {"design": f"{shape.name}, {protocol}", **vars(_group_designs.rates(shape, protocol))}
        for shape, protocol in _group_designs.designs()
    ]
    tell("false_positives", {"seconds": round(time.perf_counter() - started, 1), "cases": cases}, options.json)


def table() -> Iterator[str]:
    """Yield the lines of the table, rates in percent."""
    yield "| design | true gain | primary test | naive paired t | power foreseen |"
    yield "|---|---|---|---|---|"
    yield from (_line(words(case), case.gain, rates(case)) for case in CASES)
    yield from (_line(words_of_groups(case), case.gain, group_rates(case)) for case in GROUPED)
    yield ""
    yield "| groups | protocol | a comparison | first family | naive paired t | true gain | power |"
    yield "|---|---|---|---|---|---|---|"
    for shape, protocol in _group_designs.designs():
        yield line_of_design(shape, protocol, _group_designs.rates(shape, protocol))


def line_of_design(shape: _group_designs.Shape, protocol: str, found: _group_designs.Found) -> str:
    """Return a line of the second table; where no study has a verdict of any kind it says so."""
    figures = (found.comparison, found.family, found.naive, found.gain, found.power)
    cells = [f"{100 * figure:.1f}" for figure in figures]
    if not found.power:
        cells = ["no verdict", "no verdict", cells[2], cells[3], "no verdict"]
    return f"| {shape.name} | {protocol} | {' | '.join(cells)} |"


def _line(design: str, gain: float, found: Rates) -> str:
    shares = (found.primary, found.naive, found.foreseen)
    cells = ("" if share is None else f"{100 * share:.1f}" for share in shares)
    return f"| {design} | {100 * gain:.0f} | {' | '.join(cells)} |"


def words_of_groups(case: Grouped) -> str:
    """Return what the design is called in the table."""
    if case.seeds == 1:
        return f"one split, bootstrap over {case.groups} groups"
    return f"one split, {case.seeds} seeds that vary by {100 * case.noise:g} points, {case.groups} groups"


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


def group_rates(case: Grouped) -> Rates:
    """Return the share of data sets in which the bootstrap over groups rejects, and the power foreseen for a gain."""
    rng, design, test = np.random.default_rng(SEED), Design(overlap=False), ClusteredBootstrap(case.groups)
    weights = group_weights(case.groups, DRAWS, SEED)
    rejected, spreads = 0, []
    for _ in range(SETS):
        right = (_by_group if case.seeds == 1 else _by_seed)(case, rng) / (SAMPLES * case.groups)
        a, b = (
            Measured(repeats=own.sum(axis=1), pooled=float(own.sum() / case.seeds), draws=weights @ own.mean(axis=0))
            for own in right
        )
        p = test.compare(a, b, design).p
        rejected += p is not None and p < design.alpha
        if case.gain and a.draws is not None and b.draws is not None:
            noise = noise_of(a, b, a.draws - b.draws, case.groups, design)
            spreads.append((noise.groups, noise.seeds))
    foreseen = None
    if spreads:
        groups, seeds = (float(own) for own in np.mean(spreads, axis=0))
        sd = (groups * case.groups) ** 0.5
        spread = GroupSpread(sd=sd, n=case.groups, seeds=seeds, n_seeds=case.seeds)
        foreseen = spread.power(case.gain, design.alpha)
    return Rates(primary=rejected / SETS, foreseen=foreseen)


def _by_group(case: Grouped, rng: np.random.Generator) -> np.ndarray:
    """Return how many samples are right, (models, 1, groups): each model has a chance of its own in every group.

    It is 0.8 in the mean, with a spread of 0.1.
    """
    chance = rng.beta(12.0, 3.0, size=(2, 1, case.groups))
    chance[0] += case.gain * (1 - chance[0]) / (1 - BASE)
    return rng.binomial(SAMPLES, chance)


def _by_seed(case: Grouped, rng: np.random.Generator) -> np.ndarray:
    """Return how many samples are right, (models, seeds, groups): a sample is hard for both models and all seeds.

    What a model finds hard beyond that is drawn anew by each seed, and so is how good the seed is.
    """
    shape, slope = (2, case.seeds, case.groups * SAMPLES), np.exp(-(ndtri(BASE) ** 2) / 2) / np.sqrt(2 * np.pi)
    hard = np.sqrt(0.8) * rng.standard_normal(shape[2:], dtype=np.float32)
    hard = hard + np.sqrt(0.2) * rng.standard_normal(shape, dtype=np.float32)
    level = ndtri(np.array([BASE + case.gain, BASE]))[:, None] + rng.normal(0, case.noise / slope, shape[:2])
    right: np.ndarray = (hard < level[:, :, None]).reshape(*shape[:2], case.groups, SAMPLES).sum(axis=3)
    return right


if __name__ == "__main__":
    main()
