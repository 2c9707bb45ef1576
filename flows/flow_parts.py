"""What every Prefect flow shares: the task that does a job, and the artifacts it leaves behind."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import Flow, flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL

from flows import jobs
from flows.jobs import JSON, Options
from flows.leakage import LeakageError
from stores.errors import ConfigError, FeatureMismatch, ManifestError, MostFailed, NotFound, RootError
from stores.receipt import STAGES

_BOOKS = ("samples", "absent", "cached", "extracted", "quarantined")
_COUNTED = ("runs", "robustness")
_STAYS = (ConfigError, ManifestError, MostFailed, NotFound, LeakageError, FeatureMismatch)
_REFUSED = (PermissionError, NotADirectoryError, FileExistsError, FileNotFoundError)  # the last: no such bucket
_HOUR = 3600


def _worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """A wrong setting, a missing table or a refused root stay wrong; a full disk or a lost node may not."""
    try:
        state.result()
    except _STAYS:
        return False
    except Exception as error:
        why = error.__cause__ if isinstance(error, RootError) else error
        return not (isinstance(why, _REFUSED) or type(why).__name__ == "NoCredentialsError")
    return False


@task(
    name="do-job",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=60,
    retry_condition_fn=_worth_retrying,
)
def do_job(job: str, study: str, options: Options) -> JSON:
    """Run one job. Our seals decide what is done, not Prefect's state, so trying again is always safe."""
    plain: Callable[..., JSON] = getattr(jobs, f"{job}_job")
    spread = options.dask is not None or options.workers is not None
    if not spread or PREFECT_API_URL.value() is None:  # each worker would start a server of its own
        return plain(study, options)
    from flows.prefect_blocks import prefect_mapper

    return plain(study, options, prefect_mapper)


def job_flow(job: str, name: str, summary: str, hours: int = 24) -> Flow[[str, Options | None], JSON]:
    """Return the Prefect flow that does a job of a study."""
    about = "`study` is a TOML file relative to the checkout; `options` takes root, device, dask and the like."

    @flow(name=name, description=f"{summary}\n\n{about}", timeout_seconds=hours * _HOUR)
    def run(study: str, options: Options | None = None) -> JSON:
        return perform(job, study, options)

    return run


def perform(job: str, study: str, options: Options | None) -> JSON:
    """Run a job as a task of the current flow and publish its outcome, or what failed."""
    with _failure_told(job, study):
        result: JSON = do_job(job, study, options or Options())
        publish(job, study, result)
    return result


def publish(job: str, study: str, result: JSON) -> None:
    """Leave artifacts: a summary in markdown, a table of the books, a link to the page."""
    lines = [f"# {job} {Path(study).stem}", ""]
    lines += [f"- {name}: `{value}`" for name, value in result.items() if not isinstance(value, dict)]
    lines += [f"- {name}: {_words(value)}" for name, value in result.items() if name in _COUNTED]
    lines += _receipt_lines(result.get("features", {}))
    create_markdown_artifact("\n".join(lines), key=_key(job, study, "summary"))
    if features := result.get("features"):
        rows = [{"feature": name, **{column: books[column] for column in _BOOKS}} for name, books in features.items()]
        create_table_artifact(rows, key=_key(job, study, "books"))
    if report := result.get("report"):
        link = report if "://" in report else Path(report).resolve().as_uri()
        create_link_artifact(link, link_text=f"Report of {Path(study).stem}", key=_key(job, study, "report"))


def _receipt_lines(features: dict[str, Any]) -> list[str]:
    """Return a table of what each extraction took, as text."""
    receipts = {name: told["receipt"] for name, told in features.items() if (told["receipt"] or {}).get("samples")}
    if not receipts:
        return []
    rows = [
        f"| {name} | {told['samples']:,} | {told['seconds']:,.1f} | {told['samples_per_second']:,.1f} | "
        + " | ".join(f"{told['stages'].get(stage, 0.0):,.1f}" for stage in STAGES)
        + f" | {told['busy_share'] or 0:.0%} | {told['verdict']} |"
        for name, told in receipts.items()
    ]
    columns = ["feature", "samples", "seconds", "samples/s", *(f"{stage}, s" for stage in STAGES), "device", "verdict"]
    return ["", "## What extraction took", "", f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns), *rows]


@contextmanager
def _failure_told(job: str, study: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        told = str(error).replace("`", "'")  # a name in it does not end the block
        text = f"# {job} {Path(study).stem} failed\n\n**{type(error).__name__}**\n\n```\n{told}\n```\n"
        create_markdown_artifact(text, key=_key(job, study, "failure"))
        raise


def _key(*parts: str) -> str:
    named = (Path(part).stem for part in parts)
    return re.sub(r"[^a-z0-9]+", "-", "-".join(named).lower()).strip("-")


def _words(value: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in value.items())
