"""Write a report: predictions in, a page and its tables out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from reports.chapters._chapter import chapters
from reports.compute import compute_results
from reports.config import ReportConfig
from reports.drawing import standalone
from reports.figures import draw_figures
from reports.methods import methods_text
from reports.page.render import render_page
from reports.results import Results
from reports.tables import csv_table, latex_scores
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


def write_report(root: Root, study_id: str, run_ids: Sequence[str], config: ReportConfig) -> ReportPaths:
    """Evaluate the runs and write `reports/<report id>/`: page, results, methods, tables and figures.

    Raises NotFound for a study or run that is not there, EvidenceError if the runs cannot be paired.
    """
    name = report_id(study_id, run_ids, config)
    results = compute_results(StudyStore.open(root, study_id), run_ids, config, report_id=name)
    folder = f"reports/{name}"
    for path, text in render_files(results).items():
        root.put(text.encode(), folder, path)
    return ReportPaths(
        id=name,
        folder=root.url(folder),
        index=root.url(folder, "index.html"),
        results=root.url(folder, "results.json"),
        content=results,
    )


def render_files(results: Results) -> dict[str, str]:
    """Return the text of every file of a report by its path, the page last."""
    figures = draw_figures(results)
    drawn = [figure for own in figures.values() for figure in own]
    return {
        "methods.md": methods_text(results),
        "tables/scores.tex": latex_scores(results),
        **{f"tables/{table}.csv": text for table, text in _tables(results).items()},
        **{f"figures/{figure.name}.svg": standalone(figure.svg) for figure in drawn},
        "results.json": json.dumps(canonical(results), indent=1, ensure_ascii=False) + "\n",
        "index.html": render_page(results, figures),
    }


def _tables(results: Results) -> dict[str, str]:
    return {
        table: csv_table(rows)
        for name, chapter in chapters().items()
        if name in results.chapters
        for table, rows in chapter.tables(results.chapters[name], results).items()
    }
