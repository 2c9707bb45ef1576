import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from stores.errors import DamagedError, NotFound
from stores.logs import LOGS
from stores.studies import Predicted, Run, RunSpec, StudyStore
from stores.verifying import verify

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


@pytest.mark.parametrize("name", ["samples", "splits"])
def test_a_table_that_is_lost_or_other_is_written_again(root, study, name):
    path = root.local(study.folder, f"{name}.parquet")
    path.unlink()
    StudyStore.create(root, "demo-1", FACTS, SAMPLES, SPLITS)
    assert path.exists()
    root.put_table(SPLITS.slice(1), study.folder, f"{name}.parquet")
    StudyStore.create(root, "demo-1", FACTS, SAMPLES, SPLITS)
    assert study.samples().equals(SAMPLES)
    assert study.splits().equals(SPLITS)


def test_runs_come_back_sorted_with_their_spec_and_curves(study):
    assert study.runs() is None
    curve = ({"epoch": 1, "train_loss": 1.5, "val_loss": 1.25, "val_accuracy": 0.5},)
    study.write_runs([run(repeat=1, best_epoch=1, curves=curve, unfinished=True), run(repeat=0)])
    study.write_runs([run(head="concat")])
    rows = study.runs().to_pylist()
    assert [(r["model"], r["repeat"]) for r in rows] == [
        ("concat[image+text]", 0), ("weighted[image+text]", 0), ("weighted[image+text]", 1),
    ]  # fmt: skip
    assert rows[2]["run_id"] == run(repeat=1).spec.id
    assert (rows[2]["best_epoch"], rows[1]["best_epoch"], rows[2]["seed"]) == (1, -1, 3)
    assert [row["unfinished"] for row in rows] == [False, False, True]
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
        study.write_runs([run(weights=(("image", None, 0.75), ("text", None, 0.25)))])
    assert len(study.runs()) == 1
    assert len(study.predictions([run().spec.id])) == 2
    assert study.weights().to_pylist() == [
        {"run_id": run().spec.id, "modality": "image", "weight": 0.75, "label": None},
        {"run_id": run().spec.id, "modality": "text", "weight": 0.25, "label": None},
    ]


def test_heads_without_weights_leave_none(study):
    study.write_runs([run()])
    assert study.weights() is None
    assert study.predictions([run().spec.id])["weights"].to_pylist() == [None, None]


def test_weights_by_class_and_by_sample_come_back(study):
    by_class = (("image", "joy", 0.75), ("image", "anger", 0.5), ("text", "joy", 0.25), ("text", "anger", 0.5))
    by_sample = replace(predicted("c/2", "c/0"), weights=np.array([[0.125, 0.875], [1.0, 0.0]], np.float32))
    study.write_runs([run(weights=by_class, test=by_sample), run(head="concat")])
    found = {(row["modality"], row["label"]): row["weight"] for row in study.weights().to_pylist()}
    assert found == {(modality, label): weight for modality, label, weight in by_class}
    rows = study.predictions([run().spec.id, run(head="concat").spec.id]).to_pylist()
    weights = {(row["run_id"].split("-")[0], row["sample_id"]): row["weights"] for row in rows}
    assert weights == {
        ("weighted", "c/0"): [1.0, 0.0], ("weighted", "c/2"): [0.125, 0.875],
        ("concat", "c/0"): None, ("concat", "c/2"): None,
    }  # fmt: skip


def test_what_a_run_was_trained_with_comes_back(study):
    counts = {"before": [3, 1], "after": [3.0, 2.5]}
    study.write_runs([run(hyper={"learning_rate": 1e-3, "width": 8}, counts=counts)])
    [row] = study.runs().to_pylist()
    assert json.loads(row["hyper"]) == {"learning_rate": 1e-3, "width": 8}
    assert json.loads(row["counts"]) == counts
    assert row["variant"] == ""


def test_a_log_grows_and_holds_what_was_noted(study):
    assert [len(study.log(log)) for log in LOGS] == [0] * len(LOGS)
    study.open_test(["a", "b"], "score")
    study.open_test([], "robustness")
    study.open_test(["a"], "robustness")
    opened = study.log("openings").select(["run_id", "purpose"]).to_pylist()
    assert Counter(tuple(row.values()) for row in opened) == {
        ("a", "score"): 1, ("b", "score"): 1, ("a", "robustness"): 1,
    }  # fmt: skip
    score = {
        "run_id": "a",
        "condition": "removed",
        "modality": "text",
        "level": None,
        "metric": "accuracy",
        "value": 1.0,
    }
    study.append("robustness", [score])
    assert study.log("robustness").to_pylist() == [score]
    assert study.runs() is None


def test_rows_of_a_log_are_all_there_or_none(root, study, monkeypatch):
    study.open_test(["a"], "score")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("stores.local_files.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            study.open_test(["b", "c"], "score")
    root.put(b"half a ta", study.folder, "openings", ".0123.parquet.89abcdef")  # what a kill leaves
    assert study.log("openings")["run_id"].to_pylist() == ["a"]


def test_what_two_processes_scored_or_timed_at_once_is_there_once_and_every_opening_counts(study):
    score = {"run_id": "a", "condition": "removed", "modality": None, "level": 0.5, "metric": "accuracy", "value": 1.0}
    timed = {**dict.fromkeys(LOGS["latency"].names), "model": "vote[text]", "batch": 1}
    for _ in range(2):
        study.append("robustness", [score, {**score, "level": None}])
        study.append("latency", [timed, {**timed, "batch": 64}])
        study.open_test(["a"], "robustness")
    assert [len(study.log(log)) for log in ("robustness", "latency", "openings")] == [2, 2, 2]


def test_a_damaged_part_of_a_log_is_told_and_the_runs_stay_readable(root, study):
    study.write_runs([run()])
    study.append("latency", [dict.fromkeys(LOGS["latency"].names)])
    [part] = root.names(study.folder, "latency")
    path = root.local(study.folder, "latency", part)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedError, match=f"latency/{part} is not the table that was written"):
        study.log("latency")
    assert study.runs() is not None
    assert len(study.predictions([run().spec.id])) > 0
    [damage] = verify(root).damages
    assert damage.path == f"{study.folder}/latency/{part}"
    assert "delete it" in damage.problem


@pytest.mark.parametrize("kind", ["predictions", "weights"])
def test_runs_sealed_by_an_earlier_version_need_predictions_and_the_weights_they_have(root, study, kind):
    study.write_runs([run(weights=(("text", None, 0.5),))])
    [part] = root.names(study.folder, "runs")
    root.put_table(
        root.read_table(study.folder, "runs", part).replace_schema_metadata(None), study.folder, "runs", part
    )
    assert study.run_ids() == {run().spec.id}
    path = root.local(study.folder, kind, part)
    path.write_bytes(path.read_bytes()[:-9])
    assert StudyStore(root, study.id).run_ids() == set()
    [damage] = verify(root).damages
    assert damage.path == f"{study.folder}/{kind}/{part}"


def test_a_column_that_older_parts_of_a_log_lack_reads_as_null(root, study):
    older = pa.table({"run_id": ["a"]})
    root.put_table(older, study.folder, "openings", f"{0:032x}.parquet")
    study.open_test(["b"], "score")
    rows = sorted(study.log("openings").to_pylist(), key=lambda row: row["run_id"])
    assert [(row["run_id"], row["purpose"], bool(row["time"])) for row in rows] == [
        ("a", None, False), ("b", "score", True),
    ]  # fmt: skip


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
