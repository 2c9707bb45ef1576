"""What `affuse manifest` refuses or tells is what a run would stumble over, by id."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.jobs import Options, manifest_job, study_job
from stores.errors import ManifestError
from stores.root import Root
from stores.studies import StudyStore

STUDY = """
name = "calls"

[corpus]
kind = "table"
name = "calls"
path = "calls.csv"
columns = { id = "id", text = "text", audio = "audio" }
labels = { emotion = "emotion" }
groups = { speaker = "speaker" }

[study]
groups = ["speaker"]

[protocol]
repeats = 3

[features.text]
extractor = "bert"

[features.speech]
extractor = "acoustic"

[heads.unimodal]

[training]
epochs = 2
"""
TEXT_ONLY = STUDY.replace('[features.speech]\nextractor = "acoustic"\n', "").replace(', audio = "audio"', "")


def _row(number: int, **cells: str) -> dict[str, str]:
    label, speaker = ("joy", "anger")[number % 2], f"S{number // 4}"
    row = {"id": f"u{number}", "text": f"{label} {number}", "audio": f"{number}.wav", "emotion": label}
    return {**row, "speaker": speaker, **cells}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a study with 24 utterances of 6 speakers, and cells of some of them otherwise; every second has a file."""

    def write(study: str = STUDY, /, files: range = range(0, 24, 2), **changed: dict[int, str]) -> Path:
        others = {
            number: {name: cells[number] for name, cells in changed.items() if number in cells} for number in range(24)
        }
        with (tmp_path / "calls.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(_row(0)))
            table.writeheader()
            table.writerows(_row(number, **others[number]) for number in range(24))
        for number in files:
            (tmp_path / f"{number}.wav").write_bytes(b"")
        (tmp_path / "calls.toml").write_text(study, encoding="utf-8")
        return tmp_path / "calls.toml"

    return write


def warnings(study: Path) -> list[str]:
    told: list[str] = manifest_job(str(study), Options(root=str(study.parent / "runs"), quiet=True))["warnings"]
    return told


def test_a_sound_corpus_gets_no_warning(write: Callable[..., Path]) -> None:
    assert warnings(write(files=range(24))) == []


def test_what_samples_lack_is_counted_and_named(write: Callable[..., Path]) -> None:
    study = write(
        files=range(24),
        speaker={0: " ", 5: ""},
        emotion={7: "\u00a0"},
        text={1: ""},
        audio=dict.fromkeys(range(8, 15), ""),
    )
    assert warnings(study) == [
        "no speaker: 2 of 24 samples (calls/u0, calls/u5)",
        "no text: 1 of 24 samples (calls/u1)",
        "no emotion label: 1 of 24 samples (calls/u7)",
        "no speech: 7 of 24 samples (calls/u8, calls/u9, calls/u10, calls/u11, calls/u12 and 2 more)",
    ]


def test_blank_texts_are_named_where_text_is_all_there_is(write: Callable[..., Path]) -> None:
    assert warnings(write(TEXT_ONLY, text={3: " "})) == ["no text: 1 of 24 samples (calls/u3)"]


def test_files_that_are_not_there_are_counted_and_named(write: Callable[..., Path]) -> None:
    assert warnings(write(files=range(3, 24))) == ["file not found: 3 of 24 of speech (calls/u0, calls/u1, calls/u2)"]


def test_a_corpus_without_any_of_its_files_is_refused_with_the_first_path(write: Callable[..., Path]) -> None:
    study = write(files=range(0))
    first = study.parent / "0.wav"
    with pytest.raises(ManifestError, match=f"speech: none of 24 files is found, the first tried is {first}"):
        warnings(study)
    study.write_text(TEXT_ONLY, encoding="utf-8")  # a study that reads none of them minds nothing
    assert warnings(study) == []


def test_probable_twins_are_told_on_the_terminal(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write(TEXT_ONLY, speaker={1: "s0"}, emotion={2: "Joy"}, id={3: "U 02"})
    monkeypatch.setattr("sys.argv", ["affuse", "manifest", str(study), "--root", str(study.parent / "runs")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    told = " ".join(capsys.readouterr().err.split())
    hint = "differ only by case, blanks or leading zeros"
    assert f"warning: probable_twins: emotion 'Joy' and 'joy' {hint}" in told
    assert f"warning: probable_twins: speaker 'S0' and 's0' {hint}" in told
    assert f"warning: probable_twins: id 'calls/U 02' and 'calls/u2' {hint}" in told


def test_a_study_leaves_out_who_has_no_group_and_warns_of_twins(write: Callable[..., Path]) -> None:
    study = write(TEXT_ONLY, speaker={0: "", 5: " ", 9: "s2", 12: "S3\u00a0"})
    root = Root(study.parent / "runs")
    told: dict[str, Any] = study_job(str(study), Options(root=root.address, quiet=True))
    store = StudyStore(root, told["study"])
    samples = {row["sample_id"]: row for row in store.samples().to_pylist()}
    assert {name: row["excluded"] for name, row in samples.items() if row["excluded"]} == {
        "calls/u0": "no speaker",
        "calls/u5": "no speaker",
    }
    assert samples["calls/u12"]["group"] == samples["calls/u13"]["group"] == "S3"
    assert [w for w in store.facts()["warnings"] if w.startswith("probable_twins")] == [
        "probable_twins: speaker 'S2' and 's2' differ only by case, blanks or leading zeros: "
        "if they mean one, write them in one way"
    ]
