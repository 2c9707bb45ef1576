"""Compose the rooms: study configuration, the stages of a run, Prefect flows, Dask, the command line."""

import os

# Nothing is sent to the network unasked: these must stand before prefect or transformers are imported.
for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ.setdefault(_name, _value)
