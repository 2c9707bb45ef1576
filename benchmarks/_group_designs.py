"""Simulated studies of speakers: unequal sizes, label mixes of their own, five to forty of them, under every protocol.

Six models are equal by construction: each sees features of its own, all of one law, in which every speaker is off by
an amount of his own, and is a nearest centroid trained anew in every repeat. A seventh sees classes further apart.
Splits and tests are the product's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fusion.splits import ProtocolConfig, Split, make_splits
from reports.comparisons import UNTOLD, judge
from reports.errors import StatisticsError
from reports.statistics._statistic import Design, Measured, PairResult, PairTest
from reports.statistics.clustered_bootstrap import ClusteredBootstrap, draws_for, group_weights
from reports.statistics.corrected_repeated_kfold_t import CorrectedRepeatedKFoldT
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.holm import Holm
from reports.statistics.paired_t import PairedT

EQUAL = 6  # models; the first is the reference, the others are its family
FEATURES, FURTHER = 6, 1.5  # of a model; of the distance of the classes, for the one that is better
CORPORA, STUDIES = 60, 25  # corpora of a design, and studies of each: other features, the same splits
DRAWS, SEEDS, SEED = 1000, 5, 20261130


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of the groups (G,) and the concentration of a Beta law their label mixes follow; None: all alike."""

    name: str
    sizes: Sequence[int]
    mix: float | None = None


SHAPES = (
    *(Shape(name=f"{n} equal groups", sizes=[300 // n] * n) for n in (5, 8, 12, 40)),
    Shape(name="12 unequal groups", sizes=[max(5, round(100 * 0.75**i)) for i in range(12)], mix=2.0),
    Shape(name="20 unequal groups", sizes=[max(5, round(60 * 0.85**i)) for i in range(20)], mix=2.0),
    Shape(name="14 groups, own label mixes", sizes=[25] * 14, mix=0.8),
    Shape(name="30 groups, own label mixes", sizes=[12] * 30, mix=0.8),
    Shape(name="one group of a quarter, 20 small", sizes=[100, *[15] * 20], mix=2.0),
    Shape(name="two groups of a quarter, 15 small", sizes=[100, 100, *[14] * 15], mix=2.0),
)
PROTOCOLS = {
    "20 repeats of 70/15/15": ProtocolConfig(),
    "10 folds, 1 round": ProtocolConfig(kind="k-fold"),
    "10 folds, 10 rounds": ProtocolConfig(kind="k-fold", rounds=10),
    "one group out": ProtocolConfig(kind="leave-one-group-out"),
    f"half of the groups tested, {SEEDS} seeds": ProtocolConfig(kind="fixed", repeats=SEEDS),
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """Shares of studies in which a comparison of equal models errs, the naive test does, any of the family does,
    and in which the better model is told from an equal one; `gain` is the true one, as all studies together show it.
    """

    comparison: float
    naive: float
    family: float
    power: float
    gain: float


def designs() -> Iterator[tuple[Shape, str]]:
    """Yield every shape under every protocol that can be carried out with so many groups."""
    for shape in SHAPES:
        for protocol, config in PROTOCOLS.items():
            if config.kind != "k-fold" or len(shape.sizes) > config.folds:
                yield shape, protocol


def rates(shape: Shape, protocol: str, corpora: int = CORPORA) -> Found:
    """Return how often the product's tests reject in `corpora` x STUDIES studies of a design."""
    rng = np.random.default_rng([SEED, *shape.name.encode(), *protocol.encode()])
    told = [study for _ in range(corpora) for study in _studies(shape, PROTOCOLS[protocol], rng)]
    comparison, naive, family, power, gain = np.mean(told, axis=0)
    return Found(comparison=comparison, naive=naive, family=family, power=power, gain=gain)


def _studies(shape: Shape, protocol: ProtocolConfig, rng: np.random.Generator) -> Iterator[list[float]]:
    labels, groups = _corpus(shape, rng)
    fixed = np.where(np.isin(groups, rng.permutation(len(shape.sizes))[::2]), "test", "train")
    splits = make_splits(labels, groups, 2, protocol, int(rng.integers(2**31)), fixed=fixed.tolist())
    right = _right(labels, groups, splits, protocol, rng)
    design = Design(
        overlap=protocol.kind != "fixed", ratio=sum(len(s.test) for s in splits) / sum(len(s.train) for s in splits)
    )
    tested = np.concatenate([groups[split.test] for split in splits])
    numbers = np.unique(tested, return_inverse=True)[1]
    test: PairTest = CorrectedRepeatedKFoldT() if protocol.kind == "k-fold" else CorrectedResampledT()
    weights = np.empty((0, 0))
    if protocol.kind in ("leave-one-group-out", "fixed"):
        test = ClusteredBootstrap.over(numbers)
        weights = group_weights(test.n_groups, draws_for(design.alpha, EQUAL - 1, test.effective, DRAWS), SEED)
    ends = np.cumsum([len(split.test) for split in splits])
    for own in right:  # (models, tests in a row)
        scores = [_measured(hits, ends, numbers, weights) for hits in own]
        yield list(_told(scores, test, design))


def _measured(hits: np.ndarray, ends: np.ndarray, numbers: np.ndarray, weights: np.ndarray) -> Measured:
    repeats = np.array([part.mean() for part in np.split(hits, ends[:-1])])
    if not weights.size:
        return Measured(repeats=repeats)
    counts = weights @ np.stack([np.bincount(numbers, hits), np.bincount(numbers)], axis=1)
    return Measured(repeats=repeats, pooled=float(hits.mean()), draws=counts[:, 0] / counts[:, 1])


def _told(scores: Sequence[Measured], test: PairTest, design: Design) -> Iterator[float]:
    pairs = [_compared(test, scores[0], rival, design) for rival in scores[1:EQUAL]]
    naive = [_compared(PairedT(), scores[0], rival, design) for rival in scores[1:EQUAL]]
    adjusted = Holm().adjust([pair.p if pair else None for pair in pairs])
    yield float(np.mean([_verdict(pair, pair and pair.p, design) for pair in pairs]))
    yield float(np.mean([_verdict(pair, pair and pair.p, design) for pair in naive]))
    yield float(any(_verdict(pair, p, design) for pair, p in zip(pairs, adjusted, strict=True)))
    better = _compared(test, scores[EQUAL], scores[0], design)
    yield float(_verdict(better, better and better.p, design))
    yield scores[EQUAL].estimate - scores[0].estimate


def _compared(test: PairTest, a: Measured, b: Measured, design: Design) -> PairResult | None:
    try:
        return test.compare(a, b, design)
    except StatisticsError:
        return None


def _verdict(result: PairResult | None, p: float | None, design: Design) -> bool:
    return judge(result, p, design.alpha)[0] != UNTOLD


def _corpus(shape: Shape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n,) of two classes and groups (n,); each class is in a third of the groups at least."""
    groups = np.repeat(np.arange(len(shape.sizes)), shape.sizes)
    while True:
        chance = np.full(len(shape.sizes), 0.5) if shape.mix is None else rng.beta(*[shape.mix] * 2, len(shape.sizes))
        labels = (rng.random(len(groups)) < chance[groups]).astype(np.int64)
        if all(len(np.unique(groups[labels == k])) >= max(3, len(shape.sizes) // 3) for k in (0, 1)):
            return labels, groups


def _right(
    labels: np.ndarray, groups: np.ndarray, splits: Sequence[Split], protocol: ProtocolConfig, rng: np.random.Generator
) -> np.ndarray:
    """Return (STUDIES, models, tests in a row) bool: which test predictions are right."""
    models = EQUAL + 1
    shape = (STUDIES, models, len(labels), FEATURES)
    x = rng.standard_normal(shape, dtype=np.float32)
    x += 0.4 * rng.standard_normal((STUDIES, models, groups.max() + 1, FEATURES), dtype=np.float32)[:, :, groups]
    distance = np.full(models, 0.7, dtype=np.float32)
    distance[EQUAL] *= FURTHER
    x[..., 0] += distance[:, None] * (2 * labels - 1)
    found = []
    for split in splits:
        train = rng.choice(split.train, len(split.train)) if protocol.kind == "fixed" else split.train  # a seed
        ones, zeros = (x[:, :, train[labels[train] == k]].mean(axis=2) for k in (1, 0))
        normal = (ones - zeros)[..., None]
        side = ((x[:, :, split.test] - ((ones + zeros) / 2)[:, :, None]) @ normal)[..., 0] > 0
        found.append(side == (labels[split.test] == 1))
    return np.concatenate(found, axis=2)
