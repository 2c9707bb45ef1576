from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from stores.errors import NotFound
from stores.studies import Predicted, Run, RunSpec, StudyStore

FACTS = {"name": "demo", "classes": ("joy", "anger"), "protocol": {"kind": "repeated", "repeats": 2}}
SAMPLES = pa.table(
    {"sample_id": ["c/1", "c/2"], "label": ["joy", "anger"], "excluded": pa.array([None, None], pa.string())}
)
SPLITS = pa.table({"repeat": [0, 0], "sample_id": ["c/1", "c/2"], "part": ["val", "test"]})


@pytest.fixture
def study(root):
    return StudyStore.create(root, "demo-1", FACTS, SAMPLES, SPLITS)


def predicted(*ids, posterior=(0.75, 0.25)):
    posteriors = np.tile(np.array(posterior, np.float32), (len(ids), 1))
    return Predicted(
        sample_ids=ids, labels=np.zeros(len(ids), int), groups=np.array(["A"] * len(ids)), posteriors=posteriors
    )


def run(head="weighted", repeat=0, **changes):
    spec = RunSpec(
        study="demo-1",
        head=head,
        version=1,
        config={},
        modalities=("image", "text"),
        repeat=repeat,
        training={"lr": 0.1},
    )
    content = {"spec": spec, "seed": 3, "val": predicted("c/1"), "test": predicted("c/2", "c/0"), "seconds": 1.0}
    return Run(**{**content, **changes})


def test_facts_samples_and_splits_come_back_and_the_latest_facts_count(root, study):
    assert study.facts() == {"format_version": 1, "id": "demo-1", **FACTS, "classes": ["joy", "anger"]}
    assert study.samples().equals(SAMPLES)
    assert study.splits().equals(SPLITS)
    StudyStore.create(root, "demo-1", {"name": "other"}, SAMPLES, SPLITS)
    assert StudyStore.open(root, "demo-1").facts()["name"] == "other"


def test_runs_come_back_sorted_with_their_spec_and_curves(study):
    assert study.runs() is None
    curve = ({"epoch": 1, "train_loss": 1.5, "val_loss": 1.25, "val_accuracy": 0.5},)
    study.write_runs([run(repeat=1, best_epoch=1, curves=curve), run(repeat=0)])
    study.write_runs([run(head="concat")])
    rows = study.runs().to_pylist()
    assert [(r["model"], r["repeat"]) for r in rows] == [
        ("concat[image+text]", 0), ("weighted[image+text]", 0), ("weighted[image+text]", 1),
    ]  # fmt: skip
    assert rows[2]["run_id"] == run(repeat=1).spec.id
    assert (rows[2]["best_epoch"], rows[1]["best_epoch"], rows[2]["seed"]) == (1, -1, 3)
    assert rows[2]["curves"] == '[{"epoch": 1, "train_loss": 1.5, "val_loss": 1.25, "val_accuracy": 0.5}]'


def test_predictions_come_back_by_run_and_part_sorted_by_sample(study):
    study.write_runs([run(), run(repeat=1, test=predicted("c/2", posterior=(0.5, 0.5)))])
    test = study.predictions([run().spec.id]).to_pylist()
    assert [(row["sample_id"], row["posterior"], row["group"]) for row in test] == [
        ("c/0", [0.75, 0.25], "A"), ("c/2", [0.75, 0.25], "A"),
    ]  # fmt: skip
    assert study.predictions([run().spec.id], "val")["sample_id"].to_pylist() == ["c/1"]
    assert len(study.predictions([run().spec.id, run(repeat=1).spec.id])) == 3


def test_posteriors_keep_their_float32_bits(study):
    values = np.random.default_rng(0).random((2, 2)).astype(np.float32)
    study.write_runs([run(test=replace(predicted("c/0", "c/1"), posteriors=values))])
    stored = study.predictions([run().spec.id])["posterior"].combine_chunks().flatten().to_numpy()
    assert np.array_equal(stored.reshape(2, 2), values)


def test_a_run_that_two_processes_finished_is_counted_once(study):
    for _ in range(2):
        study.write_runs([run(weights={"text": 0.25, "image": 0.75})])
    assert len(study.runs()) == 1
    assert len(study.predictions([run().spec.id])) == 2
    assert study.weights().to_pylist() == [
        {"run_id": run().spec.id, "modality": "image", "weight": 0.75},
        {"run_id": run().spec.id, "modality": "text", "weight": 0.25},
    ]


def test_heads_without_weights_leave_none(study):
    study.write_runs([run()])
    assert study.weights() is None


def test_predictions_without_a_sealed_run_are_invisible(root, study):
    study.write_runs([run()])
    for name in root.names(study.folder, "runs"):
        root.local(study.folder, "runs", name).unlink()
    assert study.runs() is None
    with pytest.raises(NotFound, match=f"no test predictions of run {run().spec.id}"):
        study.predictions([run().spec.id])


def test_an_unknown_study_names_those_there_are(root, study):
    with pytest.raises(NotFound, match=r"no study 'demo-2' .* there are: demo-1"):
        StudyStore.open(root, "demo-2")
