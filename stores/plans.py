"""The record of a study: what was asked of it and in which order, noted before any test part is opened.

Of all studies of one corpus, in all their seeds and protocols: who keeps the best of many is seen to have had many.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stores.errors import DamagedError, NotFound
from stores.studies import StudyStore

RUN, REPORT = "run", "report"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one command asked for: `runs` of `models`, set against `reference` (empty: the default) by a metric.

    `file` is the digest of the study file's text, `kind` run or report. Of what ran before plans were noted only models
    and runs are known.
    """

    study: str
    seed: int
    protocol: str
    name: str = ""
    file: str = ""
    kind: str = RUN
    reference: str = ""
    primary_metric: str = ""
    models: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[str, str]:
        """What may not follow from scores: what the others are set against, and by which metric."""
        return self.reference, self.primary_metric


def note_plan(store: StudyStore, *, runs: Sequence[str], models: Sequence[str], **asked: str) -> list[str]:
    """Note what is asked for, unless it was asked for last too; return where.

    `asked` are `name`, `file`, `kind`, `reference` and `primary_metric`.
    """
    row: dict[str, Any] = {**asked, "models": sorted(set(models)), "runs": sorted(runs)}
    rows = store.log("plans").sort_by("time").to_pylist()
    if rows and {**rows[-1], "time": None, "kind": None} == {**row, "time": None, "kind": None}:
        return []
    return store.append("plans", [{**row, "time": datetime.now(UTC).isoformat()}])


def plans_of_corpus(store: StudyStore) -> list[Plan]:
    """Return what was asked of all studies of this corpus and label scheme, in order of time.

    What ran before plans were noted comes first. A study that cannot be read is passed over: `verify` names it.
    """
    corpus, scheme = (facts := store.facts())["corpus"]["name"], facts["scheme"]
    dated: list[tuple[str, str, Plan]] = []
    for name in store.root.names("studies"):
        with suppress(DamagedError, FileNotFoundError, NotFound):
            own = StudyStore.open(store.root, name)
            if (facts := own.facts()).get("scheme") == scheme and facts["corpus"]["name"] == corpus:
                dated += [(time, name, plan) for time, plan in _plans(own, facts)]
    return [plan for _, _, plan in sorted(dated, key=lambda entry: entry[:2])]


def _plans(store: StudyStore, facts: Mapping[str, Any]) -> Iterator[tuple[str, Plan]]:
    common: dict[str, Any] = {"study": store.id, "seed": facts["seed"], "protocol": facts["protocol"]["kind"]}
    rows = store.log("plans").to_pylist()
    for row in rows:
        asked: dict[str, Any] = {**row, "models": tuple(row["models"]), "runs": tuple(row["runs"])}
        yield asked.pop("time"), Plan(**common, **asked)
    if not rows and (table := store.runs()) is not None:
        runs, models = (tuple(dict.fromkeys(table[column].to_pylist())) for column in ("run_id", "model"))
        yield "", Plan(**common, models=models, runs=runs)
