"""Leaks planted in a corpus reach the top of the report by the whole way from media; verdicts rest on what is left."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.jobs import Options, study_job
from flows.pipeline import latest_named
from reports.methods import methods_text
from reports.report import evaluate
from reports.results import Results
from reports.summary import summary
from stores.root import Root
from stores.studies import StudyStore

CLASSES, SPEAKERS, EACH = ("joy", "anger"), 24, 6
STUDY = """
name = "people"
seed = 2

[corpus]
kind = "table"
path = "people.csv"
columns = { id = "id", text = "text", image = "image" }
labels = { emotion = "emotion" }
groups = { speaker = "speaker", sentence = "sentence" }

[study]
groups = ["speaker"]

[protocol]
repeats = 5

[features.text]
extractor = "bert"

[features.image]
extractor = "resnet"
depth = 18
size = 32
weights = "random"

[heads.unimodal]
[heads.average]

[training]
epochs = 3
"""
Row = dict[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture for each sample, and one beside it that differs from it by hardly visible noise."""
    made, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    for number in range(SPEAKERS * EACH):
        face = rng.normal(110, 40, (8, 8)).repeat(4, axis=0).repeat(4, axis=1)
        face[: 8 + 16 * (number % 2)] += 60
        for name, noise in (("a", 0), ("b", 0.6)):
            pixels = (face + rng.normal(0, noise, face.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(made / f"{number}{name}.png")
    return made


@pytest.fixture
def rows() -> list[Row]:
    """Everybody speaks the same six sentences, in a picture of one's own."""
    return [
        {
            "id": str(number),
            "text": f"This is sentence {number % EACH} of six.",
            "image": f"{number}a.png",
            "emotion": CLASSES[number % 2],
            "speaker": f"s{number // EACH}",
            "sentence": str(number % EACH),
        }
        for number in range(SPEAKERS * EACH)
    ]


@pytest.fixture
def run(folder: Path) -> Callable[..., tuple[Results, StudyStore]]:
    """Run the study on these rows; return what its report says, and its store."""

    def run(rows: list[Row], **changed: str) -> tuple[Results, StudyStore]:
        with (folder / "people.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        text = STUDY
        for old, new in changed.items():
            assert old in text
            text = text.replace(old, new)
        (folder / "study.toml").write_text(text, encoding="utf-8")
        root = folder / "runs"
        study_job(str(folder / "study.toml"), Options(root=str(root), device="cpu", quiet=True))
        latest = latest_named("people", Root(root))
        results = evaluate(Root(root), latest.study, latest.runs, latest.report)
        return results, StudyStore.open(Root(root), latest.study)

    return run


def dirty(store: StudyStore, reason: str) -> float:
    """Return the share of all tests that the radar flags for a reason, of pictures and speakers."""
    rows = [row for row in store.radar().to_pylist() if row["reason"] == reason and row["kind"] != "sentence"]
    tests = sum(part == "test" for part in store.splits()["part"].to_pylist())
    return len({(row["repeat"], row["sample_id"]) for row in rows if row["kind"] != "text"}) / tests


def leaks(results: Results) -> list[str]:
    return [banner.title for banner in results.banners if banner.kind == "leaks"]


def verdicts(results: Results) -> set[str]:
    return {c.verdict for c in results.comparisons}


def test_an_acted_corpus_that_is_split_by_speaker_has_a_note_and_no_warning(run: Any, rows: list[Row]) -> None:
    results, _ = run(rows)
    assert leaks(results) == []
    [note] = [banner for banner in results.banners if banner.title == "Shared by design"]
    assert (note.kind, note.see) == ("note", "leakage")
    assert "a sentence that training has too (100.0 % of the tests)" in note.text
    assert results.method.test_size == pytest.approx(24, abs=6)
    counts = "24 speakers (0 samples without; probable twins: none); no speaker is in two parts; seed 2"
    assert counts in methods_text(results)


def test_speakers_the_study_does_not_name_are_warned_of_first_and_leave_no_verdict(run: Any, rows: list[Row]) -> None:
    results, store = run(rows, **{'groups = ["speaker"]': "groups = []"})
    seen = f"raining has seen {100 * dirty(store, 'group'):.1f} % of the test samples"
    title = f"T{seen}, in whole, nearly or by their group: no verdict is given"
    assert leaks(results) == [title]
    assert results.banners[0].title == title
    assert summary(results)[0] == f"{title}."
    assert title in methods_text(results)
    assert "no speaker is in two parts" not in methods_text(results)
    assert verdicts(results) == {"cannot tell"}
    assert {c.reason for c in results.comparisons} == {f"t{seen}"}


def test_near_copies_are_left_out_of_scores_and_verdicts(run: Any, rows: list[Row]) -> None:
    for number in range(48):  # other speakers have nearly the same pictures
        rows[number + 72]["image"] = f"{number}b.png"
    results, store = run(rows)
    share = dirty(store, "near")
    assert 0.3 < share < 0.5
    assert leaks(results) == [
        f"Training has seen {100 * share:.1f} % of the test samples, in whole, nearly or by their group: "
        "scores and verdicts rest on the others"
    ]
    assert "possibly near that of another image recording" in results.banners[0].text
    tests = sum(part == "test" for part in store.splits()["part"].to_pylist())
    assert results.method.test_size == pytest.approx((1 - share) * tests / 5)
    assert not [c.reason for c in results.comparisons if "training has seen" in c.reason]


def test_where_most_pictures_are_in_training_byte_for_byte_there_is_no_verdict(run: Any, rows: list[Row]) -> None:
    for number in range(72):
        rows[number + 72]["image"] = rows[number]["image"]
    results, store = run(rows)
    share = dirty(store, "identical")
    assert share > 0.5
    assert leaks(results)[0].startswith(f"Training has seen {100 * share:.1f} % of the test samples")
    assert verdicts(results) == {"cannot tell"}


def test_names_that_are_probably_one_and_samples_without_are_counted_and_nothing_is_claimed(
    run: Any, rows: list[Row]
) -> None:
    for row in rows:
        row["speaker"] = {"s1": "S01"}.get(row["speaker"], row["speaker"])
        row["speaker"] = {"s2": "s02"}.get(row["speaker"], row["speaker"])
    for row in rows[:3]:
        row["speaker"] = "s2"
    rows[-1]["speaker"] = ""
    results, _ = run(rows)
    text = methods_text(results)
    assert "25 speakers (1 samples without; probable twins: 's02' and 's2')" in text
    assert "no speaker is in two parts" not in text
