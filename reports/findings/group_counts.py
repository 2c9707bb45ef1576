"""Test predictions counted by group: all that a score needs once whole groups are exchanged or resampled."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from reports.evidence import Evidence
from reports.measures import rounds_of


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


def count_by_group(evidence: Evidence, models: Iterable[str]) -> GroupCounts:
    """Return the counts of `models`; all share the samples, so they share groups and supports."""
    parts, k = evidence.held_out, len(evidence.classes)
    names, group = np.unique(np.concatenate([part.groups for part in parts]), return_inverse=True)
    actual = np.concatenate([part.labels for part in parts])
    predicted = {name: np.concatenate([p.argmax(axis=1) for p in evidence.posteriors[name]]) for name in models}
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
