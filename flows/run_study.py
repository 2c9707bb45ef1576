"""Prefect flow: Train and score the heads of a study that have not run yet."""

from flows.flow_parts import job_flow

run_study = job_flow("study", "run-study", "Train and score the heads of a study that have not run yet.")
