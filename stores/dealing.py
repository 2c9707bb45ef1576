"""Deal samples into parts by whole groups: every group is as likely as any other to be in a part (rule D11).

A round gives every group to one fold, whatever its size and label mix, and which fold is which is drawn afterwards. So
folds may be as even as groups allow, and favour nobody; dealing to one part alone would test small and typical groups
again and again, which scores too high and finds differences between equal models.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

FINEST = 20  # folds that a share is made of: 3 of 20 are 15 %, and 2 are over
MANY = 50  # groups; of fewer each has its turn in every round, so that 1 of 7 folds stands for 15 %
_NEAR = 0.12  # of a share: what one fold may be off for that


def merge_groups(columns: Sequence[Sequence[str | None]]) -> np.ndarray:
    """Return one group name a sample, (n,) str: samples that share a value of any column are one group.

    `columns` has one sequence a group kind. A sample without any value is a group of its own, named `#<position>`; a
    merged group has the name of its first value.
    """
    if len({len(column) for column in columns}) != 1:
        raise ValueError("expected at least one column of groups, all of one length")
    n = len(columns[0])
    named = [(i, (kind, value)) for kind, column in enumerate(columns) for i, value in enumerate(column) if value]
    number = {value: n + k for k, value in enumerate(dict.fromkeys(value for _, value in named))}
    ends = np.array([(i, number[value]) for i, value in named], dtype=np.int64).reshape(-1, 2).T
    size = n + len(number)
    _, component = connected_components(
        coo_array((np.ones(len(named)), tuple(ends)), shape=(size, size)), directed=False
    )
    plain = len(columns) == 1 and not any(value.startswith("#") for _, (_, value) in named)
    names: dict[int, str] = {}
    for i, (kind, value) in named:
        names.setdefault(int(component[i]), value if plain else f"{kind}:{value}")
    for i in range(n):
        names.setdefault(int(component[i]), f"#{i}")
    return np.array([names[int(c)] for c in component[:n]], dtype=np.str_)


def shares(
    labels: np.ndarray, groups: np.ndarray, share: float, rng: np.random.Generator, *, folds: int = 0
) -> list[np.ndarray]:
    """Return one round of parts: sorted positions (m,) each, in random order, no group in two of them.

    `labels` (n,) int64, `groups` (n,) of any kind. Each part is about `share` of the samples and of each class, as near
    as whole groups allow; what is over after the last whole part is in none. With `folds` there are so many parts, and
    everybody is in one.
    """
    _, first, numbers = np.unique(groups, return_index=True, return_inverse=True)
    numbers = first.argsort().argsort()[numbers]  # in the order they come: what groups are called changes nothing
    n_groups = len(first)
    take, folds = (1, folds) if folds else _nearest(share, n_groups, n_groups >= min(MANY, len(labels)))
    if n_groups == len(labels):
        fold = np.empty(n_groups, dtype=np.int64)
        fold[np.lexsort((rng.random(n_groups), labels))] = np.arange(n_groups) % folds
    else:
        fold = _deal(labels, numbers, folds, rng)[numbers]
    fold = rng.permutation(folds)[fold]  # which folds are a part, and which are over, is chance
    return [np.flatnonzero(fold // take == part) for part in range(folds // take)]


def _nearest(share: float, n_groups: int, many: bool) -> tuple[int, int]:
    """Return how many of how many folds are nearest to a share: one, if that is near enough or groups are few."""
    folds = min(max(2, round(1 / share)), n_groups)
    nearest = Fraction(share).limit_denominator(min(FINEST, n_groups))
    if not nearest or nearest == 1 or (not many and abs(1 / folds - share) <= _NEAR * share):
        return 1, folds
    return nearest.numerator, nearest.denominator


def cut(
    positions: np.ndarray, labels: np.ndarray, groups: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (kept, cut): `positions` in two sorted parts, about `share` of each class in the second.

    `labels` and `groups` cover all candidates. No group is on both sides, and neither side is empty unless there is
    but one group, which is kept. Each call is a new draw.
    """
    positions = np.sort(positions)
    if len(np.unique(groups[positions])) < 2:
        return positions, positions[:0]
    goes = shares(labels[positions], groups[positions], share, rng)[0]
    return np.delete(positions, goes), positions[goes]


def _deal(labels: np.ndarray, numbers: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return (groups,) the fold of each group: large ones rather first, each where least is of what it brings.

    No fold stays empty. The order is random enough to give other folds each time, and most of the balance comes with
    the choice of the fold: taking the best of several deals gains little, and soon gives the same folds again.
    """
    counts = np.zeros((numbers.max() + 1, labels.max() + 1))
    np.add.at(counts, (numbers, labels), 1)
    counts = np.column_stack([counts[:, counts.any(axis=0)], counts.sum(axis=1)])
    weights = counts / counts.sum(axis=0)  # of each group in each class, and in all
    have, fold = np.zeros((folds, weights.shape[1])), np.empty(len(weights), np.int64)
    for group in np.argsort(-np.linalg.norm(weights, axis=1) * rng.lognormal(size=len(weights))):
        fold[group] = np.argmin(have @ weights[group])
        have[fold[group]] += weights[group]
    return fold
