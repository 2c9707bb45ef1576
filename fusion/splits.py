"""Who trains, who validates, who tests: whole groups, stratified as far as groups allow (rule D11).

Everything here is positions into the study's candidates; the split is drawn before anything is trained.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut

from fusion.errors import SplitError
from stores.dealing import cut, shares
from stores.errors import ConfigError
from stores.settings import check_choices

KINDS = ("repeated", "leave-one-group-out", "fixed", "k-fold")  # a place is part of the seed
PARTS = ("train", "val", "test")
MOST_REPEATS = 10_000
_DRAWS = 50  # draws per repeat asked for, before a protocol is called impossible


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig:
    """How a study is split; defaults are the reference paper's 70/15/15 (section 2.3.1) with 20 repeats.

    `repeats` is J: so many splits (`repeated`) or seeds on one split (`fixed`). `leave-one-group-out` has one repeat a
    group and ignores it; so does `k-fold`, which has `rounds` x `folds` and tests on 1 / folds. Where validation is cut
    from a given rest, its share there is val / (1 - test), of all samples `val`. Where the corpus has no test part,
    `fixed` tests on its val part and cuts validation from train.
    `encoder_share` of each training part's groups train that repeat's encoders, if those are trained per repeat; 1
    means that encoders and heads share the whole part (rows their encoder has seen: flagged by the report).
    """

    kind: str = "repeated"
    repeats: int = 20
    folds: int = 10
    rounds: int = 1
    val: float = 0.15
    test: float = 0.15
    encoder_share: float = 0.5

    def __post_init__(self) -> None:
        check_choices(self, kind=KINDS)
        if self.repeats < 2:
            raise ConfigError(f"repeats should be 2 or more, for there is no spread in one; got {self.repeats}")
        if self.folds < 2 or self.rounds < 1:
            raise ConfigError(f"folds should be 2 or more and rounds 1 or more, got {self.folds} and {self.rounds}")
        if max(self.repeats, self.folds * self.rounds) > MOST_REPEATS:
            raise ConfigError(
                f"repeats, and rounds x folds, should be {MOST_REPEATS:,} at most, got {self.repeats:,} and "
                f"{self.rounds:,} x {self.folds:,}"
            )
        if not (self.val > 0 and self.tested > 0 and self.val + self.tested < 1):
            raise ConfigError(f"val and test should be above 0 and below 1 together, got {self.val} and {self.tested}")
        if not 0 < self.encoder_share <= 1:
            raise ConfigError(f"encoder_share should be above 0 and at most 1, got {self.encoder_share}")

    @property
    def tested(self) -> float:
        """The share of the samples in a test part, as far as the protocol sets one."""
        return 1 / self.folds if self.kind == "k-fold" else self.test

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name; `folds` and `rounds` are of k-fold alone, which has no `test` of its own."""
        others = ("test", "repeats") if self.kind == "k-fold" else ("folds", "rounds")
        return {name: value for name, value in asdict(self).items() if name not in others}


def _nobody() -> np.ndarray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Split:
    """One repeat: sorted positions (n,) int64 into the candidates; `encoder` is empty unless trained per repeat."""

    repeat: int
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    encoder: np.ndarray = field(default_factory=_nobody)

    @property
    def parts(self) -> bytes:
        """Who validates and who tests: what different repeats differ in."""
        return self.val.tobytes() + b"|" + self.test.tobytes()


def tested(splits: Sequence[Split], labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Return how often groups are tested over the repeats, and how far test parts are from the class shares of all.

    `labels` and `groups` (n,) are those of all candidates. `off` is the largest difference of a class share, in the
    median repeat and at most; `never` names who is in no test part.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    times = sum(np.isin(np.arange(len(names)), numbers[split.test]).astype(int) for split in splits)
    counts = [np.bincount(labels[split.test], minlength=int(labels.max()) + 1) for split in splits]
    shares = np.array([count / count.sum() for count in counts]) - np.bincount(labels) / len(labels)
    off = np.abs(shares).max(axis=1)
    return {
        "times": dict(zip(names.tolist(), np.asarray(times).tolist(), strict=True)),
        "off": [float(np.median(off)), float(off.max())],
    }


def make_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    n_classes: int,
    protocol: ProtocolConfig,
    seed: int,
    *,
    fixed: Sequence[str | None] | None = None,
    per_repeat_encoders: bool = False,
) -> list[Split]:
    """Return the splits every head of a study shares: deterministic in the arguments, all different.

    `labels` (n,) int64 below `n_classes`, `groups` (n,), `fixed` the corpus' own part of each sample. Every training
    (and encoder) part holds every class; a test part may lack one. Raises SplitError, with the numbers, if that cannot
    be had.
    """
    draw = _Draw(labels, np.unique(groups, return_inverse=True)[1], n_classes, protocol, per_repeat_encoders)
    rng = np.random.default_rng([seed, KINDS.index(protocol.kind)])
    if protocol.kind == "repeated":
        return draw.repeated(rng)
    if protocol.kind == "leave-one-group-out":
        return draw.leave_one_group_out(rng)
    if protocol.kind == "k-fold":
        return draw.k_fold(rng)
    return draw.fixed(fixed or [None] * len(labels), rng)


class _Draw:
    """One study's samples and protocol; every method returns finished splits or raises SplitError."""

    def __init__(
        self, labels: np.ndarray, groups: np.ndarray, n_classes: int, protocol: ProtocolConfig, encoders: bool
    ) -> None:
        self.labels, self.groups, self.n_classes = labels, groups, n_classes
        self.protocol = protocol
        self.encoder_share = protocol.encoder_share if encoders else 0.0
        self.encoder_parts = int(0 < self.encoder_share < 1)
        self.everyone = np.arange(len(labels))
        self.val_share = protocol.val / (1 - protocol.tested)

    def repeated(self, rng: np.random.Generator) -> list[Split]:
        """Return test parts dealt in rounds: each group is tested as often as any other, or once more."""
        self._check_classes(self.everyone, 3)
        wanted, tests = self.protocol.repeats, list[np.ndarray]()
        for _ in range(_DRAWS * wanted):
            dealt = shares(self.labels, self.groups, self.protocol.test, rng)
            tests += dealt if all(self._testable(test) for test in dealt) else []
            if len(tests) >= wanted:
                return self._told_apart(tests[:wanted], rng)
        raise SplitError(
            f"no way was found to deal {len(np.unique(self.groups))} groups to test parts so that every class stays in "
            f"training ({_DRAWS * wanted} rounds; {self._counts(self.everyone)}): merge or drop the rare classes, or "
            "split by a finer group"
        )

    def k_fold(self, rng: np.random.Generator) -> list[Split]:
        folds, wanted = self.protocol.folds, self.protocol.rounds
        self._check_classes(self.everyone, max(folds - self.encoder_parts, 3))
        found: dict[frozenset[bytes], list[np.ndarray]] = {}
        for _ in range(_DRAWS * wanted):
            tests = shares(self.labels, self.groups, 1 / folds, rng, folds=folds)
            if all(self._testable(test) for test in tests):
                found.setdefault(frozenset(test.tobytes() for test in tests), tests)
            if len(found) == wanted:
                return self._told_apart([test for dealt in found.values() for test in dealt], rng)
        raise SplitError(
            f"the protocol asks for {wanted} different rounds of {folds} folds, but {len(np.unique(self.groups))} "
            f"groups give only {len(found)} ({_DRAWS * wanted} draws): ask for fewer rounds or folds, or split by a "
            "finer group"
        )

    def _told_apart(self, tests: Sequence[np.ndarray], rng: np.random.Generator) -> list[Split]:
        """Return a split for each test part; one that recurs in another round is validated on others."""
        found: dict[bytes, Split] = {}
        for repeat, test in enumerate(tests):
            rest = np.setdiff1d(self.everyone, test)
            for _ in range(_DRAWS):
                split = self._retried(repeat, rest, test, rng)
                if found.setdefault(split.parts, split) is split:
                    break
        if len(found) < len(tests):
            raise SplitError(
                f"the protocol asks for {len(tests)} different splits, but {len(np.unique(self.groups))} groups give "
                f"only {len(found)} that differ in validation or test ({_DRAWS} draws each): ask for fewer repeats, "
                "rounds or folds, split by a finer group, or leave one group out at a time"
            )
        return list(found.values())

    def leave_one_group_out(self, rng: np.random.Generator) -> list[Split]:
        if (count := len(np.unique(self.groups))) < 3:
            raise SplitError(f"leave-one-group-out needs 3 groups or more (test, validation, training), got {count}")
        self._check_classes(self.everyone, 2)
        folds = LeaveOneGroupOut().split(self.everyone, groups=self.groups)
        return [self._retried(repeat, rest, test, rng) for repeat, (rest, test) in enumerate(folds)]

    def fixed(self, given: Sequence[str | None], rng: np.random.Generator) -> list[Split]:
        part = np.array([str(name) for name in given])
        if strays := sum(name not in PARTS for name in part):
            raise SplitError(
                f"a fixed protocol needs the corpus' own split (train, val or test) of every sample; {strays} of "
                f"{len(part)} have none or another: leave them out, or choose another protocol"
            )
        train, val, test = (np.flatnonzero(part == name) for name in PARTS)
        if not len(test):  # a corpus with train and dev only
            val, test = test, val
        if not (len(train) and len(test)):
            raise SplitError(
                f"a fixed protocol needs train samples and some to test on (test, or else val), got {len(train)} and "
                f"{len(test)}"
            )
        self._check_classes(train, 1 if len(val) else 2)
        split = self._retried(0, train, test, rng, val if len(val) else None)
        return [replace(split, repeat=repeat) for repeat in range(self.protocol.repeats)]

    def _retried(
        self, repeat: int, rest: np.ndarray, test: np.ndarray, rng: np.random.Generator, val: np.ndarray | None = None
    ) -> Split:
        for _ in range(_DRAWS):
            split = self._split(repeat, rest, test, rng, val)
            if self._sound(split):
                return split
        raise SplitError(
            f"repeat {repeat}: no validation part leaves every class in training ({_DRAWS} draws; {len(rest)} samples "
            f"of {len(np.unique(self.groups[rest]))} groups, {self._counts(rest)}): merge or drop the rare classes"
        )

    def _split(
        self, repeat: int, rest: np.ndarray, test: np.ndarray, rng: np.random.Generator, val: np.ndarray | None = None
    ) -> Split:
        train = rest
        if val is None:
            train, val = cut(rest, self.labels, self.groups, self.val_share, rng)
        encoder = _nobody()
        if self.encoder_share == 1:
            encoder = train
        elif self.encoder_share:
            train, encoder = cut(train, self.labels, self.groups, self.encoder_share, rng)
        return Split(repeat=repeat, train=train, val=val, test=test, encoder=encoder)

    def _sound(self, split: Split) -> bool:
        fitted = [split.train, split.encoder] if self.encoder_share else [split.train]
        whole = all(len(np.unique(self.labels[part])) == self.n_classes for part in fitted)
        return whole and len(split.val) > 0 and len(split.test) > 0

    def _testable(self, test: np.ndarray) -> bool:
        """Whether a fold has somebody in it, and leaves every class to those who train."""
        rest = np.setdiff1d(self.everyone, test)
        return len(test) > 0 and len(np.unique(self.labels[rest])) == self.n_classes

    def _check_classes(self, positions: np.ndarray, parts: int) -> None:
        """Refuse a class with fewer groups than the parts that should have one each."""
        parts += self.encoder_parts
        if any(count < parts for count in self._groups_of_classes(positions)):
            raise SplitError(
                f"every class needs {parts} groups or more, one for each part it is dealt to; there are "
                f"{self._counts(positions)}: merge or drop the rare classes, or split by a finer group"
            )

    def _groups_of_classes(self, positions: np.ndarray) -> list[int]:
        labels, groups = self.labels[positions], self.groups[positions]
        return [len(np.unique(groups[labels == number])) for number in range(self.n_classes)]

    def _counts(self, positions: np.ndarray) -> str:
        counts = self._groups_of_classes(positions)
        return "groups per class " + ", ".join(f"{number}: {count}" for number, count in enumerate(counts))
