"""Scores under disturbances and costs of a call: shown if the study has them, of the report's runs alone."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.config import ReportConfig
from reports.report import ReportPaths, write_report
from stores.root import Root
from stores.studies import StudyStore

REFERENCE = "weighted[image+speech+text]"


def _runs(store: StudyStore) -> list[dict[str, Any]]:
    runs = store.runs()
    assert runs is not None
    return runs.select(["run_id", "model", "repeat", "modalities"]).to_pylist()


def _disturb(store: StudyStore) -> None:
    """Log macro F1 of 0.5, 0.6, ... by repeat without text, 0.1 less at noise 1; and a run that is not reported."""
    rows = []
    for run in _runs(store):
        value = 0.5 + 0.1 * run["repeat"]
        points = [("noise", None, 1.0, value - 0.1)]
        points += [("removed", m, None, value) for m in run["modalities"].split("+") if m == "text"]
        for run_id in (run["run_id"], "elsewhere"):
            rows += [
                {"run_id": run_id, "condition": c, "modality": m, "level": level, "metric": "macro_f1", "value": v}
                for c, m, level, v in points
            ]
    store.append("robustness", rows)


def _time(store: StudyStore) -> None:
    """Log what every model of the first repeat takes, and other times of a run of other settings."""
    rows = []
    for run in _runs(store):
        for batch in (1, 64) if run["repeat"] == 0 else ():
            own = {"model": run["model"], "batch": batch, "parameters": 1234, "input_width": 48, "flops": 5678 * batch}
            own |= {"median_us": 100.0 + batch, "p95_us": 2100.0 + batch, "device": "cpu, 2 <threads>"}
            rows += [own | {"run_id": run["run_id"]}, own | {"run_id": "elsewhere", "median_us": 9.0}]
    store.append("latency", rows)


Written = tuple[StudyStore, list[str], ReportPaths]


@pytest.fixture(scope="module")
def written(write_study: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Return a study of 3 repeats with both logs, its runs, and its report."""
    root = Root(tmp_path_factory.mktemp("root"))
    store, runs = write_study(root, repeats=3)
    _disturb(store)
    _time(store)
    return store, runs, write_report(root, store.id, runs, ReportConfig())


def _rows(paths: ReportPaths, table: str) -> list[dict[str, str]]:
    with (Path(paths.index).parent / "tables" / f"{table}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _section(paths: ReportPaths, name: str) -> str:
    text = Path(paths.index).read_text(encoding="utf-8")
    start = text.index(f'<section id="{name}">')
    return text[start : text.index("</section>", start)]


def _own_row(section: str) -> str:
    start = section.index('<tr class="own">')
    return section[start : section.index("</tr>", start)]


def test_robustness_is_mean_and_deviation_over_the_repeats_of_a_model(written: Written) -> None:
    _, _, paths = written
    (own,) = [r for r in _rows(paths, "robustness") if (r["model"], r["condition"]) == (REFERENCE, "removed")]
    assert (own["modality"], own["level"], own["n"]) == ("text", "", "3")
    assert float(own["mean"]) == pytest.approx(0.6)
    assert float(own["sd"]) == pytest.approx(0.1)
    assert float(own["undisturbed"]) == pytest.approx(np.mean(paths.content.score(REFERENCE, "macro_f1").repeats))


def test_only_runs_of_the_report_count(written: Written) -> None:
    store, _, whole = written
    paths = write_report(store.root, store.id, [r["run_id"] for r in _runs(store) if r["repeat"] > 0], ReportConfig())
    (own,) = [r for r in _rows(paths, "robustness") if (r["model"], r["condition"]) == (REFERENCE, "removed")]
    assert own["n"] == "2"
    assert float(own["mean"]) == pytest.approx(0.65)
    repeats = whole.content.score(REFERENCE, "macro_f1").repeats
    assert float(own["undisturbed"]) == pytest.approx(np.mean(repeats[1:]))
    assert "costs" not in paths.content.chapters  # what was timed is the first repeat


def test_the_page_shows_noise_as_a_curve_and_each_modality_taken_away(written: Written) -> None:
    section = _section(written[2], "robustness")
    assert 'id="figure-noise"' in section
    assert _own_row(section).endswith("<td>–</td><td>–</td><td>60.0 ± 10.0</td>")
    assert "described, not tested" in section


def test_what_a_prediction_costs_is_shown_with_what_it_was_measured_on(written: Written) -> None:
    paths = written[2]
    own = _own_row(_section(paths, "costs"))
    for cell in ("101", "2,101", "164", "2,164", "1,234", "48", "5,678", "cpu, 2 &lt;threads&gt;"):
        assert f">{cell}</td>" in own
    costs = json.loads(Path(paths.results).read_text(encoding="utf-8"))["chapters"]["costs"]["costs"]
    assert {cost["device"] for cost in costs} == {"cpu, 2 <threads>"}
    assert {cost["median_us"] for cost in costs} == {101.0, 164.0}  # none of other settings
    assert len(_rows(paths, "latency")) == len(costs)


def test_times_that_name_no_run_are_shown_for_want_of_better(write_study: Callable[..., Any], root: Root) -> None:
    store, runs = write_study(root, repeats=2)
    nameless = {"batch": 1, "median_us": 7.0, "p95_us": 8.0, "parameters": 1, "input_width": 2, "flops": 3}
    store.append("latency", [nameless | {"model": model, "device": "cpu"} for model in (REFERENCE, "gone[text]")])
    (cost,) = write_report(root, store.id, runs, ReportConfig()).content.chapters["costs"].costs
    assert (cost.model, cost.median_us) == (REFERENCE, 7.0)


def test_the_same_study_makes_the_same_bytes(written: Written, write_study: Callable[..., Any], root: Root) -> None:
    store, runs = write_study(root, repeats=3)
    _time(store)
    _disturb(store)
    again = write_report(root, store.id, runs, ReportConfig())
    for one, other in ((again.index, written[2].index), (again.results, written[2].results)):
        assert Path(one).read_bytes() == Path(other).read_bytes()


def test_a_study_without_these_logs_has_neither_section_nor_table(report_of: Any) -> None:
    index = Path(report_of().paths.index)
    text = index.read_text(encoding="utf-8")
    assert 'id="robustness"' not in text
    assert 'id="costs"' not in text
    assert not {"robustness.csv", "latency.csv"} & {file.name for file in (index.parent / "tables").iterdir()}
