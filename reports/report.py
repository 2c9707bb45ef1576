"""Write a report: predictions in, a page and its tables out."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import PurePosixPath

from reports.banners import find_banners
from reports.case import Case
from reports.chapters._chapter import Rows, chapters, told
from reports.chapters.limits import DesignLimits
from reports.comparisons import choose_reference, plan_families, run_families
from reports.config import ReportConfig
from reports.drawing import Figure, collect_pdfs, standalone
from reports.evidence import Evidence, read_evidence
from reports.findings.leaks import judged_on
from reports.findings.record import in_words, read_record
from reports.measures import RESAMPLED, Measures, interval_of, measure
from reports.methods import methods_text
from reports.metrics import METRICS, PAPER_METRICS
from reports.page.render import render_page
from reports.results import SCHEMA_VERSION, ClassCount, Method, Results, Score
from reports.summary import gains_figure
from reports.tables import csv_table, latex_scores, latex_table
from stores.errors import DamagedError
from stores.identity import canonical, short_id
from stores.inventory import missing_files
from stores.local_files import INVISIBLE
from stores.root import Root
from stores.studies import StudyStore

COMPUTING = ("affuse", "numpy", "scipy")  # packages behind the statistics


@dataclass(frozen=True, kw_only=True)
class ReportPaths:
    """Where a report lies (`index` and `results` are full addresses) and what it says."""

    id: str
    folder: str
    index: str
    results: str
    content: Results


def report_id(study_id: str, run_ids: Sequence[str], config: ReportConfig, name: str | None = None) -> str:
    """Return the digest of study, runs, comparisons and the name the report is given."""
    return short_id("report", {"study": study_id, "runs": sorted(run_ids), "comparisons": config, "name": name})


def report_folder(report: str) -> str:
    """Return where a report lies below the root."""
    return f"reports/{report}"


def evaluate(
    root: Root,
    study_id: str,
    run_ids: Sequence[str],
    config: ReportConfig,
    *,
    name: str | None = None,
    as_of: int | None = None,
) -> Results:
    """Return what the report of these runs says; nothing is written.

    `name` is that of the study file: several may share one stored study, whose own name it is by default. `as_of` is
    that of the record of an earlier report, which may have known less of other runs and studies. Raises
    NotFound for a study or run that is not there, DamagedError for a file its inventory lists and that is not there,
    EvidenceError if the runs cannot be paired.
    """
    own, store = report_id(study_id, run_ids, config, name), StudyStore.open(root, study_id)
    if lost := missing_files(store):
        raise DamagedError(
            f"{len(lost)} files of the study are missing, {lost[0]} for one: `affuse study` makes them again"
        )
    return compute_results(store, run_ids, config, report_id=own, name=name, as_of=as_of)


def write_report(
    root: Root,
    study_id: str,
    run_ids: Sequence[str],
    config: ReportConfig,
    *,
    name: str | None = None,
    pdf: bool = False,
) -> ReportPaths:
    """Evaluate the runs and write `reports/<report id>/`: page, results, methods, tables, figures.

    Other files there are deleted. `pdf` adds the figures as PDF. Raises what `evaluate` raises.
    """
    results = evaluate(root, study_id, run_ids, config, name=name)
    folder, files = report_folder(results.id), render_files(results, pdf=pdf)
    for path, content in files.items():
        root.put(content, folder, path)
    for path in set(written_files(root, folder)) - set(files):
        root.delete(folder, path)
    return ReportPaths(
        id=results.id,
        folder=root.url(folder),
        index=root.url(folder, "index.html"),
        results=root.url(folder, "results.json"),
        content=results,
    )


def written_files(root: Root, folder: str) -> list[str]:
    """Return the paths of the files of a report, relative to its folder."""
    paths = [PurePosixPath(file.path) for file in root.files(folder)]
    return [str(path.relative_to(folder)) for path in paths if not path.name.startswith(INVISIBLE)]


def render_files(results: Results, *, pdf: bool = False) -> dict[str, bytes]:
    """Return every file of a report by its path, the page last; figures as PDF too if asked for."""
    wanted: AbstractContextManager[dict[str, bytes]] = collect_pdfs() if pdf else nullcontext({})
    with wanted as pdfs:
        figures = draw_figures(results)
    tables = _tables(results)
    texts = {
        "methods.md": methods_text(results),
        **{f"tables/{name}.csv": csv_table(rows) for name, rows in tables.items()},
        **{f"tables/{name}.tex": latex_table(rows) for name, rows in tables.items()},
        "tables/scores.tex": latex_scores(results),
        **{f"figures/{figure.name}.svg": standalone(figure.svg) for own in figures.values() for figure in own},
        "results.json": json.dumps(canonical(results), indent=1, ensure_ascii=False) + "\n",
        "index.html": render_page(results, figures),
    }
    return {f"figures/{name}.pdf": content for name, content in pdfs.items()} | {
        path: text.encode() for path, text in texts.items()
    }


def draw_figures(results: Results) -> Mapping[str, Sequence[Figure]]:
    """Return the figures of every chapter by its name; those of the summary are under "summary"."""
    gains = gains_figure(results)
    return {"summary": [gains] if gains else []} | {
        name: [*chapter.figures(value, results)] for name, chapter, value in told(results)
    }


def _tables(results: Results) -> dict[str, Rows]:
    return {
        table: rows for _, chapter, value in told(results) for table, rows in chapter.tables(value, results).items()
    }


def read_case(store: StudyStore, run_ids: Sequence[str], config: ReportConfig) -> Case:
    """Read, measure and compare the runs of a study. Raises NotFound, EvidenceError, ConfigError."""
    evidence = read_evidence(store, run_ids)
    clean, seen = judged_on(evidence, store.radar())
    whole = None if clean is evidence else _case(store, evidence, config)
    return replace(_case(store, clean, config), seen=seen, whole=whole)


def _case(store: StudyStore, evidence: Evidence, config: ReportConfig) -> Case:
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
    store: StudyStore,
    run_ids: Sequence[str],
    config: ReportConfig,
    *,
    report_id: str,
    name: str | None = None,
    as_of: int | None = None,
) -> Results:
    """Evaluate the runs of a study, under its own name by default. Raises NotFound, EvidenceError, ConfigError."""
    case = read_case(store, run_ids, config)
    evidence, measures = case.evidence, case.measures
    found = {chapter: case.value(type(told)) for chapter, told in chapters().items()}
    sight = case.value(DesignLimits)
    alarms = sight.calibration if sight else None
    record, openings = read_record(store, {*run_ids}, config, case.reference.name, as_of)
    return Results(
        schema_version=SCHEMA_VERSION,
        id=report_id,
        name=evidence.facts["name"] if name is None else name,
        study=store.id,
        runs=tuple(sorted(run_ids)),
        reference=case.reference.name,
        method=_method(evidence, measures, config),
        facts=evidence.facts,
        banners=find_banners(evidence, measures.lacking, alarms, in_words(record, evidence.facts["seed"]), case.seen),
        models=evidence.models,
        scores=tuple(_score(measures, model.name, metric) for model in evidence.models for metric in METRICS),
        families=case.families,
        comparisons=case.comparisons,
        classes=_class_counts(case),
        lacking=measures.lacking,
        record=record,
        openings=openings,
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
        encoder_size=sum(part.by_encoders for part in parts) / len(parts),
        test_size=sum(len(part.labels) for part in parts) / len(parts),
        groups=len(evidence.group_index[0]),
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
