from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stores.logs import now
from stores.openings import Openings, count_openings
from stores.root import Root
from stores.studies import Predicted, Run, RunSpec, StudyStore


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    nothing = pa.table({"sample_id": pa.array([], pa.string())})
    return StudyStore.create(Root(tmp_path), "study-1", {}, nothing, nothing)


def _spec(head: str, repeat: int, **training: Any) -> RunSpec:
    return RunSpec(
        study="study-1", head=head, version=1, config={}, modalities=("text",), repeat=repeat, training=training
    )


def _seal(store: StudyStore, *specs: RunSpec) -> None:
    nobody = Predicted(
        sample_ids=("c/1",),
        labels=np.zeros(1, np.int64),
        groups=np.array(["s"]),
        posteriors=np.ones((1, 2), np.float32),
    )
    store.write_runs([Run(spec=spec, seed=0, val=nobody, test=nobody) for spec in specs])


def test_openings_are_counted_by_purpose_and_run_and_by_model_and_repeat(store: StudyStore) -> None:
    first, other = _spec("concat", 0), _spec("concat", 1)
    tuned = replace(first, training={"learning_rate": 0.1})  # the same model and repeat
    store.open_test([first.id, other.id], "score")
    store.open_test([tuned.id], "score")
    store.open_test([first.id], "robustness")
    _seal(store, first, other, tuned)
    assert count_openings(store) == Openings(purposes={"robustness": 1, "score": 3}, runs=3, most=2)


def test_a_run_that_was_opened_and_never_finished_counts_too(store: StudyStore) -> None:
    store.open_test([_spec("concat", 0).id], "score")
    store.open_test([_spec("concat", 0).id], "score")
    assert count_openings(store) == Openings(purposes={"score": 2}, runs=1, most=0, interrupted=2)


def test_openings_that_a_kill_cut_short_are_told_apart_from_those_that_led_to_a_score(store: StudyStore) -> None:
    first, other = _spec("concat", 0), _spec("concat", 1)
    for run in (first, first, first, other):  # killed twice
        store.open_test([run.id], "score")
    _seal(store, first, other)
    assert count_openings(store) == Openings(purposes={"score": 4}, runs=2, most=1, interrupted=2)


def test_runs_that_two_commands_score_at_once_are_not_called_interrupted(store: StudyStore) -> None:
    first, other, killed = (_spec("concat", repeat) for repeat in range(3))
    for _ in range(2):  # commands
        store.open_test([first.id, other.id], "score")
        _seal(store, first, other)
    store.open_test([killed.id], "score")
    expected = Openings(purposes={"score": 5}, runs=3, most=1, interrupted=1, at_once=2)
    assert count_openings(store) == expected


def test_openings_are_counted_as_they_were_at_a_time(store: StudyStore) -> None:
    first, second = _spec("concat", 0), _spec("weighted", 0)
    store.append("openings", [{"run_id": first.id, "purpose": "score"}])  # earlier versions noted no time
    before = now()
    store.open_test([second.id], "score")
    _seal(store, first, second)
    assert count_openings(store, before) == Openings(purposes={"score": 1}, runs=1, most=1)
    assert count_openings(store, now()) == count_openings(store) == Openings(purposes={"score": 2}, runs=2, most=1)


def test_a_study_that_was_never_scored_has_no_openings(store: StudyStore) -> None:
    assert count_openings(store).as_dict() == {"purposes": {}, "runs": 0, "most": 0, "interrupted": 0, "at_once": 0}
