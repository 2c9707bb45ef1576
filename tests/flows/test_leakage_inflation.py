"""What the leakage rule is for: labels drawn by chance are predicted well by whoever has seen them, and by nobody else.

The faces are noise and their labels coin flips, so the number of right answers among the 60 test samples is binomial
with p = 1/2, whatever an honest model does: it lies in [15, 45] with a probability above 0.9999.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binom

from flows.jobs import Options, run_job
from stores.root import Root
from stores.studies import StudyStore

TEST, TRAIN, COPIES = 60, 60, 6
LOW, HIGH = binom(TEST, 0.5).interval(0.9999)
STUDY = """
name = "noise"
seed = 1

[corpus]
kind = "table"
path = "samples.csv"
columns = { id = "id", image = "image", split = "split" }
labels = { emotion = "emotion" }
groups = { speaker = "speaker" }

[study]
groups = ["speaker"]

[protocol]
kind = "fixed"
repeats = 2

[features.image]
extractor = "resnet"
depth = 18
size = 32
weights = "trained"
train = { samples = "reserved", epochs = 1, batch_size = 16, dropout = 0.0, augment = false }

[heads.unimodal]

[training]
epochs = 15
learning_rate = 1e-3
"""
Row = dict[str, str]


def write_people(folder: Path, first: int, count: int) -> list[Row]:
    """Write `count` people with one picture of noise each, and return their rows; the labels are coin flips."""
    rng = np.random.default_rng(first)
    labels = rng.permutation(["joy", "anger"] * (count // 2))
    rows = []
    for number, label in enumerate(labels, first):
        name = f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save(folder / name)
        rows.append({"id": str(number), "image": name, "split": "", "emotion": label, "speaker": f"s{number}"})
    return rows


def reserved(rows: list[Row], of: str = "") -> list[Row]:
    """Return the pictures again, as samples for an encoder: several times, so that one epoch learns them by heart."""
    again = [{**row, "split": "encoder", "speaker": f"{of}{row['speaker']}"} for row in rows]
    return [{**row, "id": f"{row['id']} take {take}"} for take in range(COPIES) for row in again]


@pytest.fixture
def scored(tmp_path: Path) -> list[Row]:
    rows = write_people(tmp_path, 0, TEST + TRAIN)
    for row in rows:
        row["split"] = "test" if int(row["id"]) < TEST else "train"
    return rows


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., list[int]]:
    """Run the study on these rows and return the right answers among the test samples, one number a repeat."""

    def run(rows: list[Row], samples: str = "reserved") -> list[int]:
        with (tmp_path / "samples.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        (tmp_path / "study.toml").write_text(STUDY.replace('"reserved"', f'"{samples}"'), encoding="utf-8")
        root = tmp_path / "runs"
        said = run_job(str(tmp_path / "study.toml"), Options(root=str(root), device="cpu", quiet=True))
        store = StudyStore.open(Root(root), said["study"])
        runs: Any = store.runs()
        answers = [store.predictions([name]).to_pylist() for name in runs["run_id"].to_pylist()]
        assert [len(own) for own in answers] == [TEST, TEST]
        return [sum(int(np.argmax(row["posterior"])) == row["label"] for row in own) for own in answers]

    return run


def test_an_encoder_that_has_seen_the_scored_faces_inflates_the_score_and_is_warned_of(
    run: Callable[..., list[int]], scored: list[Row], tmp_path: Path
) -> None:
    assert min(run(scored + reserved(scored, of="other "))) > HIGH  # the same pictures, of people called otherwise
    results = json.loads(next((tmp_path / "runs/reports").glob("*/results.json")).read_text(encoding="utf-8"))
    assert results["banners"][0]["title"].startswith("Training has seen 100.0 % of the test samples")
    assert "the same image recording as in the training of its encoder (100.0 %" in results["banners"][0]["text"]
    assert {c["verdict"] for c in results["comparisons"]} == {"cannot tell"}


@pytest.mark.parametrize("samples", ["reserved", "per-repeat"])
def test_an_honest_encoder_scores_chance(
    run: Callable[..., list[int]], scored: list[Row], tmp_path: Path, samples: str
) -> None:
    strangers = reserved(write_people(tmp_path, 1000, TRAIN)) if samples == "reserved" else []
    assert all(LOW <= right <= HIGH for right in run(scored + strangers, samples))
