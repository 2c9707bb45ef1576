"""ARCHITECTURE.md says what lies where; a store that real commands have filled says whether it does."""

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.jobs import Options, run_job
from stores.features import FeatureStore
from stores.layout import LAYOUT, place_of
from stores.root import Root

ARCHITECTURE = (Path(__file__).resolve().parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
HEADS = """
[heads.unimodal]
[heads.weighted]

[training]
epochs = 2

[search]
space = { learning_rate = [1e-3, 1e-2] }
scope = "study"

[robustness]
noise = [1.0]
"""


@pytest.fixture(scope="module")
def files(extracted_talkers: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Relative path -> file of a root in which a whole study has run, a picture of which was broken."""
    root, study = tmp_path_factory.mktemp("runs"), extracted_talkers.folder / "whole.toml"
    study.write_text(extracted_talkers.study.replace("[heads.unimodal]", HEADS), encoding="utf-8")
    broken = next(extracted_talkers.folder.glob("*.png"))
    content = broken.read_bytes()
    broken.write_bytes(b"no picture")
    run_job(str(study), Options(root=str(root), device="cpu", quiet=True))
    broken.write_bytes(content)
    text = FeatureStore.open(Root(root), "text", "bert")
    text.withdraw(text.index().listed([0]), "damaged")
    return {file.path: root / file.path for file in Root(root).files()}


def documented() -> dict[str, str]:
    [block] = re.findall(r"## On disk\n.*?```\n(.*?)```", ARCHITECTURE, flags=re.S)
    return dict(re.split(r"\s{2,}", line, maxsplit=1) for line in block.splitlines())


def test_the_documented_layout_is_the_layout() -> None:
    assert documented() == LAYOUT


def test_everything_that_is_written_has_its_place_and_every_place_is_written(files: dict[str, Path]) -> None:
    places = {path: place_of(path) for path in files}
    assert [path for path, place in places.items() if place is None] == []
    passing = {"corpora/<name>/<file>", "digests/<name>.parquet", "encoders/<encoder id>/checkpoint.safetensors"}
    assert set(LAYOUT) - set(places.values()) <= passing


def test_the_documented_columns_are_those_of_the_files(files: dict[str, Path]) -> None:
    rows = re.findall(r"^\| `([^`]+\.parquet)` \| ([^|]+) \|", ARCHITECTURE, flags=re.M)
    told = {name: re.findall(r"`(\w+)`", columns) for name, columns in rows}
    found = {}
    for path, file in files.items():
        if path.endswith(".parquet"):
            place = re.sub(r".*<(feature|encoder|study) id>/", "", str(place_of(path)))
            found[place] = max(found.get(place, []), pq.read_schema(file).names, key=len)  # some have no upstream
    found.pop("manifests/<name>.parquet")  # its labels, scores and groups are those of the corpus
    found.setdefault("digests/<name>.parquet", told["digests/<name>.parquet"])  # none of files written this moment
    assert told == found
