"""The chapters on many models: values recomputed by other libraries, and what the page says of them."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar
from statsmodels.stats.multitest import multipletests

from reports.chapters._assumed import assumed
from reports.chapters.as_in_the_paper import AsInThePaper, PaperTests
from reports.chapters.many_models import Analyses, ManyModels
from reports.comparisons import STRATEGIES, UNTOLD
from reports.metrics import PAPER_METRICS
from reports.results import Results
from reports.statistics._statistic import Design
from reports.statistics.one_way_anova import OneWayAnova


def analyses(results: Results) -> Analyses:
    value = results.value(ManyModels)
    assert value is not None
    return value


def paper_tests(results: Results) -> PaperTests:
    value = results.value(AsInThePaper)
    assert value is not None
    return value


def scores(results: Results, metric: str) -> np.ndarray:
    return np.array([results.score(name, metric).repeats for name in analyses(results).models])


def test_the_analyses_run_over_the_reference_and_all_it_is_set_against(report_of: Any) -> None:
    results = report_of().content
    compared = results.compared(STRATEGIES)
    assert set(analyses(results).models) == {name for c in compared for name in (c.a, c.b)}
    assert [item.metric for item in analyses(results).analyses] == [
        "macro_f1",
        "accuracy",
        "macro_precision",
        "macro_recall",
    ]
    assert [item.metric for item in paper_tests(results).one_way] == list(PAPER_METRICS)


def test_the_one_way_analysis_of_a_report_is_scipys_on_the_scores_shown(report_of: Any) -> None:
    results = report_of().content
    for item in paper_tests(results).one_way:
        assert item.result is not None
        expected = stats.f_oneway(*scores(results, item.metric))
        assert (item.result.f, item.result.p) == pytest.approx(tuple(expected), rel=1e-9)
        assert item.result.independence_violated


def test_each_paper_metric_counts_what_the_paired_t_calls_and_what_is_left(report_of: Any) -> None:
    results = report_of().content
    for called in paper_tests(results).called:
        compared = results.compared(STRATEGIES, called.metric)
        of = dict(zip(analyses(results).models, scores(results, called.metric), strict=True))
        p = [stats.ttest_rel(of[c.a], of[c.b]).pvalue for c in compared]
        assert (called.n, called.paired_t) == (len(compared), sum(value < 0.05 for value in p))
        assert called.corrected == sum(c.verdict != UNTOLD for c in compared)
        assert called.paired_t > called.corrected
    assert "of 5 differences the paired t calls 4 significant; corrected, 3 hold" in report_of().section(
        "as_in_the_paper"
    )


def test_the_papers_tests_stand_open_with_the_corrected_result_in_the_next_columns(report_of: Any) -> None:
    written = report_of()
    text = written.section("as_in_the_paper")
    tables = text.split("<details>")[0]
    assert tables.index("as in the paper: paired t") < tables.index("in its place: corrected resampled t")
    assert tables.index("one-way analysis of variance</th>") < tables.index("in its place: repeated measures")
    compared = written.content.compared(STRATEGIES)
    # a flag on every naive p, on every one-way p, and on the sentence that says what it means
    assert tables.count("⚑") == 4 * len(compared) + 4 + 1
    first = written.content.compared(STRATEGIES, "accuracy")[0]
    assert f"{first.naive.p:.3g} ⚑" in tables
    assert f"{first.holm_p:.3g}" in tables


def test_where_pairs_were_made_by_label_no_difference_holds_and_both_tables_say_so(report_of: Any) -> None:
    written = report_of(pairing="composed", protocol="fixed")
    compared = written.content.compared(STRATEGIES, "accuracy")
    assert any(c.holm_p < 0.05 and c.primary.low * c.primary.high > 0 for c in compared)
    assert {called.corrected for called in paper_tests(written.content).called} == {0}
    text = written.section("as_in_the_paper")
    assert "corrected, 0 hold" in text
    assert "Pairs were made by label, so none of this tells what fusing does" in text


def test_the_page_says_what_takes_what_as_independent(report_of: Any) -> None:
    overlapping, fixed = (
        report_of(**study).section("as_in_the_paper") for study in ({}, {"pairing": "composed", "protocol": "fixed"})
    )
    assert "Both take repeats as independent, though they share samples" in overlapping
    assert "Both take repeats" not in fixed  # there a paired t is right about the seeds
    assert "The analysis of variance takes models as independent" in fixed


def test_of_one_group_left_out_the_page_says_that_t_is_not_of_the_gain_beside_it(report_of: Any) -> None:
    written = report_of(protocol="leave-one-group-out")
    c = written.content.compared(STRATEGIES)[0]
    assert c.naive.difference != pytest.approx(c.primary.difference, abs=1e-4)
    assert "over the 40 groups scored one by one, which is another score" in written.section("as_in_the_paper")
    assert "scored one by one" not in report_of().section("as_in_the_paper")


def test_assumptions_that_came_out_alike_stand_together() -> None:
    a, b = (OneWayAnova().compare(np.random.default_rng(i).normal(size=(8, 3)), Design(overlap=False)) for i in (0, 1))
    rows = {it.name: it for it in assumed([("first", a), ("second", b), ("refused", None)])}
    assert set(rows) == {"independent models", "independent repeats", "equal spread", "normal residuals"}
    assert rows["normal residuals"].who == "first and second"
    p = sorted(it.p for result in (a, b) for it in result.assumptions if it.name == "normal residuals")
    assert rows["normal residuals"].p == f"{p[0]:.3g} to {p[1]:.3g}"
    assert (rows["independent models"].figure, rows["independent models"].p) == ("", "")
    assert assumed([(f"test {i}", a) for i in range(5)])[0].who == "5 tests"


def test_every_assumption_of_the_papers_tests_is_on_the_page(report_of: Any) -> None:
    text = report_of().section("as_in_the_paper").split("<details>")[1]
    for name in ("independent models", "independent repeats", "equal spread", "normal residuals", "normal differences"):
        assert name in text
    assert "sphericity" in report_of().section("many_models").split("<details>")[1]


def test_overlapping_repeats_have_no_tukey_and_no_cochran_and_the_page_says_why(report_of: Any) -> None:
    written = report_of()
    value = analyses(written.content)
    assert (value.tukey, value.one_test_set) == (None, None)
    assert [it.test for it in value.absent][:2] == ["Tukey HSD", "Cochran Q with McNemar"]
    text = written.section("many_models")
    assert "Tukey HSD: it needs independent repeats" in text
    assert "its repeats are not blocks" in text
    assert "F, overlap" in text


def test_a_fixed_split_has_tukey_over_all_pairs(report_of: Any) -> None:
    written = report_of(pairing="composed", protocol="fixed")
    results = written.content
    value, x = analyses(results), scores(results, "macro_f1")
    assert value.tukey is not None
    assert len(value.tukey.pairs) == len(value.models) * (len(value.models) - 1) / 2
    residuals = x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()
    k, n = x.shape
    pair = value.tukey.pairs[0]
    q = abs(x[0].mean() - x[1].mean()) / np.sqrt((residuals**2).sum() / ((k - 1) * (n - 1)) / n)
    assert pair.result.p == pytest.approx(stats.studentized_range.sf(q, k, (k - 1) * (n - 1)), rel=1e-7)
    assert len(written.rows("tukey")) == len(value.tukey.pairs)
    text = written.section("many_models")
    assert "F, overlap" not in text
    assert "Pairs were made by label" in text


def hits(written: Any, repeat: int, names: list[str]) -> np.ndarray:
    """Return (n samples, k models) bool of one repeat, read from the predictions themselves."""
    predictions = written.store.predictions(written.runs).to_pandas().sort_values("sample_id")
    runs = written.store.runs().to_pandas().query(f"repeat == {repeat}").set_index("model")["run_id"]
    of = {name: predictions[predictions["run_id"] == runs[name]] for name in names}
    return np.stack([np.stack(own["posterior"]).argmax(axis=1) == own["label"] for own in of.values()], axis=1)


def test_a_fixed_split_has_cochran_for_every_seed_and_mcnemar_corrected_over_all_pairs_of_a_seed(
    report_of: Any,
) -> None:
    written = report_of(pairing="composed", protocol="fixed")
    value, names = analyses(written.content).one_test_set, list(analyses(written.content).models)
    assert value is not None
    right = [hits(written, repeat, names) for repeat in range(6)]
    expected = [cochrans_q(own) for own in right]
    assert [q.q for q in value.cochran] == pytest.approx([q.statistic for q in expected], rel=1e-9)
    assert [q.p for q in value.cochran] == pytest.approx([q.pvalue for q in expected], rel=1e-9)
    assert all(q.independence_violated for q in value.cochran)
    pairs = [(names.index(pair.a), names.index(pair.b)) for pair in value.pairs]
    p = [
        [mcnemar(np.histogram2d(~own[:, a], ~own[:, b], bins=2)[0], exact=True).pvalue for a, b in pairs]
        for own in right
    ]
    holm = np.array([multipletests(own, method="holm")[1] for own in p])
    assert [pair.holm_p.median for pair in value.pairs] == pytest.approx(list(np.median(holm, axis=0)), rel=1e-9)
    assert [pair.holm_p.high for pair in value.pairs] == pytest.approx(list(holm.max(axis=0)), rel=1e-9)
    text = written.section("many_models")
    assert text.count("⚑") == 1 + 6 + len(pairs)
    assert len(written.rows("mcnemar_all_pairs")) == len(pairs) == 15


def test_two_models_have_no_analysis_of_many(report_of: Any) -> None:
    results = report_of(modalities=("text",)).content
    assert results.value(ManyModels) is None
    assert results.value(AsInThePaper) is None


def test_two_repeats_are_refused_with_the_reason_on_the_page(report_of: Any) -> None:
    written = report_of(repeats=2)
    assert [item.result for item in analyses(written.content).analyses] == [None] * 4
    for name in ("many_models", "as_in_the_paper"):
        assert "refused: it needs at least 3 repeats" in written.section(name)
