"""Logs of a study, which only grow: what was opened, tried and measured. Columns are only ever added, at the end."""

from collections.abc import Mapping

import pyarrow as pa


def columns(**kinds: pa.DataType) -> pa.Schema:
    """Return the schema of a table: the type of each column, in their order."""
    return pa.schema(kinds.items())


_TEXT, _FLOAT, _COUNT = pa.string(), pa.float64(), pa.int64()
LOGS: Mapping[str, pa.Schema] = {
    # one row an opening of a run's test part, written before it is opened; purpose: score or robustness
    "openings": columns(run_id=_TEXT, purpose=_TEXT),
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
