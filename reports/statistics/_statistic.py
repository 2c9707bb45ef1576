"""What every statistic shares: its inputs, its frozen results, and the guards before the number."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np

from reports.errors import StatisticsError

R = TypeVar("R", covariant=True)

FEWEST_REPEATS = 3
CONSTANT = "every difference is the same, so its spread is zero and no test is possible"


@dataclass(frozen=True, kw_only=True)
class Design:
    """How the repeats came about. `ratio` is n2/n1, the test size over the size the weights were fitted on.

    `overlap`: whether repeats share samples, so that they are not independent draws; `shared` is the share of its test
    samples that a repeat has in common with another one, on average. `refused` is why no two models can be compared.
    """

    overlap: bool
    ratio: float = 0.0
    shared: float | None = None
    alpha: float = 0.05
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One score of one model: `repeats` (J,) float64, one value a repeat.

    In a clustered design also `pooled`, the score of all test parts together, and `draws` (B,), the same
    after resampling whole groups; the draws of all models use the same groups, so they are paired.
    """

    repeats: np.ndarray
    pooled: float | None = None
    draws: np.ndarray | None = None

    @property
    def estimate(self) -> float:
        return float(self.repeats.mean()) if self.pooled is None else self.pooled

    def zero(self) -> "Measured":
        """Return the constant 0 beside this score, so that an interval of the score is one of a difference."""
        draws = None if self.draws is None else np.zeros_like(self.draws)
        return Measured(repeats=np.zeros_like(self.repeats), pooled=None if draws is None else 0.0, draws=draws)


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """What a test takes for granted, on what that was checked, and how it came out; not every check has a p."""

    name: str
    checked_on: str
    outcome: str
    statistic: float | None = None
    p: float | None = None


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """The difference a - b with its interval; p, df and effect size are None where they are undefined.

    `n` counts `unit`s. `independence_violated`: the test takes its units as independent, and they are not. `smallest_p`
    is the least p the test can give for this n; None if there is no bound.
    """

    test: str
    difference: float
    n: int
    unit: str
    low: float | None = None
    high: float | None = None
    p: float | None = None
    statistic: float | None = None
    df: float | None = None
    d_z: float | None = None
    d_av: float | None = None
    hedges_gz: float | None = None
    rank_biserial: float | None = None
    smallest_p: float | None = None
    assumptions: tuple[Assumption, ...] = ()
    independence_violated: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class AnovaResult:
    """An analysis of variance over k models and n repeats; undefined figures are None.

    `ss_models` and `ss_error` are sums of squares, F = (ss_models / df1) / (ss_error / df2).
    `independence_violated`: the analysis takes repeats as independent, and they are not.
    """

    test: str
    k: int
    n: int
    df1: int
    df2: int
    ss_models: float
    ss_error: float
    independence_violated: bool
    f: float | None = None
    p: float | None = None
    assumptions: tuple[Assumption, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ColumnPair:
    """Two of several models by their columns in the scores, and what came out for a - b."""

    a: int
    b: int
    result: PairResult


class Statistic(ABC):
    """A plug-in of `reports/statistics`: one module, one public class. `source` says where it comes from."""

    title: ClassVar[str]
    source: ClassVar[str]


class PairTest(Statistic):
    """Two models measured on the same repeats or groups."""

    def compare(self, a: Measured, b: Measured, design: Design) -> PairResult:
        """Return a - b. Raises StatisticsError for NaN, unequal lengths, too few repeats or groups, or as `refused`."""
        if design.refused:
            raise StatisticsError(design.refused)
        return self.between(a, b, design)

    @abstractmethod
    def between(self, a: Measured, b: Measured, design: Design) -> PairResult:
        """Return a - b of a design that refuses nothing: what a statistic of its own answers."""

    def interval(self, a: Measured, design: Design) -> PairResult:
        """Return the interval of one score; the p it carries is against 0 and means nothing."""
        return self.compare(a, a.zero(), design)

    def limits(
        self, a: Measured | None, design: Design, bounds: tuple[float, float] = (0.0, 1.0)
    ) -> tuple[float | None, float | None]:
        """Return the interval of one score, cut at `bounds`; (None, None) where it is undefined or refused."""
        try:
            found = self.between(a, a.zero(), design) if a else None
        except StatisticsError:
            found = None
        if found is None or found.low is None or found.high is None:
            return None, None
        return max(bounds[0], found.low), min(bounds[1], found.high)


class ModelsTest(Statistic, Generic[R]):
    """Several models measured on the same repeats."""

    @abstractmethod
    def compare(self, scores: np.ndarray, design: Design) -> R:
        """Return what came out of `scores` (n repeats, k models). Raises StatisticsError as PairTest does."""

    def models(self, scores: np.ndarray) -> np.ndarray:
        """Return `scores` (n, k) as float64, or refuse them."""
        x = checked(scores)
        if x.ndim != 2 or x.shape[1] < 2:
            raise StatisticsError(f"expected scores (n repeats, at least 2 models), got {x.shape}: stack them by model")
        return x


class Correction(Statistic):
    """A correction of several p values for being several."""

    @abstractmethod
    def adjust(self, p: Sequence[float | None]) -> list[float | None]:
        """Return the adjusted values in the order given; None (no test was possible) stays None."""


def differences(a: Measured, b: Measured) -> np.ndarray:
    """Return a - b by repeat, (J,) float64, or refuse."""
    if a.repeats.shape != b.repeats.shape:
        raise StatisticsError(
            f"expected two models measured on the same repeats, got {a.repeats.size} and {b.repeats.size} values: "
            "pair them by repeat first"
        )
    both = checked(np.stack([a.repeats, b.repeats], axis=1))
    d: np.ndarray = both[:, 0] - both[:, 1]
    return d


def checked(scores: np.ndarray) -> np.ndarray:
    """Return `scores` (repeats first) as float64, or refuse NaN and too few repeats."""
    scores = np.asarray(scores, dtype=np.float64)
    if len(scores) < FEWEST_REPEATS:
        raise StatisticsError(f"expected at least {FEWEST_REPEATS} repeats, got {len(scores)}: raise `repeats`")
    if not np.isfinite(scores).all():
        where = np.flatnonzero(~np.isfinite(scores.reshape(len(scores), -1)).all(axis=1)).tolist()
        raise StatisticsError(f"expected finite scores, got NaN or infinity in repeat {where}: drop or fix them")
    return scores


def is_constant(spread: float, scale: float) -> bool:
    """Say whether a standard deviation is nothing but rounding."""
    return spread <= 1e-12 * max(1.0, abs(scale))
