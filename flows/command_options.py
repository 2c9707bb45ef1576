"""Options that several commands take, how a command is done, and what its result becomes."""

import json
import os
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

import click

from flows.progress import listing

FAILED, WRONG_USAGE = 1, 2
_FLOWS = {  # by job: the Prefect flow, in the file of its name
    "extract": "extract_features",
    "train": "train_encoders",
    "study": "run_study",
    "report": "write_report",
    "run": "run_pipeline",
}

study_argument = click.argument("study", type=click.Path(dir_okay=False, path_type=str))


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options every command takes, and turn its result into one JSON object if asked."""

    @click.option(
        "--root",
        help="Where everything is written: a folder, or an fsspec address. Default: $AFFUSE_ROOT, else ./runs.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, everything else on stderr.")
    @click.option("--quiet", is_flag=True, help="Say nothing on stderr but errors.")
    @wraps(command)
    def wrapped(*args: Any, as_json: bool, **options: Any) -> None:
        listing.stderr = as_json
        result = command(*args, **options)
        if as_json:
            click.echo(json.dumps(result))
        if result.get("ok") is False:
            raise click.exceptions.Exit(FAILED)

    return wrapped


def shown(found: dict[str, Any], show: Callable[[dict[str, Any]], None], *, quiet: bool) -> dict[str, Any]:
    """Print what was found, unless nobody wants to read it, and return it."""
    if not quiet:
        show(found)
    return found


def do(job: str, study: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run a job here, or as a Prefect flow; imports wait until now so that --help is instant."""
    from flows import jobs

    as_flow = options.pop("prefect", False) or (job in _FLOWS and "PREFECT_API_URL" in os.environ)
    chosen = jobs.Options(**options)
    if as_flow:
        name = _FLOWS[job]
        flow: Callable[..., dict[str, Any]] = getattr(import_module(f"flows.{name}"), name)
        return flow(study, chosen)
    plain: Callable[[str, jobs.Options], dict[str, Any]] = getattr(jobs, f"{job}_job")
    return plain(study, chosen)
