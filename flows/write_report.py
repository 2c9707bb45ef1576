"""Prefect flow: Write the report of a study that has run."""

from flows.flow_parts import job_flow

write_report = job_flow("report", "write-report", "Write the report of a study that has run.", hours=1)
