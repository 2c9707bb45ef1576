"""Prefect flow: Go the whole way: manifest, features, encoders, heads, report."""

from prefect import flow

from flows.flow_parts import HOUR, perform
from flows.jobs import JSON, Options


@flow(name="run-pipeline", timeout_seconds=48 * HOUR)
def run_pipeline(study: str, options: Options | None = None) -> JSON:
    """Go the whole way: manifest, features, encoders, heads, report.

    `study` is a TOML file relative to the checkout; `options` takes root, device, dask and the like.
    """
    return perform("run", study, options)
