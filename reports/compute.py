"""Evaluate a study: measure and compare its models, then let every chapter say what it has to say."""

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version

from reports.banners import find_banners
from reports.case import Case
from reports.chapters._chapter import chapters
from reports.chapters.limits import DesignLimits
from reports.comparisons import choose_reference, plan_families, run_families
from reports.config import ReportConfig
from reports.evidence import Evidence, read_evidence
from reports.measures import RESAMPLED, Measures, interval_of, measure
from reports.metrics import METRICS, PAPER_METRICS
from reports.results import SCHEMA_VERSION, ClassCount, Method, Results, Score
from stores.openings import count_openings
from stores.studies import StudyStore

COMPUTING = ("affuse", "numpy", "scipy")  # packages behind the statistics


def read_case(store: StudyStore, run_ids: Sequence[str], config: ReportConfig) -> Case:
    """Read, measure and compare the runs of a study. Raises NotFound, EvidenceError, ConfigError."""
    evidence = read_evidence(store, run_ids)
    reference = choose_reference(evidence.models, config.reference)
    families = plan_families(evidence.models, reference)
    largest = max((len(family.pairs) for family in families), default=1)
    measures = measure(evidence, alpha=config.alpha, draws=config.draws, seed=config.seed, family=largest)
    metrics = tuple(dict.fromkeys((config.primary_metric, *PAPER_METRICS)))
    return Case(
        store=store,
        config=config,
        evidence=evidence,
        measures=measures,
        reference=reference,
        families=families,
        comparisons=run_families(evidence, measures, families, metrics),
    )


def compute_results(
    store: StudyStore, run_ids: Sequence[str], config: ReportConfig, *, report_id: str, name: str | None = None
) -> Results:
    """Evaluate the runs of a study, under its own name by default. Raises NotFound, EvidenceError, ConfigError."""
    case = read_case(store, run_ids, config)
    evidence, measures = case.evidence, case.measures
    found = {chapter: case.value(type(told)) for chapter, told in chapters().items()}
    sight = case.value(DesignLimits)
    return Results(
        schema_version=SCHEMA_VERSION,
        id=report_id,
        name=evidence.facts["name"] if name is None else name,
        study=store.id,
        runs=tuple(sorted(run_ids)),
        reference=case.reference.name,
        method=_method(evidence, measures, config),
        facts=evidence.facts,
        banners=find_banners(evidence, measures.lacking, sight.calibration if sight else None),
        models=evidence.models,
        scores=tuple(_score(measures, model.name, metric) for model in evidence.models for metric in METRICS),
        families=case.families,
        comparisons=case.comparisons,
        classes=_class_counts(case),
        lacking=measures.lacking,
        openings=count_openings(store, {model.name for model in evidence.models}),
        computed_by=tuple(f"{package} {version(package)}" for package in COMPUTING),
        chapters={chapter: value for chapter, value in found.items() if value is not None},
    )


def _method(evidence: Evidence, measures: Measures, config: ReportConfig) -> Method:
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
        primary_metric=config.primary_metric,
        primary_test=measures.primary.title,
        primary_source=measures.primary.source,
        draws=measures.draws if clustered else None,
        seed=config.seed,
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


def _class_counts(case: Case) -> tuple[ClassCount, ...]:
    counts: Counter[tuple[str | None, bool]] = Counter()
    for row in case.sample_counts:
        counts[row["label"], row["excluded"] is None] += row["n"]
    return tuple(
        ClassCount(label=label, used=counts[label, True], excluded=counts[label, False])
        for label in case.evidence.classes
    )
