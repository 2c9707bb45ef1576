"""The record of a study: what was asked of it and in which order, noted before any test part is opened.

Of all studies of one corpus, in all their seeds and protocols: who keeps the best of many is seen to have had many.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from stores.errors import DamagedError, NotFound
from stores.logs import LOGS, now
from stores.openings import SCORE
from stores.studies import StudyStore

RUN, REPORT = "run", "report"
Row = Mapping[str, Any]
_UNPLANNED: Row = dict.fromkeys(LOGS["plans"].names, "") | {"kind": RUN, "by_default": True, "models": []}


def note_plan(store: StudyStore, *, models: Mapping[str, str], **asked: str | bool) -> list[str]:
    """Note what is asked for, `models` by their runs, unless it was asked for last too; return where.

    `asked` are the other columns of the log but `time`.
    """
    runs = sorted(models)
    row: dict[str, Any] = {**asked, "runs": runs, "models": [models[run] for run in runs]}
    rows = store.log("plans").sort_by("time").to_pylist()
    if rows and {**rows[-1], "time": None, "kind": None} == {**row, "time": None, "kind": None}:
        return []
    return store.append("plans", [{**row, "time": now()}])


def asked_of_corpus(store: StudyStore) -> tuple[list[Row], list[Row]]:
    """Return what was asked of all studies of this corpus and label scheme, and the openings to score, by time.

    Both are rows of logs with `study`, `seed` and `protocol`; those without a time come first. What ran before plans
    were noted has one such row. A study that cannot be read is passed over: `verify` names it.
    """
    corpus, scheme = (facts := store.facts())["corpus"]["name"], facts["scheme"]
    asked, opened = list[Row](), list[Row]()
    for name in store.root.names("studies"):
        with suppress(DamagedError, FileNotFoundError, NotFound):
            own = StudyStore.open(store.root, name)
            facts = own.facts()
            if (facts.get("scheme"), facts["corpus"]["name"]) == (scheme, corpus):
                study = {"study": name, "seed": facts["seed"], "protocol": facts["protocol"]["kind"]}
                openings = [row for row in own.log("openings").to_pylist() if row["purpose"] == SCORE]
                plans = own.log("plans").to_pylist()
                if unplanned := sorted({row["run_id"] for row in openings} - {run for p in plans for run in p["runs"]}):
                    plans.append({**_UNPLANNED, "runs": unplanned})
                asked += [{**row, **study, "time": row["time"] or ""} for row in plans]
                opened += [{**row, **study, "time": row["time"] or ""} for row in openings]
    return sorted(asked, key=_when), sorted(opened, key=_when)


def _when(row: Row) -> tuple[str, str]:
    return row["time"], row["study"]
