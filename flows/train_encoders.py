"""Prefect flow: Train the encoders of a study that are not trained yet."""

from prefect import flow

from flows.flow_parts import HOUR, perform
from flows.jobs import JSON, Options


@flow(name="train-encoders", timeout_seconds=24 * HOUR)
def train_encoders(study: str, options: Options | None = None) -> JSON:
    """Train the encoders of a study that are not trained yet.

    `study` is a TOML file relative to the checkout; `options` takes root, device, dask and the like.
    """
    return perform("train", study, options)
