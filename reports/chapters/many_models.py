"""Analyses of variance over the reference and all it is set against."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter
from reports.comparisons import STRATEGIES, Family
from reports.errors import StatisticsError
from reports.measures import Measures
from reports.metrics import PAPER_METRICS
from reports.statistics._statistic import AnovaResult
from reports.statistics.one_way_anova import OneWayAnova
from reports.statistics.repeated_anova import RepeatedAnova


@dataclass(frozen=True, kw_only=True)
class Anova:
    """The analyses of variance of one metric over `models`; None where they are refused, with the reason."""

    metric: str
    models: tuple[str, ...]
    one_way: AnovaResult | None
    repeated: AnovaResult | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Analyses:
    """One analysis a metric."""

    anovas: tuple[Anova, ...]


class ManyModels(Chapter[Analyses]):
    """All strategies at once."""

    title = "Analyses of variance"

    def compute(self, case: Case) -> Analyses:
        return Analyses(anovas=run_anovas(case.measures, case.families))


def run_anovas(measures: Measures, families: Sequence[Family]) -> tuple[Anova, ...]:
    """Return the analyses of variance, as in the paper, over the reference and all it is set against."""
    pairs = next((family.pairs for family in families if family.name == STRATEGIES), ())
    models = tuple(dict.fromkeys(name for pair in pairs for name in pair))
    return tuple(_anova(measures, metric, models) for metric in PAPER_METRICS) if len(models) > 2 else ()


def _anova(measures: Measures, metric: str, models: tuple[str, ...]) -> Anova:
    scores = np.stack([measures.table[name][metric].repeats for name in models], axis=1)
    try:
        one_way, repeated = (test.compare(scores, measures.design) for test in (OneWayAnova(), RepeatedAnova()))
    except StatisticsError as error:
        return Anova(metric=metric, models=models, one_way=None, repeated=None, reason=str(error))
    return Anova(metric=metric, models=models, one_way=one_way, repeated=repeated)
