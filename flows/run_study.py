"""Prefect flow: Train and score the heads of a study that have not run yet."""

from prefect import flow

from flows.flow_parts import HOUR, perform
from flows.jobs import JSON, Options


@flow(name="run-study", timeout_seconds=24 * HOUR)
def run_study(study: str, options: Options | None = None) -> JSON:
    """Train and score the heads of a study that have not run yet.

    `study` is a TOML file relative to the checkout; `options` takes root, device, dask and the like.
    """
    return perform("study", study, options)
