from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stores.encoders import EncoderRecipe, EncoderStore, Epoch, Trainee
from stores.features import FeatureStore
from stores.manifest import Manifest
from stores.quarantine import Quarantined
from stores.receipt import Books
from stores.root import Root
from stores.samples import Sample
from stores.spec import FeatureIdentity, FeatureSpec, Receipt, Tolerance, embedding_spec
from stores.studies import Predicted, Run, RunSpec, StudyStore

RAGGED = FeatureSpec(
    layout="ragged", dim=3, unit="dB", dtype="float32", tolerance=Tolerance(metric="max_abs", bound=5e-3)
)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture
def receipt() -> Receipt:
    return Receipt(device="cpu", dtype="float32", seconds=1.5, versions={"torch": "2.14.1"})


@pytest.fixture
def vectors() -> FeatureIdentity:
    """The identity of a feature of (4,) float16 rows."""
    return FeatureIdentity(
        extractor="bert",
        version=1,
        modality="text",
        preprocessing=1,
        config={"layers": 4},
        spec=embedding_spec(4, "standard"),
    )


@pytest.fixture
def ragged() -> FeatureIdentity:
    """The identity of a feature of (frames, 3) float32 rows."""
    return FeatureIdentity(
        extractor="acoustic", version=1, modality="speech", preprocessing=1, config={"hop": 160}, spec=RAGGED
    )


@pytest.fixture
def row():
    """Make the (4,) float16 row that counts up from a number."""
    return lambda start: np.arange(start, start + 4, dtype=np.float16)


@pytest.fixture
def fill(vectors, ragged, receipt, row):
    """Write one of everything a store can hold, small and always the same but for the names of parts."""

    def filled(root: Root) -> Root:
        Manifest(name="c", samples=SAMPLES, labels={"emotion": ("joy", "anger")}, pairing="synthetic").save(root)
        text = FeatureStore.create(root, vectors)
        text.write_part({"k1": row(0), "k2": row(4)}, receipt)
        text.write_part({"k3": row(8)}, receipt)
        text.quarantine([failure("c/4", "k4"), failure("c/5", None)])
        text.write_books(Books(samples=5, absent=0, cached=0, extracted=3, quarantined=2, distinct=3), TIME)
        frames = np.arange(15, dtype=np.float32).reshape(5, 3)
        FeatureStore.create(root, ragged).write_part({"k1": frames[:2], "k2": frames[2:]}, receipt)
        EncoderStore(root).seal(RECIPE, WEIGHTS, [EPOCH], best_epoch=1)
        samples = pa.table({"sample_id": ["c/1", "c/2"], "label": ["joy", "anger"]})
        splits = pa.table({"repeat": [0, 0], "sample_id": ["c/1", "c/2"], "part": ["val", "test"]})
        feature = {"ids": [text.id], "encoders": [RECIPE.id], "identity": text.identity.as_dict()}
        facts = {"name": "demo", "classes": ["joy", "anger"], "features": {"text": feature}}
        study = StudyStore.create(root, "study-1", facts, samples, splits)
        study.open_test([RUN.spec.id], "score")
        study.write_runs([RUN])
        for log, rows in LOGGED.items():
            study.append(log, [rows])
        root.put_table(splits, "studies", "demo.splits.parquet")
        root.put_json({"study": "study-1", "runs": [RUN.spec.id]}, "studies", "demo.latest.json")
        root.put(b"<html></html>", "reports", "report-1", "index.html")
        return root

    return filled


TIME = "2026-01-01T00:00:00.000+00:00"
SAMPLES = (
    Sample(id="c/1", corpus="c", text="No.", labels={"emotion": "joy"}, groups={"speaker": "A"}, split="test"),
    Sample(id="c/2", corpus="c", text="Yes.", labels={"emotion": "anger"}, scores={"valence": -0.5}, gender="f"),
)
RECIPE = EncoderRecipe(
    extractor="lstm_cnn",
    version=1,
    config={"epochs": 1},
    seed=0,
    classes=("joy", "anger"),
    trainees=(Trainee(sample_id="c/1", key="k1", label="joy", use="fit", groups={"speaker": "A"}),),
)
WEIGHTS = {"fc.weight": np.eye(2, dtype=np.float32)}
EPOCH = Epoch(
    epoch=1, train_loss=1.0, train_accuracy=0.5, val_loss=1.1, val_accuracy=0.4, learning_rate=1e-3, seconds=2.0
)


def failure(sample_id: str, key: str | None) -> Quarantined:
    return Quarantined(
        sample_id=sample_id, key=key, stage="decode", reason="undecodable", message="broken", attempts=1, time=TIME
    )


def predicted(sample_id: str) -> Predicted:
    return Predicted(
        sample_ids=(sample_id,),
        labels=np.zeros(1, int),
        groups=np.array(["A"]),
        posteriors=np.array([[0.75, 0.25]], np.float32),
    )


RUN = Run(
    spec=RunSpec(study="study-1", head="weighted", version=1, config={}, modalities=("text",), repeat=0, training={}),
    seed=3,
    val=predicted("c/1"),
    test=predicted("c/2"),
    weights=(("text", None, 1.0),),
    seconds=1.0,
)
SCORE = {"condition": "noise", "modality": None, "level": 0.5, "metric": "accuracy", "value": 0.25}
LOGGED = {
    "trials": {
        "search_id": "search-1", "head": "weighted", "modalities": "text", "repeat": 0,
        "trial": 0, "settings": "{}", "value": 0.5, "seconds": 1.0,
    },
    "robustness": {"run_id": RUN.spec.id, **SCORE},
    "latency": {
        "model": RUN.spec.model, "batch": 1, "median_us": 50.0, "p95_us": 60.0,
        "parameters": 10, "input_width": 4, "flops": 20, "device": "cpu", "run_id": RUN.spec.id,
    },
}  # fmt: skip
