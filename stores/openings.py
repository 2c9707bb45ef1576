"""The odometer of a study: how often test parts were opened, what for, and how often the same one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stores.studies import StudyStore

SCORE = "score"


@dataclass(frozen=True, kw_only=True)
class Openings:
    """Openings of test parts. `purposes` counts them by purpose, `runs` those whose test part was opened.

    `interrupted` counts openings to score that no sealed run came of: they were cut short. `at_once` counts runs that
    two processes scored at once and both sealed. `most` is how often one model
    was scored on one repeat, all its settings together, the interrupted aside: above 1, somebody saw test scores of a
    model before its settings were final.
    """

    purposes: Mapping[str, int]
    runs: int
    most: int
    interrupted: int = 0
    at_once: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def count_openings(store: StudyStore, until: str | None = None) -> Openings:
    """Count what a study has logged, of all models and settings, before a time or by now."""
    runs = store.runs()
    columns = ("run_id", "model", "repeat")
    rows = [] if runs is None else runs.select(columns).to_pylist()
    place = {row["run_id"]: (row["model"], row["repeat"]) for row in rows}
    log = store.log("openings").to_pylist()
    if until is not None:
        log = [row for row in log if (row["time"] or "") < until]
    opened = Counter(row["run_id"] for row in log if row["purpose"] == SCORE)
    scored = Counter(place[run_id] for run_id in opened if run_id in place)
    seals = Counter(run_id for part in store.sealed().values() for run_id in part["run_id"].to_pylist())
    return Openings(
        purposes=dict(sorted(Counter(row["purpose"] for row in log).items())),
        runs=len({row["run_id"] for row in log}),
        most=max(scored.values(), default=0),
        interrupted=sum(max(0, count - seals[run_id]) for run_id, count in opened.items()),
        at_once=sum(min(count, seals[run_id]) - 1 for run_id, count in opened.items() if seals[run_id]),
    )
