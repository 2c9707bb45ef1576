"""Prefect flow: Rebuild the manifest from the corpus, then extract what is not in the store yet."""

from prefect import flow

from flows.flow_parts import HOUR, perform
from flows.jobs import JSON, Options


@flow(name="extract-features", timeout_seconds=24 * HOUR)
def extract_features(study: str, options: Options | None = None) -> JSON:
    """Rebuild the manifest from the corpus, then extract what is not in the store yet.

    `study` is a TOML file relative to the checkout; `options` takes root, device, dask and the like.
    """
    return perform("extract", study, options)
