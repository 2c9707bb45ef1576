"""Models are paired by repeat and sample, or refused with the keys that do not fit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reports.errors import EvidenceError
from reports.evidence import read_evidence
from stores.root import Root

CONCAT = "concat[speech+text]"


@pytest.fixture
def spoiled(root: Root, write_study: Any) -> Callable[[str, Callable[[Any], Any]], tuple[Any, list[str], list[str]]]:
    """Return a function that changes a column of the last two test samples of concat in repeat 1."""

    def spoil(column: str, change: Callable[[Any], Any]) -> tuple[Any, list[str], list[str]]:
        store, runs = write_study(root, modalities=("speech", "text"))
        victim = next(r["run_id"] for r in store.runs().to_pylist() if (r["model"], r["repeat"]) == (CONCAT, 1))
        samples = [row["sample_id"] for row in store.predictions([victim]).to_pylist()][-2:]
        (part,) = root.names(store.folder, "predictions")
        rows = root.read_table(store.folder, "predictions", part)
        values = [
            change(row[column]) if row["run_id"] == victim and row["sample_id"] in samples else row[column]
            for row in rows.to_pylist()
        ]
        place = rows.schema.get_field_index(column)
        changed = rows.set_column(place, rows.schema.field(place), pa.array(values, rows.schema.field(place).type))
        root.put_table(changed, store.folder, "predictions", part)
        return store, runs, samples

    return spoil


def test_samples_labelled_otherwise_are_named_with_model_and_repeat(spoiled: Any) -> None:
    store, runs, samples = spoiled("label", lambda label: (label + 1) % 5)
    with pytest.raises(EvidenceError) as refused:
        read_evidence(store, runs)
    said = str(refused.value)
    assert CONCAT in said
    assert "repeat 1 was not scored on the samples of" in said
    assert f": {', '.join(samples)} differ, by id or label" in said


def test_posteriors_that_are_no_numbers_are_named_with_model_repeat_and_samples(spoiled: Any) -> None:
    store, runs, samples = spoiled("posterior", lambda values: [float("nan"), *values[1:]])
    with pytest.raises(EvidenceError) as refused:
        read_evidence(store, runs)
    assert f"{CONCAT}, repeat 1 has posteriors of NaN or infinity for {', '.join(samples)}" in str(refused.value)


def test_all_models_are_paired_on_the_same_samples_in_the_same_order(root: Root, write_study: Any) -> None:
    store, runs = write_study(root, modalities=("speech", "text"))
    evidence = read_evidence(store, runs[::-1])
    stored = {(r["model"], r["repeat"]): r["run_id"] for r in store.runs().to_pylist()}
    for part, posteriors in zip(evidence.held_out, evidence.posteriors[CONCAT], strict=True):
        own = {r["sample_id"]: r for r in store.predictions([stored[CONCAT, part.repeat]]).to_pylist()}
        assert list(own) == part.sample_ids.tolist() == sorted(own)
        assert np.array_equal(posteriors, np.array([row["posterior"] for row in own.values()], dtype=np.float32))
