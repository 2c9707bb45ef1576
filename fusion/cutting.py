"""Cut samples by whole groups into a share and the rest, or into folds, each class as evenly as the groups allow."""

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, StratifiedShuffleSplit


def cut_groups(
    positions: np.ndarray, labels: np.ndarray, groups: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (kept, cut): `positions` in two sorted parts, about `share` of each class in the second.

    `labels` and `groups` cover all candidates. No group is on both sides, and neither side is empty unless there is
    but one group, which is kept. Each call is a new draw; where every sample is its own group it is scikit-learn's.
    """
    own_labels = labels[positions]
    names, own_groups = np.unique(groups[positions], return_inverse=True)
    if len(names) < 2:
        return np.sort(positions), positions[:0]
    size = round(share * len(positions))
    if len(names) == len(positions) and _fits(own_labels, size):
        shuffle = StratifiedShuffleSplit(1, test_size=size, random_state=int(rng.integers(2**31)))
        kept, cut = next(shuffle.split(positions, own_labels))
        return np.sort(positions[kept]), np.sort(positions[cut])
    goes = _deal(own_labels, own_groups, share, rng)[own_groups]
    return np.sort(positions[~goes]), np.sort(positions[goes])


def deal_folds(labels: np.ndarray, groups: np.ndarray, folds: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return sorted positions by fold: every sample and every group in one, each call a new draw of scikit-learn's.

    With few groups a fold may be left empty, or without a class.
    """
    seed = int(rng.integers(2**31))
    if len(np.unique(groups)) == len(groups):
        alone = StratifiedKFold(folds, shuffle=True, random_state=seed)
        return [np.sort(fold) for _, fold in alone.split(labels, labels)]
    grouped = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return [np.sort(fold) for _, fold in grouped.split(labels, labels, groups)]


def _fits(labels: np.ndarray, size: int) -> bool:
    """Whether scikit-learn can stratify: two samples of each class there is, and room for each class on both sides."""
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return bool(counts.min() >= 2 and min(size, len(labels) - size) >= len(counts))


def _deal(labels: np.ndarray, groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return (groups,) bool, True for the groups cut off: dealt in random order, each to the side that lacks it more.

    What a side lacks is the sum over classes of squared distances to its target count, relative to the target.
    """
    counts = np.zeros((groups.max() + 1, labels.max() + 1))
    np.add.at(counts, (groups, labels), 1)
    target = np.array([[1 - share], [share]]) * counts.sum(axis=0)
    scale = np.maximum(target, 1e-9)
    have = np.zeros_like(target)
    goes = np.zeros(len(counts), dtype=bool)
    order = rng.permutation(len(counts))
    for group in order:
        rise = (counts[group] * (counts[group] + 2 * (have - target)) / scale).sum(axis=1)
        side = int(rise[1] < rise[0])
        have[side] += counts[group]
        goes[group] = bool(side)
    if goes.all() or not goes.any():
        goes[order[-1]] = not goes[order[-1]]
    return goes
