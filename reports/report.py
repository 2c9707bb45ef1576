"""Write a report: predictions in, a page and its tables out."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from reports.drawing import standalone
from reports.figures import draw_figures
from reports.methods import methods_text
from reports.metrics import METRICS, RANKED
from reports.page import render_page
from reports.results import Results, compute_results
from reports.tables import csv_tables, latex_scores
from stores.errors import ConfigError
from stores.identity import canonical, short_id
from stores.plugins import nearest
from stores.root import Root
from stores.studies import StudyStore


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What is compared and how; part of the report's id.

    `reference` is the name of the model the others are set against (`weighted[...]` on all modalities by default);
    `draws` and `seed` are those of the bootstrap over groups.
    """

    primary_metric: str = "macro_f1"
    reference: str | None = None
    alpha: float = 0.05
    draws: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = [metric for metric in METRICS if metric not in RANKED]
        if self.primary_metric not in allowed:
            raise ConfigError(
                f"[report] primary_metric {self.primary_metric!r} is not a score that can be tested"
                f"{nearest(self.primary_metric, allowed)}; there are: {', '.join(allowed)}"
            )
        if not 0 < self.alpha < 0.5:
            raise ConfigError(f"[report] alpha should lie between 0 and 0.5, got {self.alpha}")
        if self.draws < 1000:
            raise ConfigError(f"[report] draws should be at least 1000, got {self.draws}: fewer blur the interval")


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
    results = compute_results(StudyStore.open(root, study_id), run_ids, report_id=name, **asdict(config))
    folder = f"reports/{name}"
    figures = draw_figures(results)
    files = {
        "methods.md": methods_text(results),
        "tables/scores.tex": latex_scores(results),
        **{f"tables/{table}.csv": text for table, text in csv_tables(results).items()},
        **{f"figures/{figure.name}.svg": standalone(figure.svg) for figure in figures},
        "results.json": json.dumps(canonical(results), indent=1, ensure_ascii=False) + "\n",
        "index.html": render_page(results, figures),
    }
    for path, text in files.items():
        root.put(text.encode(), folder, path)
    return ReportPaths(
        id=name,
        folder=root.url(folder),
        index=root.url(folder, "index.html"),
        results=root.url(folder, "results.json"),
        content=results,
    )
