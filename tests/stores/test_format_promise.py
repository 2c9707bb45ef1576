"""A store of format version 1, written in November 2026 and never touched since, must open for ever.

It holds one of everything; what it must say is written down here by hand. If this fails, the code is wrong, not the
store: teach the code to read version 1 beside the newer one.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from stores.encoders import EncoderStore
from stores.features import FeatureStore
from stores.logs import LOGS
from stores.manifest import Manifest
from stores.root import Root
from stores.studies import Predicted, Run, RunSpec, StudyStore
from stores.verifying import verify

STORED = Path(__file__).resolve().parents[1] / "data" / "store-v1"


@pytest.fixture
def old(tmp_path: Path) -> Root:
    """A copy of the store: nothing may write into the one that is kept."""
    return Root(shutil.copytree(STORED, tmp_path / "old"))


def test_it_verifies(old: Root) -> None:
    verdict = verify(old)
    assert (verdict.damages, verdict.litter, verdict.rows) == ([], [], 5)


def test_its_rows_are_read(old: Root) -> None:
    text, speech = FeatureStore.open(old, "text", "bert"), FeatureStore.open(old, "speech", "acoustic")
    assert [row.tolist() for row in text.read(["k3", "k1", "k2"])] == [[8, 9, 10, 11], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert text.read(["k1"])[0].dtype == np.float16
    assert [row.tolist() for row in speech.read(["k1", "k2"])] == [
        [[0, 1, 2], [3, 4, 5]],
        [[6, 7, 8], [9, 10, 11], [12, 13, 14]],
    ]
    assert text.identity.config == {"layers": 4}
    assert speech.identity.spec.layout == "ragged"
    assert {(s.receipt.device, s.receipt.seconds, s.receipt.versions["torch"]) for s in text.seals()} == {
        ("cpu", 1.5, "2.14.1")
    }


def test_its_failures_and_books_are_read(old: Root) -> None:
    text = FeatureStore.open(old, "text", "bert")
    assert [(q.sample_id, q.key, q.reason, q.attempts) for q in text.standing()] == [
        ("c/4", "k4", "undecodable", 1),
        ("c/5", None, "undecodable", 1),
    ]
    [(time, books)] = text.books()
    assert time == "2026-01-01T00:00:00.000+00:00"
    assert (books.samples, books.extracted, books.quarantined) == (5, 3, 2)


def test_its_manifest_is_read(old: Root) -> None:
    manifest = Manifest.load(old, "c")
    assert (manifest.pairing, manifest.labels) == ("synthetic", {"emotion": ("joy", "anger")})
    one, two = manifest.samples
    assert (one.id, one.text, one.labels, one.groups, one.split) == (
        "c/1",
        "No.",
        {"emotion": "joy"},
        {"speaker": "A"},
        "test",
    )
    assert (two.scores, two.gender, two.split) == ({"valence": -0.5}, "f", None)


def test_its_encoder_is_read(old: Root) -> None:
    encoders = EncoderStore(old)
    [name] = old.names("encoders")
    assert encoders.weights(name)["fc.weight"].tolist() == [[1, 0], [0, 1]]
    assert [(t.sample_id, t.label, t.use, t.groups) for t in encoders.trained_on(name)] == [
        ("c/1", "joy", "fit", {"speaker": "A"})
    ]
    assert [epoch.val_loss for epoch in encoders.curves(name)] == [1.1]


def test_its_study_is_read(old: Root) -> None:
    study = StudyStore.open(old, "study-1")
    assert study.facts()["name"] == "demo"
    [run] = study.runs().to_pylist()
    assert (run["model"], run["seed"]) == ("weighted[text]", 3)
    [row] = study.predictions([run["run_id"]]).to_pylist()
    assert (row["sample_id"], row["posterior"]) == ("c/2", [0.75, 0.25])
    assert study.weights().to_pylist() == [{"run_id": run["run_id"], "modality": "text", "weight": 1.0, "label": None}]
    assert [run[name] for name in ("variant", "hyper", "counts")] == [None] * 3  # columns of later parts
    assert row["weights"] is None
    assert [len(study.log(log)) for log in LOGS] == [0] * len(LOGS)
    assert old.read_json("studies", "demo.latest.json") == {"study": "study-1", "runs": [run["run_id"]]}


def test_rows_written_today_join_it(old: Root) -> None:
    text = FeatureStore.open(old, "text", "bert")
    store = FeatureStore.create(old, text.identity)
    store.write_part({"k9": np.ones(4, np.float16)}, text.seals()[0].receipt)
    assert set(store.index()) == {"k1", "k2", "k3", "k9"}


def test_runs_sealed_today_join_its_study(old: Root) -> None:
    study = StudyStore.open(old, "study-1")
    first = study.runs()["run_id"].to_pylist()
    spec = RunSpec(study=study.id, head="gated", version=1, config={}, modalities=("text",), repeat=0, training={})
    said = Predicted(
        sample_ids=("c/2",),
        labels=np.zeros(1, int),
        groups=np.array(["A"]),
        posteriors=np.array([[0.5, 0.5]], np.float32),
        weights=np.ones((1, 1), np.float32),
    )
    weights = (("text", "joy", 1.0), ("text", "anger", 1.0))
    study.open_test([spec.id], "score")
    study.write_runs([Run(spec=spec, seed=3, val=said, test=said, weights=weights, hyper={"width": 8})])
    assert study.runs()["hyper"].to_pylist() == ['{"width": 8}', None]
    rows = study.predictions([*first, spec.id]).to_pylist()
    assert {(row["run_id"], tuple(row["weights"] or ())) for row in rows} == {(first[0], ()), (spec.id, (1.0,))}
    assert sorted(row["label"] or "" for row in study.weights().to_pylist()) == ["", "anger", "joy"]
    assert verify(old).damages == []
