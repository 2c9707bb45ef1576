"""Prefect flow: Go the whole way: manifest, features, encoders, heads, report."""

from flows.flow_parts import job_flow

run_pipeline = job_flow(
    "run", "run-pipeline", "Go the whole way: manifest, features, encoders, heads, report.", hours=48
)
