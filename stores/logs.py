"""Logs of a study, which only grow: what was opened, tried and measured. Columns are only ever added, at the end."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pyarrow as pa


def columns(**kinds: pa.DataType) -> pa.Schema:
    """Return the schema of a table: the type of each column, in their order."""
    return pa.schema(kinds.items())


def now() -> str:
    """Return the time as logs note it, which sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


_TEXT, _FLOAT, _COUNT, _TEXTS = pa.string(), pa.float64(), pa.int64(), pa.list_(pa.string())
LOGS: Mapping[str, pa.Schema] = {
    # one row a time something else was asked of the study, noted before a test part is opened or a report is made;
    # time: ISO 8601, UTC; file: digest of the study file; kind: run or report; reference: that of the file, or the
    # model that is one by default; models: one a run
    "plans": columns(
        time=_TEXT,
        name=_TEXT,
        file=_TEXT,
        kind=_TEXT,
        reference=_TEXT,
        by_default=pa.bool_(),
        primary_metric=_TEXT,
        runs=_TEXTS,
        models=_TEXTS,
    ),
    # one row an opening of a run's test part, written before it is opened; purpose: score or robustness
    "openings": columns(run_id=_TEXT, purpose=_TEXT, time=_TEXT),
    # one row a trial of a hyper-parameter search; repeat: whose training and validation samples it saw; settings: JSON
    # text; value: the criterion (lower is better; infinite if the training diverged)
    "trials": columns(
        search_id=_TEXT,
        head=_TEXT,
        modalities=_TEXT,
        repeat=_COUNT,
        trial=_COUNT,
        settings=_TEXT,
        value=_FLOAT,
        seconds=_FLOAT,
    ),
    # one row a (run, condition, metric); condition: removed or noise; level: deviations of the noise, else null
    "robustness": columns(run_id=_TEXT, condition=_TEXT, modality=_TEXT, level=_FLOAT, metric=_TEXT, value=_FLOAT),
    # one row a (run, batch), of the first repeat of each model at the time; times in microseconds a call
    "latency": columns(
        model=_TEXT,
        batch=_COUNT,
        median_us=_FLOAT,
        p95_us=_FLOAT,
        parameters=_COUNT,
        input_width=_COUNT,
        flops=_COUNT,
        device=_TEXT,
        run_id=_TEXT,
    ),
}
