"""What single modalities vote on every test sample: patterns of agreement, and how errors of two models coincide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from reports.case import Case
from reports.evidence import CHANCE, Evidence, Model
from reports.findings.tallies import SHARE, SIGNED, Rate, Tallies
from reports.heads import UNIMODAL
from reports.metrics import ratio

ALL, ORACLE = "all", "at least one modality right"
_ALIKE = 1e-6  # a head that sees nothing predicts the prior of its training part, through a softmax in float32


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """How the heads of single modalities voted on a sample: the sizes of their camps, the largest first.

    `absent` modalities have no say. `right` splits unanimous votes, None takes them together. `count` test predictions
    over all repeats are `share` of all; `name` is `3-0`, `3-0, right`, `2-1`, `1-1, 1 absent` or ALL.
    """

    name: str
    votes: tuple[int, ...]
    absent: int
    right: bool | None
    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class PatternScore:
    """Accuracy of a model on the samples of a pattern; ORACLE is right where at least one modality is."""

    model: str
    pattern: str
    accuracy: Rate


@dataclass(frozen=True, kw_only=True)
class Stratified:
    """All fusions of `modalities`, and those modalities alone, by pattern of the latter."""

    modalities: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    scores: tuple[PatternScore, ...]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How the errors of two models coincide, on the `n` test predictions for which both see something.

    `double_fault` is the share on which both err, `disagreement` that on which one does; Yule's Q is 1 where they
    always err together, -1 where never, 0 if independently, and undefined where one never errs or never is right.
    """

    a: str
    b: str
    n: int
    double_fault: Rate
    disagreement: Rate
    q: Rate


def single_heads(models: Sequence[Model], variant: str) -> dict[str, str]:
    """Return the head of every single modality, sorted, trained as `variant` is, else as the study is."""
    single = [m for m in models if m.head == UNIMODAL and len(m.modalities) == 1]
    found = {m.modalities[0]: m.name for own in ("", variant) for m in single if m.variant == own}
    return dict(sorted(found.items()))


def sees(posteriors: np.ndarray, priors: np.ndarray) -> np.ndarray:
    """Return for which samples a head sees something, (N,) bool: for others it predicts the prior (N, K)."""
    seen: np.ndarray = (np.abs(posteriors - priors) > _ALIKE).any(axis=1)
    return seen


class Votes:
    """What every head voted on every test prediction, all repeats in a row."""

    def __init__(self, case: Case, singles: Mapping[str, str]) -> None:
        self._tallies, self._singles = Tallies(case), singles
        self._labels = case.evidence.labels
        self._predicted = {model.name: case.evidence.predicted(model.name) for model in case.evidence.trained}
        self._right = {name: own == self._labels for name, own in self._predicted.items()}
        self._present = _present(case.evidence, singles)
        self._classes = len(case.evidence.classes)

    def stratified(self, modalities: Sequence[str], models: Sequence[str]) -> Stratified:
        """Return the accuracies of `models`, of the single modalities and of the oracle by pattern of the latter."""
        heads = [self._singles[m] for m in modalities]
        present = np.stack([self._present[m] for m in modalities])
        oracle = (np.stack([self._right[head] for head in heads]) & present).any(axis=0)
        camps = camp_sizes(np.stack([self._predicted[head] for head in heads]), present, self._classes)
        coded = _coded(camps, oracle)
        _, first, slot = np.unique(
            coded @ (len(modalities) + 2) ** np.arange(coded.shape[1]), return_index=True, return_inverse=True
        )
        found = coded[first]
        patterns, members = _patterns(found, np.bincount(slot, minlength=len(found)), len(modalities))

        def accuracies(sums: np.ndarray) -> np.ndarray:
            pooled = np.einsum("ps,...sv->...pv", members, sums)
            return ratio(pooled[..., 0], pooled[..., 1])

        right = {name: self._right[name] for name in (*models, *heads)} | {ORACLE: oracle}
        scores = []
        for name, own in right.items():
            rates = self._tallies.rates(slot, len(found), [own.astype(np.float64), None], accuracies, SHARE)
            scores += [
                PatternScore(model=name, pattern=pattern.name, accuracy=rate)
                for pattern, rate in zip(patterns, rates, strict=True)
            ]
        return Stratified(modalities=tuple(modalities), patterns=patterns, scores=tuple(scores))

    def overlaps(self, reference: Model) -> tuple[Overlap, ...]:
        """Return the overlaps of errors of all pairs of single modalities, and of the reference with each."""
        own = {name: self._present[m] for m, name in self._singles.items()}
        pairs = [*combinations(own, 2), *((reference.name, name) for name in own if reference.fused)]
        everywhere = np.ones(len(self._labels), dtype=bool)
        return tuple(self._overlap(a, b, own.get(a, everywhere) & own[b]) for a, b in pairs)

    def _overlap(self, a: str, b: str, seen: np.ndarray) -> Overlap:
        outcome = np.where(seen, 2 * self._right[a] + self._right[b], 4)  # wrong both, right b, right a, right both
        double_fault, disagreement = self._tallies.rates(outcome, 5, [None], lambda n: error_overlap(n)[..., :2], SHARE)
        [q] = self._tallies.rates(outcome, 5, [None], lambda n: error_overlap(n)[..., 2:], SIGNED)
        return Overlap(a=a, b=b, n=int(seen.sum()), double_fault=double_fault, disagreement=disagreement, q=q)


def error_overlap(outcomes: np.ndarray) -> np.ndarray:
    """Return double fault, disagreement and Yule's Q, (..., 3), of counts (..., >= 4, 1): both err, a, b, neither.

    Sources: Yule 1900; Kuncheva & Whitaker 2003, Machine Learning 51.
    """
    neither_right, b, a, both = np.moveaxis(outcomes[..., :4, 0], -1, 0)
    n, together, apart = neither_right + a + b + both, neither_right * both, a * b
    return np.stack([ratio(neither_right, n), ratio(a + b, n), ratio(together - apart, together + apart)], axis=-1)


def camp_sizes(votes: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    """Return how many of M votes (M, N) fell on the same class, (N, M) int64, the largest camp first, then zeros."""
    counts = np.zeros((votes.shape[1], max(classes, len(votes))), dtype=np.int64)
    rows = np.arange(votes.shape[1])
    for own, there in zip(votes, present, strict=True):
        counts[rows, own] += there
    return -np.sort(-counts, axis=1)[:, : len(votes)]


def _present(evidence: Evidence, singles: Mapping[str, str]) -> dict[str, np.ndarray]:
    priors = np.concatenate(evidence.posteriors[CHANCE])
    if evidence.facts.get("missing") != "mask":
        return {m: np.ones(len(priors), dtype=bool) for m in singles}
    return {m: sees(np.concatenate(evidence.posteriors[name]), priors) for m, name in singles.items()}


def _coded(camps: np.ndarray, oracle: np.ndarray) -> np.ndarray:
    """Return (N, M + 1): the camps, and 0, or 1 and 2 for a unanimous vote of two or more that is wrong or right."""
    unanimous = (camps[:, 0] > 1) & (camps[:, 0] == camps.sum(axis=1))
    return np.column_stack([camps, np.where(unanimous, 1 + oracle, 0)])


def _patterns(found: np.ndarray, counts: np.ndarray, n: int) -> tuple[tuple[Pattern, ...], np.ndarray]:
    """Return the patterns, complete and clearest votes first, and which rows of `found` each takes in, (P, S)."""
    wanted: list[tuple[tuple[int, ...], bool | None]] = []
    for *camps, code in sorted(
        found.tolist(), key=lambda row: (n - sum(row[:-1]), [-size for size in row[:-1]], -row[-1])
    ):
        own = tuple(camps)
        wanted += [(own, None)] if (own, None) not in wanted else []
        wanted += [(own, code == 2)] if code else []
    patterns = [Pattern(name=ALL, votes=(), absent=0, right=None, count=int(counts.sum()), share=1.0)]
    members = [np.ones(len(found))]
    for camps, right in wanted:
        own = (found[:, :-1] == camps).all(axis=1) & (found[:, -1] == (1 + right) if right is not None else True)
        count, votes = int(counts[own].sum()), tuple(size for size in camps if size)
        patterns.append(
            Pattern(
                name=_named(votes, n - sum(votes), right), votes=votes, absent=n - sum(votes), right=right,
                count=count, share=count / int(counts.sum()),
            )
        )  # fmt: skip
        members.append(own.astype(np.float64))
    return tuple(patterns), np.stack(members)


def _named(votes: Sequence[int], absent: int, right: bool | None) -> str:
    said = "-".join(map(str, (*votes, 0) if len(votes) == 1 else votes)) or "no vote"
    gone = f", {absent} absent" if absent else ""
    return said + gone + ("" if right is None else ", right" if right else ", wrong")
