"""Prefect flow: Write the report of a study that has run."""

from prefect import flow

from flows.flow_parts import HOUR, perform
from flows.jobs import JSON, Options


@flow(name="write-report", timeout_seconds=1 * HOUR)
def write_report(study: str, options: Options | None = None) -> JSON:
    """Write the report of a study that has run.

    `study` is a TOML file relative to the checkout; `options` takes root, device, dask and the like.
    """
    return perform("report", study, options)
