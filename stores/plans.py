"""The record of a study: what was asked of it and in which order, noted before any test part is opened.

Of all studies of one corpus, in all their seeds and protocols: who keeps the best of many is seen to have had many.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from stores.errors import DamagedError, NotFound
from stores.logs import now
from stores.openings import SCORE
from stores.studies import StudyStore

RUN, REPORT = "run", "report"
Row = Mapping[str, Any]


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
                plans, openings = own.log("plans").to_pylist(), own.log("openings").to_pylist()
                scored = [{**study, **row} for row in openings if row["purpose"] == SCORE]
                planned = {run for plan in plans for run in plan["runs"]}
                if before := sorted({row["run_id"] for row in scored} - planned):
                    plans.append(_unplanned(before))
                asked += [{**study, **plan} for plan in plans]
                opened += scored
    return sorted(asked, key=_when), sorted(opened, key=_when)


def _unplanned(runs: Sequence[str]) -> dict[str, Any]:
    texts = dict.fromkeys(("time", "name", "file", "reference", "primary_metric"), "")
    return {**texts, "kind": RUN, "by_default": True, "runs": runs, "models": []}


def _when(row: Row) -> tuple[str, str]:
    return row["time"] or "", row["study"]
