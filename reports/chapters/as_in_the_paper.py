"""The reference paper's own tests, with what is left of each once it is corrected."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from reports.case import Case
from reports.chapters._assumed import assumed
from reports.chapters._chapter import Chapter, Rows
from reports.chapters.many_models import ManyModels, scores_of
from reports.comparisons import STRATEGIES, UNTOLD
from reports.errors import StatisticsError
from reports.measures import Measures
from reports.metrics import PAPER_METRICS
from reports.results import Results
from reports.statistics.one_way_anova import OneWayAnova, OneWayResult
from reports.words import NAMES, labels_of, rival_of

FIGURES = ("difference", "low", "high", "statistic", "df", "n", "p", "d_z", "independence_violated")


@dataclass(frozen=True, kw_only=True)
class OneWay:
    """The one-way analysis of one metric; None where it is refused, with the reason."""

    metric: str
    result: OneWayResult | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Called:
    """Of `n` comparisons that a paired t can test: how many it calls significant, and how many have a verdict.

    A verdict takes the protocol's own test with Holm's correction, and pairs that were recorded.
    """

    metric: str
    n: int
    paired_t: int
    corrected: int


@dataclass(frozen=True, kw_only=True)
class PaperTests:
    """What is not in the comparisons already; the corrected analyses are those of the chapter on many models."""

    one_way: tuple[OneWay, ...]
    called: tuple[Called, ...]


class AsInThePaper(Chapter[PaperTests]):
    """Paired t and one-way analysis of variance on the paper's four metrics, the corrected result beside each."""

    title = "As in the paper, and corrected"

    def compute(self, case: Case) -> PaperTests | None:
        if not case.compared(STRATEGIES):
            return None
        analyses = case.value(ManyModels)
        return PaperTests(
            one_way=tuple(_one_way(case.measures, metric, analyses.models) for metric in PAPER_METRICS)
            if analyses
            else (),
            called=tuple(_called(case, metric) for metric in PAPER_METRICS),
        )

    def tables(self, value: PaperTests, results: Results) -> Mapping[str, Rows]:
        rows = [c for metric in PAPER_METRICS for c in results.compared(STRATEGIES, metric)]
        paired = [
            {name: getattr(c, name) for name in ("metric", "a", "b")}
            | {f"paired_t_{name}": getattr(c.naive, name, None) for name in FIGURES}
            | {f"corrected_{name}": getattr(c.primary, name, None) for name in FIGURES}
            | {"corrected_holm_p": c.holm_p, "verdict": c.verdict}
            for c in rows
        ]
        one_way = [
            {"metric": item.metric}
            | {f.name: getattr(item.result, f.name, None) for f in fields(OneWayResult) if f.name != "assumptions"}
            | {"reason": item.reason}
            for item in value.one_way
        ]
        return {"paired_t_as_in_the_paper": paired, "one_way_anovas": one_way}

    def context(self, value: PaperTests, results: Results) -> Mapping[str, Any]:
        compared = {metric: results.compared(STRATEGIES, metric) for metric in PAPER_METRICS}
        labels, analyses = labels_of(results), results.value(ManyModels)
        one_way = [(f"{NAMES[item.metric]}: one-way", item.result) for item in value.one_way]
        paired = [
            (f"{NAMES[metric]}: {labels[c.a]} − {rival_of(results, c)}", c.naive)
            for metric, own in compared.items()
            for c in own
        ]
        return {
            "compared": compared,
            "corrected": {item.metric: item.result for item in analyses.analyses} if analyses else {},
            "checks": assumed([*one_way, *paired]),
        }


def _one_way(measures: Measures, metric: str, models: tuple[str, ...]) -> OneWay:
    try:
        result = OneWayAnova().compare(scores_of(measures, metric, models), measures.design)
    except StatisticsError as error:
        return OneWay(metric=metric, result=None, reason=str(error))
    return OneWay(metric=metric, result=result)


def _called(case: Case, metric: str) -> Called:
    compared, alpha = case.compared(STRATEGIES, metric), case.measures.design.alpha
    p = [c.naive.p for c in compared if c.naive and c.naive.p is not None]
    return Called(
        metric=metric,
        n=len(p),
        paired_t=sum(value < alpha for value in p),
        corrected=sum(c.verdict != UNTOLD for c in compared),
    )
