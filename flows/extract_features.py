"""Prefect flow: Rebuild the manifest from the corpus, then extract what is not in the store yet."""

from flows.flow_parts import job_flow

extract_features = job_flow(
    "extract", "extract-features", "Rebuild the manifest from the corpus, then extract what is not in the store yet."
)
