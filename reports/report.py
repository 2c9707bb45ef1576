"""Write a report: predictions in, a page and its tables out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from reports.chapters._chapter import Rows, chapters
from reports.compute import compute_results
from reports.config import ReportConfig
from reports.drawing import Figure, standalone
from reports.figures import draw_figures
from reports.methods import methods_text
from reports.page.render import render_page
from reports.pdf import collect_pdfs
from reports.results import Results
from reports.tables import csv_table, latex_scores, latex_table
from stores.identity import canonical, short_id
from stores.root import Root
from stores.studies import StudyStore


@dataclass(frozen=True, kw_only=True)
class ReportPaths:
    """Where a report lies (`index` and `results` are full addresses) and what it says."""

    id: str
    folder: str
    index: str
    results: str
    content: Results


def report_id(study_id: str, run_ids: Sequence[str], config: ReportConfig) -> str:
    """Return the digest of study, runs and comparisons."""
    return short_id("report", {"study": study_id, "runs": sorted(run_ids), "comparisons": config})


def report_folder(report: str) -> str:
    """Return where a report lies below the root."""
    return f"reports/{report}"


def evaluate(root: Root, study_id: str, run_ids: Sequence[str], config: ReportConfig) -> Results:
    """Return what the report of these runs says; nothing is written.

    Raises NotFound for a study or run that is not there, EvidenceError if the runs cannot be paired.
    """
    name = report_id(study_id, run_ids, config)
    return compute_results(StudyStore.open(root, study_id), run_ids, config, report_id=name)


def write_report(
    root: Root, study_id: str, run_ids: Sequence[str], config: ReportConfig, *, pdf: bool = False
) -> ReportPaths:
    """Evaluate the runs and write `reports/<report id>/`: page, results, methods, tables and figures.

    `pdf` adds the figures as PDF. Raises what `evaluate` raises.
    """
    results = evaluate(root, study_id, run_ids, config)
    folder = report_folder(results.id)
    for path, content in render_files(results, pdf=pdf).items():
        root.put(content, folder, path)
    return ReportPaths(
        id=results.id,
        folder=root.url(folder),
        index=root.url(folder, "index.html"),
        results=root.url(folder, "results.json"),
        content=results,
    )


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
        **{f"figures/{figure.name}.svg": standalone(figure.svg) for figure in _all(figures)},
        "results.json": json.dumps(canonical(results), indent=1, ensure_ascii=False) + "\n",
        "index.html": render_page(results, figures),
    }
    return {f"figures/{name}.pdf": content for name, content in pdfs.items()} | {
        path: text.encode() for path, text in texts.items()
    }


def _all(figures: Mapping[str, Iterable[Figure]]) -> list[Figure]:
    return [figure for own in figures.values() for figure in own]


def _tables(results: Results) -> dict[str, Rows]:
    return {
        table: rows
        for name, chapter in chapters().items()
        if name in results.chapters
        for table, rows in chapter.tables(results.chapters[name], results).items()
    }
