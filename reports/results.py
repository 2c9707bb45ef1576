"""Everything a report says, as one frozen value: computed here, rendered elsewhere, written as results.json."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.banners import Banner, find_banners
from reports.comparisons import (
    STRATEGIES,
    Anova,
    Comparison,
    Family,
    choose_reference,
    plan_families,
    run_anovas,
    run_families,
)
from reports.emotions import (
    ClassScore,
    DropOne,
    Planted,
    Winner,
    check_planted,
    check_silent,
    drop_one,
    find_winners,
    interval_of,
    score_classes,
)
from reports.evidence import CHANCE, Evidence, Model, read_evidence
from reports.measures import RESAMPLED, Measures, measure
from reports.metrics import METRICS, PAPER_METRICS
from reports.robustness import Cost, Disturbed, read_costs, read_robustness
from reports.searches import Searched, read_searches
from reports.training import Curve, encoder_curves, head_curves
from reports.weights import FittedWeight, SampleWeight, fitted_weights, sample_weights
from stores.openings import Openings, count_openings
from stores.studies import StudyStore

SCHEMA_VERSION = 1


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
class Confusion:
    """Counts summed over all repeats, rows actual, columns predicted."""

    model: str
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """How many samples of an emotion take part, and how many were left out."""

    label: str
    used: int
    excluded: int


@dataclass(frozen=True, kw_only=True)
class Method:
    """How the numbers came about; sizes are means over repeats, `groups` the distinct ones in test parts."""

    protocol: str
    repeats: int
    train_size: float
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

    The times of `costs` are stored in the study, with the device they were measured on.
    """

    schema_version: int
    id: str
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
    anovas: tuple[Anova, ...]
    class_scores: tuple[ClassScore, ...]
    winners: tuple[Winner, ...]
    dropped: tuple[DropOne, ...]
    planted: tuple[Planted, ...]
    confusions: tuple[Confusion, ...]
    weights: tuple[FittedWeight, ...]
    sample_weights: tuple[SampleWeight, ...]
    curves: tuple[Curve, ...]
    classes: tuple[ClassCount, ...]
    lacking: Mapping[str, tuple[int, ...]]
    searches: tuple[Searched, ...]
    openings: Openings
    robustness: tuple[Disturbed, ...]
    costs: tuple[Cost, ...]

    def score(self, model: str, metric: str) -> Score:
        """Return one score. Raises KeyError."""
        for score in self.scores:
            if (score.model, score.metric) == (model, metric):
                return score
        raise KeyError(f"no {metric} of {model}")

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
        metric = metric or self.method.primary_metric
        return [c for c in self.comparisons if (c.family, c.metric) == (family, metric)]

    def model(self, name: str) -> Model:
        """Return a model by its name. Raises KeyError."""
        return {model.name: model for model in self.models}[name]


def compute_results(
    store: StudyStore,
    run_ids: Sequence[str],
    *,
    report_id: str,
    primary_metric: str,
    reference: str | None,
    alpha: float,
    draws: int,
    seed: int,
) -> Results:
    """Evaluate the runs of a study. Raises NotFound, EvidenceError, ConfigError."""
    evidence = read_evidence(store, run_ids)
    measures = measure(evidence, alpha=alpha, draws=draws, seed=seed)
    chosen = choose_reference(evidence.models, reference)
    families = plan_families(evidence.models, chosen)
    metrics = tuple(dict.fromkeys((primary_metric, *PAPER_METRICS)))
    comparisons = run_families(evidence, measures, families, metrics)
    winners = find_winners(evidence, measures)
    return Results(
        schema_version=SCHEMA_VERSION,
        id=report_id,
        study=store.id,
        runs=tuple(sorted(run_ids)),
        reference=chosen.name,
        method=_method(evidence, measures, primary_metric, draws, seed),
        facts=evidence.facts,
        banners=find_banners(evidence, measures.lacking),
        models=evidence.models,
        scores=tuple(_score(measures, model.name, metric) for model in evidence.models for metric in METRICS),
        families=families,
        comparisons=comparisons,
        anovas=run_anovas(measures, families),
        class_scores=score_classes(evidence, measures),
        winners=winners,
        dropped=drop_one(evidence, measures, chosen),
        planted=(
            *check_planted(evidence, winners, comparisons),
            *check_silent(evidence, measures, primary_metric),
        ),
        confusions=tuple(
            Confusion(model=name, rows=tuple(tuple(int(count) for count in row) for row in matrix))
            for name, matrix in measures.confusions.items()
            if name != CHANCE
        ),
        weights=fitted_weights(evidence, store),
        sample_weights=sample_weights(evidence),
        curves=(*head_curves(evidence), *encoder_curves(evidence, store.root)),
        classes=_class_counts(store, evidence.classes),
        lacking=measures.lacking,
        searches=read_searches(evidence.runs),
        openings=count_openings(store, {model.name for model in evidence.models}),
        robustness=read_robustness(store, evidence, measures),
        costs=read_costs(store, evidence),
    )


def _method(evidence: Evidence, measures: Measures, primary_metric: str, draws: int, seed: int) -> Method:
    parts = evidence.held_out
    clustered = evidence.protocol not in RESAMPLED
    return Method(
        protocol=evidence.protocol,
        repeats=len(parts),
        train_size=sum(int(part.trained_on.sum()) for part in parts) / len(parts),
        test_size=sum(len(part.labels) for part in parts) / len(parts),
        groups=len({group for part in parts for group in part.groups}),
        ratio=measures.design.ratio,
        alpha=measures.design.alpha,
        primary_metric=primary_metric,
        primary_test=measures.primary.title,
        primary_source=measures.primary.source,
        draws=draws if clustered else None,
        seed=seed,
    )


def _score(measures: Measures, model: str, metric: str) -> Score:
    measured = measures.table[model].get(metric)
    if measured is None:
        why = f"undefined: a test part lacks {', '.join(measures.lacking) or 'a class'}"
        return Score(model=model, metric=metric, estimate=None, low=None, high=None, repeats=(), reason=why)
    low, high = interval_of(measures, model, metric)
    return Score(
        model=model,
        metric=metric,
        estimate=measured.estimate,
        low=low,
        high=high,
        repeats=tuple(float(value) for value in measured.repeats),
    )


def _class_counts(store: StudyStore, classes: Sequence[str]) -> tuple[ClassCount, ...]:
    rows = store.samples().select(["label", "excluded"]).to_pylist()
    used = Counter(row["label"] for row in rows if row["excluded"] is None)
    left_out = Counter(row["label"] for row in rows if row["excluded"] is not None)
    return tuple(ClassCount(label=label, used=used[label], excluded=left_out[label]) for label in classes)
