"""A report that was tampered with, and a table of predictions that was, are both found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reports.check import Checked, check_report
from reports.config import ReportConfig
from reports.report import write_report
from reports.tables import csv_table
from stores.errors import NotFound
from stores.root import Root
from stores.studies import StudyStore
from tests.reports.cross_check import cross_check

SMALL = {"modalities": ("text",)}
Copy = Callable[[], tuple[Root, Path, list[str]]]


@pytest.fixture
def copy(report_of: Any, tmp_path: Path) -> Copy:
    """Return a function that copies a small study with its report: root, folder of the report, runs."""

    def copied() -> tuple[Root, Path, list[str]]:
        written = report_of(**SMALL)
        folder = written.folder.relative_to(written.root.address)
        shutil.copytree(written.root.address, tmp_path / "root")
        return Root(tmp_path / "root"), tmp_path / "root" / folder, written.runs

    return copied


def _checked(root: Root, runs: list[str]) -> Checked:
    return check_report(root, "study-test", runs, ReportConfig())


def test_an_untouched_report_follows_from_its_predictions_and_nothing_is_written(copy: Copy) -> None:
    root, folder, runs = copy()
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*.*")}
    found = _checked(root, runs)
    assert found.ok, found.mismatches
    assert found.files == len(before)
    assert found.fields > 1000
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*.*")} == before


def test_a_digit_of_the_page_and_one_of_the_results_are_named_with_their_place(copy: Copy, report_of: Any) -> None:
    root, folder, runs = copy()
    score = report_of(**SMALL).content.scores[0]
    tampered = json.loads((folder / "results.json").read_bytes())
    tampered["scores"][0]["estimate"] = round(score.estimate, 12)
    (folder / "results.json").write_text(json.dumps(tampered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page = (folder / "index.html").read_text(encoding="utf-8")
    shown = f"{100 * report_of(**SMALL).content.ranking()[0].estimate:.1f}"
    start = page.index('<section id="scores"')
    at = page.index(f">{shown}<", start)
    (folder / "index.html").write_text(f"{page[:at]}>99.9<{page[at + len(shown) + 2 :]}", encoding="utf-8")
    (folder / "tables" / "stray.csv").write_text("", encoding="utf-8")
    (folder / "methods.md").unlink()
    found = {mismatch.where: (mismatch.stored, mismatch.recomputed) for mismatch in _checked(root, runs).mismatches}
    assert found["results.json: scores[0].estimate"] == (str(round(score.estimate, 12)), str(score.estimate))
    assert f"index.html, line {page[:at].count(chr(10)) + 1}" in found
    assert found["tables/stray.csv"] == ("a file", "nothing")
    assert found["methods.md"] == ("nothing", "a file")


def test_writing_again_removes_what_no_longer_belongs_to_the_report(copy: Copy) -> None:
    root, folder, runs = copy()
    before = {path.relative_to(folder) for path in folder.rglob("*.*")}
    (folder / "figures" / "gains.pdf").write_bytes(b"of a report with PDFs")
    (folder / "stray").mkdir()
    (folder / "stray" / "notes.txt").write_text("of another version", encoding="utf-8")
    write_report(root, "study-test", runs, ReportConfig())
    assert {path.relative_to(folder) for path in folder.rglob("*.*")} == before
    assert _checked(root, runs).ok


def test_one_posterior_that_changed_is_found_in_results_page_and_scores(copy: Copy) -> None:
    root, _, runs = copy()
    store = StudyStore.open(root, "study-test")
    [part] = root.names(store.folder, "predictions")
    table = root.read_table(store.folder, "predictions", part)
    rows = np.array(table["posterior"].to_pylist(), dtype=np.float32)
    right = rows.argmax(axis=1) == table["label"].to_numpy()
    where = next(i for i, kind in enumerate(table["part"].to_pylist()) if kind == "test" and right[i])
    rows[where] = np.roll(rows[where], 1)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    place = table.schema.get_field_index("posterior")
    root.put_table(table.set_column(place, "posterior", flat), store.folder, "predictions", part)
    places = [mismatch.where for mismatch in _checked(root, runs).mismatches]
    assert any(place.startswith("results.json: scores[") for place in places)
    assert any(place.startswith("index.html, line") for place in places)
    assert any(place.startswith("tables/repeats.csv, line") for place in places)


def test_a_report_that_was_never_written_is_said_to_be_so(copy: Copy) -> None:
    root, folder, runs = copy()
    shutil.rmtree(folder)
    with pytest.raises(NotFound, match="has not been written"):
        _checked(root, runs)


@pytest.mark.parametrize(
    "study",
    [{}, {"protocol": "leave-one-group-out"}, {"protocol": "fixed", "pairing": "composed"}],
    ids=["repeated", "one out", "fixed"],
)
def test_the_other_route_agrees_under_every_protocol_and_misses_nothing(report_of: Any, study: dict[str, str]) -> None:
    written = report_of(**study)
    content = written.content
    page, repeats = written.section("scores"), csv_table(written.rows("repeats"))
    stored = {"index.html": page.encode(), "tables/repeats.csv": repeats.encode()}
    found = cross_check(written.store, written.runs, content, stored)
    assert found.mismatches == ()
    assert found.scores >= 15 * 2 * (content.method.repeats + 1)
    without = cross_check(written.store, written.runs, content, {})
    assert len(without.mismatches) == without.scores == 15 * 2 * (content.method.repeats + 1)
