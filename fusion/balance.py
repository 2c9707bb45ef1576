"""Imbalance: what a member reads in an epoch, so that minority classes count for more. Training parts only."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.neighbors import NearestNeighbors

from stores.block import ABSENT, FeatureBlock
from stores.errors import ConfigError

BALANCES = ("none", "class_weights", "oversample", "smote", "views")
EVEN = 1e6  # a growth that evens out any imbalance: an infinite one has no canonical form
NEIGHBOURS = 5  # Chawla et al. 2002
_STREAM = 4  # beside a member's other random streams


@dataclass(frozen=True, kw_only=True)
class Roster:
    """What a member reads in every epoch, E samples, all of its training part.

    `samples` (E,) int64 are positions into the block. `partners` (E,) int64 and `mix` (E,) float32 are of synthetic
    samples: features are `(1 - mix) x[sample] + mix x[partner]` (SMOTE); None if there are none. `viewed` (E,) bool are
    those that are read in one of their views. `class_weights` (K,) float32 weigh each sample's loss. `before` and
    `after` (K,) are class counts; `after` holds weights where samples are weighed.
    """

    samples: np.ndarray
    class_weights: np.ndarray
    before: np.ndarray
    after: np.ndarray
    partners: np.ndarray | None = None
    mix: np.ndarray | None = None
    viewed: np.ndarray | None = None


def grown(counts: np.ndarray, target: float) -> np.ndarray:
    """Return the class counts (K,) float64 that balancing aims at, given those there are.

    Classes with fewer than the mean count are minorities: they grow by the share `target`, but not beyond the largest
    class; an endless target takes them there. The reference paper's "+35 % minority samples" (section 2.3.1) has no
    base; taking it as the growth of a class is ours (audit A6).
    """
    there = counts > 0
    minority = there & (counts < counts[there].mean())
    found: np.ndarray = counts.astype(np.float64)
    found[minority] = np.minimum(found[minority] * (1 + target), counts.max())
    return found


def make_roster(
    block: FeatureBlock,
    train: np.ndarray,
    modalities: Sequence[str],
    repeat: int,
    *,
    balance: str,
    target: float,
    seed: int,
) -> Roster:
    """Return what a member trained on the positions `train` reads: every sample once, and what `balance` adds.

    `class_weights` weighs the losses, by 1 in the mean over the samples. The others add samples of minority classes,
    none a second time before all had their turn: as they are (`oversample`), moved towards a neighbour (`smote`), or
    in one of their `views`. Raises ConfigError for `views` if the modalities have none.
    """
    counts = np.bincount(block.labels[train], minlength=len(block.classes))
    wanted = grown(counts, target) if balance != "none" else counts.astype(np.float64)
    if balance == "class_weights":
        weights = np.divide(wanted, counts, out=np.ones(len(counts)), where=counts > 0) * len(train) / wanted.sum()
        return Roster(samples=train, class_weights=weights.astype(np.float32), before=counts, after=counts * weights)
    rng = np.random.default_rng([seed, _STREAM])
    extra = _drawn(block.labels, train, np.rint(wanted).astype(np.int64) - counts, rng)
    roster = Roster(
        samples=np.concatenate([train, extra]),
        class_weights=np.ones(len(counts), np.float32),
        before=counts,
        after=np.rint(wanted),
    )
    if balance == "smote":
        partners = np.concatenate([train, _neighbours(block, train, modalities, repeat, extra, rng)])
        mix = np.concatenate([np.zeros(len(train)), rng.random(len(extra))]).astype(np.float32)
        return replace(roster, partners=partners, mix=mix)
    if balance == "views":
        check_views(modalities, block.views)
        return replace(roster, viewed=np.arange(len(roster.samples)) >= len(train))
    return roster


def check_views(modalities: Sequence[str], viewed: Container[str]) -> None:
    """Raise ConfigError if balance `views` is asked for on modalities none of which is among those `viewed`."""
    if not any(m in viewed for m in modalities):
        raise ConfigError(
            f"balance 'views' reads augmented views, and {'+'.join(modalities)} has none: add "
            f"[features.{modalities[0]}.views] for the heads, leave these modalities out of the heads' subsets, or "
            "take another balance"
        )


def _drawn(labels: np.ndarray, train: np.ndarray, more: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw `more[k]` positions of each class k: all of a class once before any a second time."""
    drawn = [train[:0]]
    for k in np.flatnonzero(more):
        own = train[labels[train] == k]
        turns = [rng.permutation(own) for _ in range(-(-int(more[k]) // len(own)))]
        drawn.append(np.concatenate(turns)[: more[k]])
    return np.concatenate(drawn)


def _neighbours(
    block: FeatureBlock,
    train: np.ndarray,
    modalities: Sequence[str],
    repeat: int,
    extra: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw for each position of `extra` one of its nearest neighbours in training: of its class, with its modalities.

    Distances are Euclidean, over the features of all modalities, each of deviation 1. Who is alone is its own.
    """
    rows = np.stack([block.repeat_rows(m, repeat) for m in modalities])
    kind = np.unique(np.vstack([block.labels, rows != ABSENT]), axis=1, return_inverse=True)[1]  # class and modalities
    partners = extra.copy()
    for own_kind in np.unique(kind[extra]):
        own, asked = train[kind[train] == own_kind], np.flatnonzero(kind[extra] == own_kind)
        if len(own) < 2:
            continue
        space = np.hstack(
            [_standardised(block.values[m], r, train, own) for m, r in zip(modalities, rows, strict=True)]
        )
        drawn, whose = np.unique(extra[asked], return_inverse=True)
        near = _nearest(space, np.searchsorted(own, drawn))
        partners[asked] = own[near[whose, rng.integers(near.shape[1], size=len(asked))]]
    return partners


def _nearest(space: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return (len(at), k) int64: the rows of `space` nearest to each of its rows `at`, that row itself left out."""
    count = min(NEIGHBOURS, len(space) - 1)
    near = NearestNeighbors(n_neighbors=count + 1).fit(space).kneighbors(space[at], return_distance=False)
    others = near != at[:, None]
    others[others.all(axis=1), -1] = False  # so many rows equal it that it is not among its own nearest
    return np.asarray(near[others].reshape(len(at), count))


def _standardised(values: np.ndarray, rows: np.ndarray, train: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return features (n, dim) float32 of `own` by the mean and deviation of `train`; (n, 0) where they have none."""
    if rows[own[0]] == ABSENT:
        return np.empty((len(own), 0), np.float32)
    fitted = values[rows[train][rows[train] != ABSENT]].astype(np.float32)
    deviation = fitted.std(axis=0)
    return np.asarray((values[rows[own]] - fitted.mean(axis=0)) / np.where(deviation > 0, deviation, 1))
