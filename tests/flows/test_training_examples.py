"""The examples about training, on small corpora: what they set is run, and what they print follows from predictions."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.jobs import Options, run_job
from flows.study_config import load_study
from fusion.balance import BALANCES
from stores.root import Root
from stores.studies import StudyStore

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _variants(example: str) -> str:
    """The variants of an example as its TOML says them."""
    text = (EXAMPLES / example).read_text(encoding="utf-8")
    return text[text.index("[variants.") :]


def test_the_optimisers_of_the_example_train_the_same_heads_on_the_same_splits(talkers: Any) -> None:
    talkers.study += "\n[training]\nepochs = 2\n\n" + _variants("optimisers.toml")
    talkers.replace("seed = 1", "seed = 3")  # a study of their own: the root is that of all talkers
    said = run_job(str(talkers.save()), Options(root=str(talkers.root), device="cpu", quiet=True))
    store = StudyStore.open(Root(talkers.root), said["study"])
    runs = store.runs().to_pylist()
    used = {(json.loads(run["hyper"])["optimiser"], run["variant"]) for run in runs}
    assert used == {("adam", ""), ("sgd", "sgd"), ("rmsprop", "rmsprop")}
    assert len({run["repeat"] for run in runs}) * 3 * 3 == len(runs)


def test_the_examples_share_the_demos_features_and_encoders() -> None:
    demo, *others = (load_study(EXAMPLES / f"{name}.toml") for name in ("demo", "optimisers", "imbalance"))
    for config in others:
        assert config.corpus.config.name == demo.corpus.config.name
        assert config.features == demo.features


@pytest.fixture
def rare_faces(faces_study: Path) -> Path:
    """The study of 48 faces with a quarter of fear left, and the example's treatments of that."""
    for number in range(4, 16):
        (faces_study.parent / "faces" / f"fear_{number:02}.png").unlink()
    study = faces_study.read_text(encoding="utf-8") + "balance_target = inf\n\n" + _variants("imbalance.toml")
    faces_study.write_text(study, encoding="utf-8")
    return faces_study


def test_the_imbalance_example_prints_what_follows_from_the_stored_predictions(
    rare_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(EXAMPLES / "imbalance.py"))["main"]
    asked = [str(rare_faces), "--root", str(tmp_path / "runs"), "--neutral", "joy"]
    main([*asked, "--json"])
    said = json.loads(capsys.readouterr().out)
    assert list(said["strategies"]) == list(BALANCES)
    first, second = (StudyStore.open(Root(tmp_path / "runs"), study) for study in said["studies"])
    assert first.splits().equals(second.splits())
    for store, variant, name in ((first, "smote", "smote"), (second, "", "views")):
        recalls, alarms = [], []
        for run in (run for run in store.runs().to_pylist() if run["variant"] == variant):
            before, after = json.loads(run["counts"]).values()
            assert before[2] < min(before[:2])  # joy, anger, fear
            assert after == [before[0], before[1], max(before)]
            rows = store.predictions([run["run_id"]]).to_pylist()
            taken = [(row["label"], int(np.argmax(row["posterior"]))) for row in rows]
            recalls.append(np.mean([guess == 2 for label, guess in taken if label == 2]))
            alarms.append(np.mean([guess != 0 for label, guess in taken if label == 0]))
        own = said["strategies"][name]
        assert own == pytest.approx({"minority_recall": np.mean(recalls), "false_alarms": np.mean(alarms)})
    main(asked)
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[1:]] == list(BALANCES)
