"""Everything a report says, as one frozen value: computed in `reports/report.py`, rendered elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from reports.banners import Banner
from reports.comparisons import STRATEGIES, Comparison, Family
from reports.evidence import Model
from reports.findings.record import Record
from reports.metrics import METRICS
from stores.openings import Openings

if TYPE_CHECKING:
    from reports.chapters._chapter import Chapter

SCHEMA_VERSION = 2

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Score:
    """One model on one metric: estimate with its interval, and the value in every repeat.

    `estimate` is None, with a reason, where the metric is undefined in some test part.
    """

    model: str
    metric: str
    estimate: float | None
    low: float | None
    high: float | None
    repeats: tuple[float, ...]
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """How many samples of an emotion take part, and how many were left out."""

    label: str
    used: int
    excluded: int


@dataclass(frozen=True, kw_only=True)
class Method:
    """How the numbers came about; sizes are means over repeats, `groups` the distinct ones in test parts.

    Heads are fitted on `train_size` samples, encoders that are trained in every repeat on `encoder_size` others.
    """

    protocol: str
    repeats: int
    train_size: float
    encoder_size: float
    test_size: float
    groups: int
    ratio: float
    alpha: float
    primary_metric: str
    primary_test: str
    primary_source: str
    draws: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """A study, evaluated. Same inputs, same value: it holds no clock time, path, host, cache count or duration.

    What a chapter says is in `chapters` under its name; `value(Weights)` is the same with its type. Times of costs
    are stored in the study, with the device they were measured on. `name` is that of the study file; `computed_by`
    are the packages, with versions, that computed the statistics.
    """

    schema_version: int
    id: str
    name: str
    study: str
    runs: tuple[str, ...]
    reference: str
    method: Method
    facts: Mapping[str, Any]
    banners: tuple[Banner, ...]
    models: tuple[Model, ...]
    scores: tuple[Score, ...]
    families: tuple[Family, ...]
    comparisons: tuple[Comparison, ...]
    classes: tuple[ClassCount, ...]
    lacking: Mapping[str, tuple[int, ...]]
    openings: Openings
    record: Record
    computed_by: tuple[str, ...]
    chapters: Mapping[str, Any]

    def value(self, chapter: type[Chapter[T]]) -> T | None:
        """Return what a chapter found; None if it has nothing to say."""
        found: T | None = self.chapters.get(chapter.__module__.rpartition(".")[2])
        return found

    def score(self, model: str, metric: str) -> Score:
        """Return one score. Raises KeyError."""
        return self._scores[model, metric]

    def ranking(self) -> list[Score]:
        """Return the scores on the primary metric, best first."""
        own = [score for score in self.scores if score.metric == self.method.primary_metric]
        return sorted(own, key=lambda score: (-(score.estimate or 0.0), score.model))

    def score_rows(self) -> list[dict[str, Any]]:
        """Return one row a model, best first: model, every metric, and `low`, `high` of the primary one."""
        rows = []
        for best in self.ranking():
            metrics = {metric: self.score(best.model, metric).estimate for metric in METRICS}
            rows.append({"model": best.model, **metrics, "low": best.low, "high": best.high})
        return rows

    def compared(self, family: str = STRATEGIES, metric: str | None = None) -> list[Comparison]:
        """Return the comparisons of a family on one metric (the primary one by default)."""
        return self._compared.get((family, metric or self.method.primary_metric), [])

    def model(self, name: str) -> Model:
        """Return a model by its name. Raises KeyError."""
        return self._models[name]

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions, in the order of confusion matrices."""
        return tuple(count.label for count in self.classes)

    @cached_property
    def _scores(self) -> dict[tuple[str, str], Score]:
        return {(score.model, score.metric): score for score in self.scores}

    @cached_property
    def _models(self) -> dict[str, Model]:
        return {model.name: model for model in self.models}

    @cached_property
    def _compared(self) -> dict[tuple[str, str], list[Comparison]]:
        found: dict[tuple[str, str], list[Comparison]] = {}
        for comparison in self.comparisons:
            found.setdefault((comparison.family, comparison.metric), []).append(comparison)
        return found
