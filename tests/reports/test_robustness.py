"""Scores under disturbances and costs of a call: shown if the study has them, of the report's runs alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student_t

from reports.case import Case
from reports.chapters.costs import Costs
from reports.chapters.robustness import Robustness
from reports.config import ReportConfig
from reports.report import read_case
from reports.words import span
from stores.root import Root
from stores.studies import StudyStore
from tests.reports.conftest import Written

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


@pytest.fixture(scope="module")
def written(write_study: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Return a study of 3 repeats with both logs."""
    root = Root(tmp_path_factory.mktemp("root"))
    store, runs = write_study(root, repeats=3)
    _disturb(store)
    _time(store)
    return Written(root=root, store=store, runs=runs)


def _removed(case: Case) -> Any:
    value = case.value(Robustness)
    assert value is not None
    return next(d for d in value.scores if (d.model, d.condition) == (REFERENCE, "removed"))


def _own_row(section: str) -> str:
    start = section.index('<tr class="own">')
    return section[start : section.index("</tr>", start)]


def test_robustness_is_mean_and_deviation_over_the_repeats_of_a_model(written: Written) -> None:
    (own,) = [r for r in written.rows("robustness") if (r["model"], r["condition"]) == (REFERENCE, "removed")]
    assert (own["modality"], own["level"], own["n"]) == ("text", None, 3)
    assert own["mean"] == pytest.approx(0.6)
    assert own["sd"] == pytest.approx(0.1)
    assert own["undisturbed"] == pytest.approx(np.mean(written.content.score(REFERENCE, "macro_f1").repeats))


def test_the_interval_of_a_disturbed_score_allows_for_the_samples_repeats_share(written: Written) -> None:
    value, own = written.case.value(Robustness), _removed(written.case)
    error = 0.1 * np.sqrt(1 / 3 + written.case.measures.design.ratio)
    reach = student_t(df=2).ppf(0.975) * error
    assert value is not None
    assert value.spread == "intervals"
    assert own.low == pytest.approx(max(0, 0.6 - reach))
    assert own.high == pytest.approx(min(1, 0.6 + reach))


def test_where_groups_are_resampled_the_quartiles_of_the_repeats_are_shown(
    write_study: Callable[..., Any], root: Root
) -> None:
    store, runs = write_study(root, repeats=3, protocol="fixed")
    _disturb(store)
    case = read_case(store, runs, ReportConfig())
    value, own = case.value(Robustness), _removed(case)
    assert value is not None
    assert value.spread == "quartiles"
    assert (own.low, own.high) == (pytest.approx(0.55), pytest.approx(0.65))


def test_only_runs_of_the_report_count(written: Written) -> None:
    later = [run["run_id"] for run in _runs(written.store) if run["repeat"] > 0]
    case = read_case(written.store, later, ReportConfig())
    own, costs = _removed(case), case.value(Costs)
    assert own.n == 2
    assert own.mean == pytest.approx(0.65)
    repeats = written.case.measures.table[REFERENCE]["macro_f1"].repeats
    assert own.undisturbed == pytest.approx(np.mean(repeats[1:]))
    assert costs is not None
    assert costs.costs == ()  # what was timed is the first repeat


def test_the_page_shows_noise_as_a_curve_and_each_modality_taken_away(written: Written) -> None:
    section, own = written.section("robustness"), _removed(written.case)
    assert 'id="figure-noise"' in section
    assert _own_row(section).endswith(f"<td>–</td><td>–</td><td>60.0 ({span(own.low, own.high)})</td>")
    assert "described, not tested" in section


def test_what_a_prediction_costs_is_shown_with_what_it_was_measured_on(written: Written) -> None:
    own, costs = _own_row(written.section("costs")), written.content.chapters["costs"].costs
    for cell in ("101", "2,101", "164", "2,164", "1,234", "48", "5,678", "cpu, 2 &lt;threads&gt;"):
        assert f">{cell}</td>" in own
    assert {cost.device for cost in costs} == {"cpu, 2 <threads>"}
    assert {cost.median_us for cost in costs} == {101.0, 164.0}  # none of other settings
    assert len(written.rows("latency")) == len(costs)


def test_times_that_name_no_run_are_shown_for_want_of_better(write_study: Callable[..., Any], root: Root) -> None:
    store, runs = write_study(root, repeats=1)
    nameless = {"batch": 1, "median_us": 7.0, "p95_us": 8.0, "parameters": 1, "input_width": 2, "flops": 3}
    store.append("latency", [nameless | {"model": model, "device": "cpu"} for model in (REFERENCE, "gone[text]")])
    value = read_case(store, runs, ReportConfig()).value(Costs)
    assert value is not None
    (cost,) = value.costs
    assert (cost.model, cost.median_us) == (REFERENCE, 7.0)


def test_a_study_without_these_logs_shows_what_is_stored_with_its_runs_alone(report_of: Any) -> None:
    written = report_of()
    assert "robustness" not in written.content.chapters
    assert "median µs" not in written.section("costs")


def test_what_training_and_extraction_took_is_told_by_model(write_study: Callable[..., Any], root: Root) -> None:
    receipts = {
        "text": {"rows": 100, "seconds": 2.0, "stages": {}},
        "image": {"rows": 50, "seconds": 0.5, "stages": {}},
        "speech": {"rows": 0, "seconds": 0.0, "stages": {}},
    }
    store, runs = write_study(root, repeats=3, facts={"extraction": receipts})
    value = read_case(store, runs, ReportConfig()).value(Costs)
    assert value is not None
    spent = {it.model: it for it in value.spent}
    assert spent["concat[image+text]"].extraction_ms == pytest.approx(30.0)
    assert spent["concat[speech+text]"].extraction_ms is None  # speech has no receipt
    assert spent["vote[image+text]"].training_s is None  # it trains nothing
    own = [r["seconds"] for r in store.runs().to_pylist() if r["model"] == "concat[image+text]"]
    assert spent["concat[image+text]"].training_s == pytest.approx(sorted(own)[1])
