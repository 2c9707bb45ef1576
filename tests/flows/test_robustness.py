"""`[robustness]` end to end: it is switched on by its presence, told, counted apart, and done once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.jobs import Options, study_job
from flows.study_config import parse_study
from fusion.robustness import RobustnessConfig
from stores.errors import ConfigError
from stores.root import Root
from stores.studies import StudyStore
from stores.verifying import verify

ASKED = "\n[robustness]\nnoise = [0, 1.5]\n"
SMALL = {"corpus": {"kind": "synthetic"}, "features": {"text": {"extractor": "bert"}}}


def study(root: Path, said: dict[str, Any]) -> StudyStore:
    return StudyStore.open(Root(root), said["study"])


def test_a_study_without_the_table_opens_its_test_parts_once_and_is_timed_once(
    faces_study: Path, tmp_path: Path
) -> None:
    options = Options(root=str(tmp_path / "runs"), device="cpu", quiet=True)
    said = study_job(str(faces_study), options)
    store = study(tmp_path / "runs", said)
    assert "robustness" not in said
    assert len(store.log("robustness")) == 0
    assert store.log("openings")["purpose"].to_pylist() == ["score"] * 3
    timed = store.log("latency").to_pylist()
    assert [(row["model"], row["batch"], row["input_width"]) for row in timed] == [
        ("unimodal[image]", 1, 512), ("unimodal[image]", 64, 512),
    ]  # fmt: skip
    study_job(str(faces_study), options)
    assert store.log("latency").to_pylist() == timed


def test_the_table_switches_the_curves_on_and_a_second_run_adds_nothing(
    faces_study: Path, tmp_path: Path, affuse: Callable[..., Any]
) -> None:
    faces_study.write_text(faces_study.read_text(encoding="utf-8") + ASKED, encoding="utf-8")
    arguments = ("study", str(faces_study), "--root", str(tmp_path / "runs"), "--device", "cpu", "--json")
    first = affuse(*arguments)
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert said["robustness"] == {"runs": 3, "conditions": 3, "cached": 0, "scored": 9, "openings": 3}
    assert "robustness: 9 scores of 3 runs under up to 3 conditions (0 cached), 3 openings of" in first.stderr
    store = study(tmp_path / "runs", said)
    rows = store.log("robustness").to_pylist()
    assert len(rows) == 3 * 3 * 2
    assert {(r["condition"], r["modality"], r["level"]) for r in rows} == {
        ("removed", "image", None), ("noise", None, 0.0), ("noise", None, 1.5),
    }  # fmt: skip
    assert said["test_openings"]["purposes"] == {"robustness": 3, "score": 3}
    before = [file.path for file in Root(tmp_path / "runs").files(store.folder)]
    second = affuse(*arguments)
    assert "0 runs in" not in second.stderr
    again = json.loads(second.stdout)
    assert again["robustness"] == {"runs": 3, "conditions": 3, "cached": 9, "scored": 0, "openings": 3}
    assert again["runs"] == {"cached": 3, "trained": 0}
    assert [file.path for file in Root(tmp_path / "runs").files(store.folder)] == before
    assert verify(Root(tmp_path / "runs")).damages == []


def test_the_table_is_off_unless_it_is_there_and_its_settings_are_checked() -> None:
    assert parse_study(SMALL, base=Path.cwd()).robustness is None
    assert parse_study({**SMALL, "robustness": {}}, base=Path.cwd()).robustness == RobustnessConfig()
    asked = {**SMALL, "robustness": {"noise": [1, 0.5], "remove": False}}
    assert parse_study(asked, base=Path.cwd()).robustness == RobustnessConfig(noise=(1.0, 0.5), remove=False)
    with pytest.raises(ConfigError, match="did you mean 'noise'"):
        parse_study({**SMALL, "robustness": {"noises": [1]}}, base=Path.cwd())
    with pytest.raises(ConfigError, match=r"\[robustness\].*0 or more"):
        parse_study({**SMALL, "robustness": {"noise": [-1]}}, base=Path.cwd())
