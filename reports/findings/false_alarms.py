"""A/A calibration: how often this study's own procedure sees a difference between models that have none.

Two models become equal by exchanging their predictions wherever a coin says so: one coin a group, the same in every
repeat, because what is alike in the repeats is what the naive test overlooks. Whatever is then found is a false alarm.
The models stay as they were fitted, so the rate is conditional on them: what training on overlapping parts adds is not
in it. Each pair is tested alone: families and Holm's correction are not in it either.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from reports.evidence import Evidence
from reports.measures import Measures, rounds_of
from reports.metrics import BY_CLASS, Margins, counted_score
from reports.statistics._statistic import FEWEST_REPEATS
from reports.statistics.clustered_bootstrap import FEW_GROUPS, ClusteredBootstrap, Noise, overlap_of, tail_share

FEWEST_COINS = 6  # groups; fewer make at most 16 different exchanges
BEYOND = 3  # draws beyond 0, one added, of the last bootstrap that rejects within a repetition
MOST_DRAWS = 1500  # within a repetition; a level that asks for more would take hours
ALARM = 2.0  # times the nominal rate; sound studies are below 1.1 times in 95 %, with one pair over 6 groups 1.8
FEWEST_TESTED = 5  # repeats times pairs; one pair in 3 repeats is above twice the rate in up to 19 % of sound studies
FLAT = 1e-12  # a smaller spread is rounding, and no test is possible
_CELLS = 1 << 24  # coins held at once


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts by group of some test predictions, float32: `support` (G, K), and (G, 2 K) hits and predicted by model.

    `groups` (G,) are the places of these groups among all.
    """

    groups: np.ndarray
    support: np.ndarray
    models: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class GroupCounts:
    """All test predictions, counted by repeat, and by round: a round holds every tested sample at most once."""

    n_groups: int
    repeats: tuple[Counts, ...]
    rounds: tuple[Counts, ...]


@dataclass(frozen=True, kw_only=True)
class FalsePositives:
    """How many of the repetitions rejected, and the 95 % interval of Wilson for the rate behind it."""

    count: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The false positives between a and b, one comparison alone: by the primary test, and by the naive paired t.

    `naive` is None where the repeats are too few for it.
    """

    a: str
    b: str
    primary: FalsePositives
    naive: FalsePositives | None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The false-positive rates of a study beside the `nominal` one; no pairs where they cannot be told, with a reason.

    `draws` are those of the bootstrap within a repetition, None where the primary test is a t test.
    """

    metric: str
    nominal: float
    repetitions: int
    repeats: int
    groups: int
    draws: int | None
    pairs: tuple[Calibrated, ...]
    reason: str = ""

    @property
    def rate(self) -> float | None:
        """The rate of the primary test over all pairs together; None without pairs."""
        return float(np.mean([pair.primary.rate for pair in self.pairs])) if self.pairs else None

    @property
    def alarming(self) -> bool:
        """Whether the rate over all pairs is beyond what sound studies show by the chance of their splits."""
        return self.rate is not None and self.level is not None and self.rate > self.level

    @property
    def level(self) -> float | None:
        """The pooled rate above which the page warns; None where so few repeats and pairs vary more than that."""
        return ALARM * self.nominal if self.repeats * len(self.pairs) >= FEWEST_TESTED else None


def calibrate(
    evidence: Evidence,
    measures: Measures,
    pairs: Sequence[tuple[str, str]],
    metric: str,
    *,
    repetitions: int,
    seed: int,
) -> Calibration:
    """Return the false-positive rates of `pairs` on a counted metric; pairs share their coins."""
    rows, design = count_by_group(evidence, dict.fromkeys(name for pair in pairs for name in pair)), measures.design
    primary_test = measures.primary
    clustered = isinstance(primary_test, ClusteredBootstrap)
    worth = primary_test.effective if isinstance(primary_test, ClusteredBootstrap) else 0.0
    tested = len(evidence.held_out) >= FEWEST_REPEATS  # by t
    draws = draws_within(design.alpha, worth) if clustered else None
    found = Calibration(
        metric=metric,
        nominal=design.alpha,
        repetitions=repetitions,
        repeats=len(evidence.held_out),
        groups=rows.n_groups,
        draws=draws,
        pairs=(),
        reason=_refusal(rows.n_groups, len(evidence.held_out), tested, draws),
    )
    if found.reason or not pairs:
        return found
    generator = np.random.default_rng(seed)
    naive, primary = np.zeros((2, len(pairs)), dtype=np.int64)
    for coins in _coins(repetitions, rows.n_groups, generator):
        d = _differences(rows, pairs, metric, coins)
        if tested:
            naive += _rejected(d, 0.0, design.alpha).sum(axis=0)
        if clustered:
            seeds = None if design.overlap or len(evidence.held_out) < 2 else d
            drawn = _draws_of(rows, pairs, metric, coins, found.draws or 0, generator)
            wider = overlap_of(design, rows.n_groups) ** 0.5
            primary += _rejected_by_bootstrap(drawn, seeds, worth, design.alpha, wider)
        else:
            primary += _rejected(d, design.ratio, design.alpha).sum(axis=0)
    return replace(
        found,
        pairs=tuple(
            Calibrated(
                a=a, b=b, primary=_rate(int(p), repetitions), naive=_rate(int(n), repetitions) if tested else None
            )
            for (a, b), p, n in zip(pairs, primary, naive, strict=True)
        ),
    )


def _refusal(n_groups: int, repeats: int, tested: bool, draws: int | None) -> str:
    if n_groups < FEWEST_COINS:
        return f"{n_groups} groups allow too few exchanges; {FEWEST_COINS} are the least"
    if draws is None:
        return "" if tested else f"{repeats} repeats are too few for a t test"
    if n_groups < FEW_GROUPS:
        return f"with {n_groups} groups, fewer than {FEW_GROUPS}, the primary test gives no verdict"
    if draws > MOST_DRAWS:
        return (
            f"this level asks for {draws:,} draws of {n_groups} groups in every repetition; {MOST_DRAWS:,} are the most"
        )
    return ""


def _rate(count: int, repetitions: int) -> FalsePositives:
    interval = stats.binomtest(count, repetitions).proportion_ci(method="wilson")
    return FalsePositives(count=count, rate=count / repetitions, low=float(interval.low), high=float(interval.high))


def _coins(repetitions: int, n_groups: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield (some, groups) float32 of 0 and 1 until there are `repetitions` of them."""
    block = max(1, _CELLS // n_groups)
    for start in range(0, repetitions, block):
        size = (min(block, repetitions - start), n_groups)
        yield generator.integers(0, 2, size=size, dtype=np.uint8).astype(np.float32)


def _differences(rows: GroupCounts, pairs: Sequence[tuple[str, str]], metric: str, coins: np.ndarray) -> np.ndarray:
    """Return a - b after the exchange, (repetitions, repeats, pairs) float64."""
    d = np.empty((len(coins), len(rows.repeats), len(pairs)))
    for j, counts in enumerate(rows.repeats):
        a, b = _sides(counts, pairs)
        moved = _total(coins[:, counts.groups], b - a)
        support = counts.support.sum(axis=0)
        d[:, j] = _score(metric, support, a.sum(axis=0) + moved) - _score(metric, support, b.sum(axis=0) - moved)
    return d


def _sides(counts: Counts, pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of the first and of the second models, (G, pairs, 2 K) each."""
    first, second = (np.stack([counts.models[pair[side]] for pair in pairs], axis=1) for side in (0, 1))
    return first, second


def _score(metric: str, support: np.ndarray, counts: np.ndarray) -> np.ndarray:
    hits, predicted = np.split(counts, 2, axis=-1)
    return counted_score(metric, Margins(hits=hits, support=support, predicted=predicted))


def _rejected(d: np.ndarray, ratio: float, alpha: float) -> np.ndarray:
    """Return which t tests reject, (repetitions, pairs), of differences (repetitions, repeats, pairs)."""
    n = d.shape[1]
    mean, sd = d.mean(axis=1), d.std(axis=1, ddof=1)
    reach = stats.t.ppf(1 - alpha / 2, n - 1) * sd * np.sqrt(1 / n + ratio)
    rejected: np.ndarray = (np.abs(mean) > reach) & (sd > FLAT)
    return rejected


def _rejected_by_bootstrap(
    drawn: Iterator[np.ndarray], seeds: np.ndarray | None, n_groups: float, alpha: float, wider: float = 1.0
) -> np.ndarray:
    """Return how many bootstraps over groups reject, (pairs,), of draws (draws, pairs) of one repetition after another.

    The draws are widened about their mean by `wider`, as the test widens them where training is shared.
    `seeds` (repetitions, repeats, pairs) are the differences whose variance counts as noise of training.
    """
    level = np.array([stats.t.isf(alpha / 2, n_groups - 1)])
    rejected: np.ndarray = np.zeros(1, dtype=np.int64)
    for i, d in enumerate(drawn):
        defined = np.isfinite(d)
        n, spread = defined.sum(axis=0), np.nanvar(d, axis=0, ddof=1)
        if seeds is not None:
            gain, groups = seeds[i].mean(axis=0), np.maximum(spread, FLAT**2) * n_groups / (n_groups - 1)
            own = seeds[i].var(axis=0, ddof=1) / len(seeds[i])
            d = gain + (d - gain) * Noise(groups=groups, n_groups=n_groups, seeds=own, n_seeds=len(seeds[i])).stretch(
                level
            )
        if wider > 1:
            d = (middle := np.nanmean(d, axis=0)) + wider * (d - middle)
        tail = 1 + np.minimum((d <= 0).sum(axis=0), (d >= 0).sum(axis=0))
        rejected = rejected + ((tail * (len(d) + 1) <= BEYOND * (n + 1)) & (spread > FLAT**2))
    return rejected


def _draws_of(
    rows: GroupCounts,
    pairs: Sequence[tuple[str, str]],
    metric: str,
    coins: np.ndarray,
    draws: int,
    generator: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Yield draws of a - b, (draws, pairs), for every repetition anew; NaN where a draw lacks a class."""
    support, models, (first, second) = _all_rounds(rows, pairs)
    gap = models[:, :, second] - models[:, :, first]
    there = support.any(axis=0)
    for own in coins:
        weights = _draw_groups(draws, rows.n_groups, generator)
        moved, total = _total(weights * own, gap), _total(weights, models)
        drawn = _total(weights, support)
        a, b = total[:, :, first] + moved, total[:, :, second] - moved
        d = _score(metric, drawn, a) - _score(metric, drawn, b)
        if metric in BY_CLASS:
            d[~((drawn > 0) | ~there).all(axis=(1, 2, 3))] = np.nan
        yield d.mean(axis=1)


def _all_rounds(rows: GroupCounts, pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return support (G, rounds, 1, K), counts (G, rounds, models, 2 K), and the places of pairs there (2, pairs)."""
    names = list(rows.rounds[0].models)
    k = rows.rounds[0].support.shape[1]
    support = np.zeros((rows.n_groups, len(rows.rounds), 1, k), dtype=np.float32)
    models = np.zeros((rows.n_groups, len(rows.rounds), len(names), 2 * k), dtype=np.float32)
    for i, counts in enumerate(rows.rounds):
        support[counts.groups, i, 0] = counts.support
        models[counts.groups, i] = np.stack([counts.models[name] for name in names], axis=1)
    return support, models, np.array([[names.index(name) for name in pair] for pair in pairs]).T


def _total(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the counts (G, ...) added up under each row of `weights` (draws, G)."""
    total: np.ndarray = weights @ counts.reshape(len(counts), -1)
    return total.reshape(len(weights), *counts.shape[1:])


def draws_within(alpha: float, n_groups: float) -> int:
    """Return how many draws a repetition makes: as many as let BEYOND of them be the last that rejects at alpha."""
    return int(BEYOND / tail_share(alpha, n_groups))


def _draw_groups(draws: int, n_groups: int, generator: np.random.Generator) -> np.ndarray:
    """Return (draws, groups) float32: how often each group is drawn when all are drawn with replacement."""
    drawn = generator.integers(0, n_groups, size=(draws, n_groups)) + n_groups * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n_groups).reshape(draws, -1).astype(np.float32)


def count_by_group(evidence: Evidence, models: Iterable[str]) -> GroupCounts:
    """Return the counts of `models`; all share the samples, so they share groups and supports."""
    parts, k = evidence.held_out, len(evidence.classes)
    (names, group), actual = evidence.group_index, evidence.labels
    predicted = {name: evidence.predicted(name) for name in models}
    repeat = np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts])

    def counted_in(blocks: np.ndarray) -> tuple[Counts, ...]:
        chosen = [np.flatnonzero(blocks == i) for i in range(blocks.max() + 1)]
        return tuple(_counts(group[i], actual[i], {m: p[i] for m, p in predicted.items()}, k) for i in chosen)

    return GroupCounts(n_groups=len(names), repeats=counted_in(repeat), rounds=counted_in(rounds_of(parts)))


def _counts(group: np.ndarray, actual: np.ndarray, predicted: Mapping[str, np.ndarray], k: int) -> Counts:
    groups, place = np.unique(group, return_inverse=True)

    def counted(classes: np.ndarray, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        counts = np.bincount((place * k + classes)[which], minlength=len(groups) * k)
        return counts.reshape(-1, k).astype(np.float32)

    models = {
        name: np.concatenate([counted(actual, own == actual), counted(own)], axis=1) for name, own in predicted.items()
    }
    return Counts(groups=groups, support=counted(actual), models=models)
