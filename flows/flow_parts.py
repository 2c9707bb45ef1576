"""What every Prefect flow shares: the task that does a job, and the artifacts it leaves behind."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows import jobs
from flows.jobs import JSON, Options
from flows.leakage import LeakageError
from stores.errors import ConfigError, NotFound

_BOOKS = ("samples", "absent", "cached", "extracted", "quarantined")
HOUR = 3600


def _worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """A wrong setting stays wrong; a full disk or a lost node may not."""
    try:
        state.result()
    except (ConfigError, NotFound, LeakageError):
        return False
    except Exception:
        return True
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
    plain: Callable[[str, Options], JSON] = getattr(jobs, f"{job}_job")
    return plain(study, options)


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
    lines += [f"- {name}: {_words(value)}" for name, value in result.items() if name == "runs"]
    create_markdown_artifact("\n".join(lines), key=_key(job, study, "summary"))
    if features := result.get("features"):
        rows = [{"feature": name, **{column: books[column] for column in _BOOKS}} for name, books in features.items()]
        create_table_artifact(rows, key=_key(job, study, "books"))
    if report := result.get("report"):
        link = report if "://" in report else Path(report).resolve().as_uri()
        create_link_artifact(link, link_text=f"Report of {Path(study).stem}", key=_key(job, study, "report"))


@contextmanager
def _failure_told(job: str, study: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        text = f"# {job} {Path(study).stem} failed\n\n**{type(error).__name__}**\n\n```\n{error}\n```\n"
        create_markdown_artifact(text, key=_key(job, study, "failure"))
        raise


def _key(*parts: str) -> str:
    named = (Path(part).stem for part in parts)
    return re.sub(r"[^a-z0-9]+", "-", "-".join(named).lower()).strip("-")


def _words(value: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in value.items())
