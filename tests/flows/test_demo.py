"""What `make demo` runs, whole: the planted effects must come out of media, encoders, heads and statistics."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.cli import DEMO
from flows.jobs import Options, run_job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def said(root: str) -> dict[str, Any]:
    return run_job(str(DEMO), Options(root=root, quiet=True))


@pytest.fixture(scope="module")
def results(said: dict[str, Any]) -> dict[str, Any]:
    return json.loads(Path(said["results"]).read_text(encoding="utf-8"))


def test_each_modality_reads_best_what_was_planted_in_it(results: dict[str, Any]) -> None:
    best = {winner["label"]: winner["modality"] for winner in results["chapters"]["emotions"]["winners"]}
    assert best == {"joy": "image", "sadness": "image", "anger": "speech", "fear": "speech", "neutral": "text"}


def test_fusion_is_above_every_single_modality_for_certain(results: dict[str, Any]) -> None:
    verdicts = {planted["effect"]: planted["verdict"] for planted in results["chapters"]["emotions"]["planted"]}
    assert verdicts["weighted fusion is above every single modality"] == "recovered"
    assert verdicts["concat fusion is above every single modality"] == "recovered"
    assert len(verdicts) == 7


def test_the_page_names_what_it_used_and_what_it_cannot_show(said: dict[str, Any]) -> None:
    page = Path(said["report"]).read_text(encoding="utf-8")
    assert "all-MiniLM-L6-v2" in page
    assert "ResNet-18" in page or "resnet" in page
    assert "They say nothing about people" in page


def test_a_second_demo_does_nothing_again_and_writes_the_same_results(said: dict[str, Any], root: str) -> None:
    first = Path(said["results"]).read_bytes()
    again = run_job(str(DEMO), Options(root=root, quiet=True))
    for books in again["features"].values():
        assert books["extracted"] == 0
        assert books["samples"] == books["absent"] + books["cached"] + books["quarantined"]
    assert again["runs"] == {"cached": 320, "trained": 0}
    assert Path(again["results"]).read_bytes() == first
