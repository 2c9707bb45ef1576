"""Several models at once: the reference and all it is set against."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters._assumed import assumed
from reports.chapters._chapter import Chapter, Rows
from reports.comparisons import STRATEGIES
from reports.errors import StatisticsError
from reports.findings.one_test_set import NO_ONE_SET, Spread, find_one_test_set, spread
from reports.measures import Measures
from reports.metrics import PAPER_METRICS
from reports.results import Results
from reports.statistics._statistic import ColumnPair
from reports.statistics.cochran_q import CochranQ, CochranResult
from reports.statistics.holm import Holm
from reports.statistics.repeated_anova import RepeatedAnova, RepeatedResult
from reports.statistics.tukey import Tukey, TukeyResult
from reports.words import NAMES, exact, points

FEWEST_MODELS = 3


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The repeated-measures analysis of one metric; None where it is refused, with the reason."""

    metric: str
    result: RepeatedResult | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """McNemar's test of a - b over seeds: gain in accuracy, exact p, and that p corrected over all pairs of a seed."""

    a: str
    b: str
    gain: Spread
    p: Spread
    holm_p: Spread


@dataclass(frozen=True, kw_only=True)
class OnOneTestSet:
    """The trained models on the samples that all are tested on: Q of every seed, and all pairs."""

    cochran: tuple[CochranResult, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A test that would say nothing true here, and why."""

    test: str
    why: str


NO_TEST_SET = Absent(test="Cochran Q with McNemar", why=NO_ONE_SET)
ONE_CORPUS = Absent(
    test="Friedman with Nemenyi, and the Bayesian signed-rank test",
    why="their blocks are independent corpora, at least five; this study has one, and its repeats are not blocks",
)


@dataclass(frozen=True, kw_only=True)
class Analyses:
    """Analyses over `models`. `tukey` is of the primary metric; its pairs are numbers of `models`."""

    models: tuple[str, ...]
    analyses: tuple[Analysis, ...]
    tukey: TukeyResult | None
    one_test_set: OnOneTestSet | None
    absent: tuple[Absent, ...]


class ManyModels(Chapter[Analyses]):
    """Repeated-measures analyses of variance, and after them pairs, where that is valid."""

    title = "Many models at once"

    def compute(self, case: Case) -> Analyses | None:
        pairs = next((family.pairs for family in case.families if family.name == STRATEGIES), ())
        models = tuple(dict.fromkeys(name for pair in pairs for name in pair))
        if len(models) < FEWEST_MODELS:
            return None
        metrics = dict.fromkeys((case.primary_metric, *PAPER_METRICS))
        tukey, absent = _tukey(case.measures, case.primary_metric, models)
        shared = _on_one_test_set(case, models)
        return Analyses(
            models=models,
            analyses=tuple(_analysis(case.measures, metric, models) for metric in metrics),
            tukey=tukey,
            one_test_set=shared,
            absent=(*absent, *([] if shared else [NO_TEST_SET]), ONE_CORPUS),
        )

    def tables(self, value: Analyses, results: Results) -> Mapping[str, Rows]:
        tables = {"repeated_anovas": [_flat(item) for item in value.analyses]}
        if value.tukey:
            tables["tukey"] = [_tukey_row(value.models, pair) for pair in value.tukey.pairs]
        if value.one_test_set:
            tables["mcnemar_all_pairs"] = [_mcnemar_row(pair) for pair in value.one_test_set.pairs]
        return {name: rows for name, rows in tables.items() if rows}

    def context(self, value: Analyses, results: Results) -> Mapping[str, Any]:
        return {
            "exact": exact,
            "points": points,
            "checks": assumed((NAMES[item.metric], item.result) for item in value.analyses),
        }


def scores_of(measures: Measures, metric: str, models: Iterable[str]) -> np.ndarray:
    """Return the scores (J repeats, k models) of one metric."""
    return np.stack([measures.table[name][metric].repeats for name in models], axis=1)


def _analysis(measures: Measures, metric: str, models: tuple[str, ...]) -> Analysis:
    try:
        result = RepeatedAnova().compare(scores_of(measures, metric, models), measures.design)
    except StatisticsError as error:
        return Analysis(metric=metric, result=None, reason=str(error))
    return Analysis(metric=metric, result=result)


def _tukey(measures: Measures, metric: str, models: tuple[str, ...]) -> tuple[TukeyResult | None, list[Absent]]:
    try:
        return Tukey(RepeatedAnova()).compare(scores_of(measures, metric, models), measures.design), []
    except StatisticsError as error:
        return None, [Absent(test=Tukey.title, why=str(error))]


def _on_one_test_set(case: Case, models: tuple[str, ...]) -> OnOneTestSet | None:
    shared = find_one_test_set(case.evidence, case.config.alpha)
    if shared is None:
        return None
    by_seed = zip(*(shared.hits[name] for name in models), strict=True)
    pairs = list(combinations(models, 2))
    tested = [shared.compare(a, b) for a, b in pairs]
    p = [Holm().adjust(own) for own in zip(*([t.p for t in it.tables] for it in tested), strict=True)]
    corrected = np.array(p, dtype=np.float64).T
    return OnOneTestSet(
        cochran=tuple(CochranQ().compare(np.stack(hits, axis=1), groups=shared.groups) for hits in by_seed),
        pairs=tuple(
            Pair(a=a, b=b, gain=it.gain, p=it.p, holm_p=spread(own.tolist()))
            for (a, b), it, own in zip(pairs, tested, corrected, strict=True)
        ),
    )


def _flat(item: Analysis) -> dict[str, Any]:
    names = [field.name for field in fields(RepeatedResult) if field.name != "assumptions"]
    return {"metric": item.metric} | {n: getattr(item.result, n, None) for n in names} | {"reason": item.reason}


def _tukey_row(models: tuple[str, ...], pair: ColumnPair) -> dict[str, Any]:
    figures = ("difference", "low", "high", "statistic", "df", "n", "p")
    return {"a": models[pair.a], "b": models[pair.b]} | {name: getattr(pair.result, name) for name in figures}


def _mcnemar_row(pair: Pair) -> dict[str, Any]:
    figures = {"gain": pair.gain, "p": pair.p, "holm_p": pair.holm_p}
    spreads = {f"{name}_{end}": value for name, own in figures.items() for end, value in vars(own).items()}
    return {"a": pair.a, "b": pair.b} | spreads
