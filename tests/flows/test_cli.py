"""The command line as a user or a script meets it: exit codes, JSON on stdout, words on stderr."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from stores.root import Root
from stores.verifying import verify

CHECKOUT = Path(__file__).resolve().parents[2]
CLIPS = r"""
[corpus]
kind = "folder"
path = "clips"
pattern = '(?P<number>\d+)\.wav'

[features.speech]
extractor = "acoustic"
"""


def test_a_second_run_extracts_and_trains_nothing_and_writes_the_same_bytes(
    result: Callable[..., Any], faces_study: Path, tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    (faces_study.parent / "faces" / "fear_99.png").write_bytes(b"no picture at all")
    first = result("run", str(faces_study), root=root)
    assert first["features"]["image"]["extracted"] == 48
    assert first["features"]["image"]["quarantined"] == 1
    assert first["runs"] == {"cached": 0, "trained": 3}
    written = Path(first["results"]).read_bytes(), Path(first["report"]).read_bytes()
    second = result("run", str(faces_study), root=root)
    books = second["features"]["image"]
    assert (books["extracted"], books["cached"], books["quarantined"]) == (0, 48, 1)
    assert books["samples"] == books["absent"] + books["cached"] + books["extracted"] + books["quarantined"]
    assert second["runs"] == {"cached": 3, "trained": 0}
    assert second["report"] == first["report"]
    assert (Path(second["results"]).read_bytes(), Path(second["report"]).read_bytes()) == written
    listed = result("store", "ls", root=root)
    assert listed["features"][0]["rows"] == 48
    assert listed["features"][0]["quarantined"] == 1


def test_nothing_is_written_outside_the_root(result: Callable[..., Any], faces_study: Path, tmp_path: Path) -> None:
    corpus = faces_study.parent
    before = sorted(corpus.rglob("*"))
    result("extract", str(faces_study), root=tmp_path / "runs")
    assert sorted(corpus.rglob("*")) == before
    assert not (CHECKOUT / "runs" / "faces").exists()


def test_moving_and_relabelling_repeats_no_extraction(
    result: Callable[..., Any], faces_study: Path, tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    result("extract", str(faces_study), root=root)
    corpus = faces_study.parent.rename(tmp_path / "moved")
    (corpus / "faces" / "joy_00.png").rename(corpus / "faces" / "anger_77.png")
    books = result("extract", str(corpus / "study.toml"), root=root)["features"]["image"]
    assert (books["samples"], books["cached"], books["extracted"]) == (48, 48, 0)


def test_wrong_settings_exit_with_2_and_a_failure_with_1(
    affuse: Callable[..., Any], faces_study: Path, tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    typo = faces_study.with_name("typo.toml")
    typo.write_text(faces_study.read_text().replace("epochs", "epoch"), encoding="utf-8")
    wrong = affuse("run", str(typo), "--root", str(root))
    assert wrong.returncode == 2
    assert "did you mean 'epochs'" in wrong.stderr
    assert wrong.stdout == ""
    assert affuse("run", "--root", str(root)).returncode == 2
    early = affuse("report", str(faces_study), "--root", str(root))
    assert early.returncode == 1
    assert "has not run" in early.stderr


def test_a_head_that_does_not_exist_is_told_before_any_work(
    affuse: Callable[..., Any], faces_study: Path, tmp_path: Path
) -> None:
    study = faces_study.with_name("head.toml")
    study.write_text(faces_study.read_text().replace("[heads.unimodal]", "[heads.concat]"), encoding="utf-8")
    done = affuse("run", str(study), "--root", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert "needs more modalities" in done.stderr
    assert not (tmp_path / "runs" / "features").exists()


def test_store_explain_says_why_in_lines_and_as_json(
    affuse: Callable[..., Any], result: Callable[..., Any], talkers: Any
) -> None:
    talkers.replace("size = 32", "size = 40")
    study = str(talkers.save())
    done = affuse("store", "explain", study, "--root", str(talkers.root))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == "image recomputed; speech and text reused"
    found = result("store", "explain", study, root=talkers.root)
    image = found["modalities"]["image"]
    assert (image["state"], image["differences"]) == ("recomputed", {"config.size": [32, 40]})
    assert (image["samples"], image["cached"], image["todo"]) == (16, 0, 16)
    lying = result("store", "explain", study, "--sample", "7_joy", root=talkers.root)
    assert {m: own["state"] for m, own in lying["modalities"].items()} == {
        "image": "miss",
        "speech": "hit",
        "text": "hit",
    }
    assert affuse("store", "explain", study, "--sample", "nobody", "--root", str(talkers.root)).returncode == 1


def test_a_colour_picture_of_another_size_is_read_too(
    result: Callable[..., Any], faces_study: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 200), (200, 30, 30)).save(faces_study.parent / "faces" / "joy_91.png")
    books = result("extract", str(faces_study), root=tmp_path / "runs")["features"]["image"]
    assert (books["samples"], books["extracted"], books["quarantined"]) == (49, 49, 0)


def test_help_teaches_every_command(affuse: Callable[..., Any]) -> None:
    for command in ("demo", "run", "manifest", "extract", "train", "study", "report"):
        done = affuse(command, "--help")
        assert done.returncode == 0
        assert "--json" in done.stdout


def test_the_module_is_the_command_too() -> None:
    done = subprocess.run([sys.executable, "-m", "flows", "--version"], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0
    assert "affuse" in done.stdout


@pytest.mark.parametrize("missing", ["features", "corpus"])
def test_a_study_without_its_tables_is_refused(
    affuse: Callable[..., Any], faces_study: Path, tmp_path: Path, missing: str
) -> None:
    study = faces_study.with_name("cut.toml")
    study.write_text(faces_study.read_text().replace(f"[{missing}", f"[un{missing}"), encoding="utf-8")
    done = affuse("run", str(study), "--root", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert missing in done.stderr


def test_a_run_that_is_asked_to_end_says_what_is_kept_and_leaves_a_store_to_go_on_from(
    result: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "clips").mkdir()
    rng = np.random.default_rng(0)
    for number in range(100):
        soundfile.write(tmp_path / "clips" / f"{number:02}.wav", rng.normal(0, 0.1, 48000), 16000)
    study, root = tmp_path / "study.toml", tmp_path / "runs"
    study.write_text(CLIPS, encoding="utf-8")
    command = [sys.executable, "-m", "flows", "extract", str(study), "--root", str(root), "--device", "cpu"]
    running = subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True)
    while not list(root.glob("features/*/*/feature.json")):
        assert running.poll() is None
        time.sleep(0.01)
    running.terminate()
    said = running.communicate(timeout=60)[1]
    assert "Interrupted. What was sealed is kept; the same command goes on from there." in said
    assert running.returncode == 1
    assert verify(Root(root)).damages == []
    books = result("extract", str(study), root=root)["features"]["speech"]
    assert (books["samples"], books["cached"] + books["extracted"], books["quarantined"]) == (100, 100, 0)


def test_a_memory_of_digests_that_cannot_be_written_hides_no_other_error(
    affuse: Callable[..., Any], result: Callable[..., Any], faces_study: Path, tmp_path: Path
) -> None:
    for name in ("digests", "features"):
        (tmp_path / name).write_text("a file where a folder is needed")
    failed = affuse("extract", str(faces_study), "--root", str(tmp_path))
    assert failed.returncode == 1
    assert "cannot write features/image/resnet-" in failed.stderr.replace("\n", " ")
    (tmp_path / "features").unlink()
    assert result("extract", str(faces_study), root=tmp_path)["features"]["image"]["extracted"] == 48
