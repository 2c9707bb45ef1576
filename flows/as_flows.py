"""Run a job as the Prefect flow of the same purpose."""

from collections.abc import Callable

from flows.extract_features import extract_features
from flows.jobs import JSON, Options
from flows.run_pipeline import run_pipeline
from flows.run_study import run_study
from flows.train_encoders import train_encoders
from flows.write_report import write_report

FLOWS: dict[str, Callable[[str, Options], JSON]] = {
    "extract": extract_features,
    "train": train_encoders,
    "study": run_study,
    "report": write_report,
    "run": run_pipeline,
}


def run_as_flow(job: str, study: str, options: Options) -> JSON:
    """Run a job against the Prefect server of PREFECT_API_URL, or an ephemeral one."""
    return FLOWS[job](study, options)
