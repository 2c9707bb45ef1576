"""Divide samples into the parts of a split so that no group straddles two of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from stores.samples import Sample


def divide(
    samples: Sequence[Sample], shares: Mapping[str, float], *, scheme: str, kind: str | None, rng: np.random.Generator
) -> dict[str, str]:
    """Return sample id -> part, near `shares` (part -> share of each class) with the groups of `kind` kept whole.

    Groups go, largest first and otherwise in random order, to the part that still lacks most of what they hold,
    relative to its share: so every part gets a group before any gets a second. A sample without a group is its own.
    """
    classes = sorted({sample.labels[scheme] for sample in samples})
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        group = sample.groups.get(kind) if kind else None
        groups[("sample", sample.id) if group is None else ("group", group)].append(sample)
    members = [groups[key] for key in sorted(groups)]
    held = np.array([[sum(s.labels[scheme] == c for s in group) for c in classes] for group in members])
    names = list(shares)
    target = np.outer([shares[name] for name in names], held.sum(axis=0))
    have = np.zeros_like(target)
    part_of: dict[str, str] = {}
    shuffled = rng.permutation(len(members))
    for index in shuffled[np.argsort(-held.sum(axis=1)[shuffled], kind="stable")]:
        part = int(np.argmax(((target - have) / target) @ held[index]))
        have[part] += held[index]
        part_of |= {sample.id: names[part] for sample in members[index]}
    return part_of
