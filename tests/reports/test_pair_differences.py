"""The chapter on differences: which test stands where, and that the page says what the value says."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reports.case import Case
from reports.chapters._chapter import chapters
from reports.chapters.differences import Compared, Differences
from reports.comparisons import STRATEGIES

METRIC = "macro_f1"


@pytest.fixture
def case_of(report_of: Any) -> Callable[..., Case]:
    """Return a function that reads a study of text and speech as a case."""
    return lambda **study: report_of(modalities=("speech", "text"), **study).case


def _value(case: Case) -> Compared:
    value = case.value(Differences)
    assert value is not None
    return value


def test_overlapping_repeats_have_a_posterior_a_flagged_wilcoxon_and_no_mcnemar(case_of: Any) -> None:
    case = case_of()
    value = _value(case)
    assert "no one test set" in value.no_test_set
    assert [(it.a, it.b) for it in value.beside] == [pair for family in case.families for pair in family.pairs]
    for it in value.of(STRATEGIES):
        d = np.subtract(*(case.measures.table[name][METRIC].repeats for name in (it.a, it.b)))
        assert it.wilcoxon.p == pytest.approx(stats.wilcoxon(d).pvalue)
        assert it.wilcoxon.independence_violated
        law = stats.t(len(d) - 1, d.mean(), d.std(ddof=1) * np.sqrt(1 / len(d) + case.measures.design.ratio))
        expected = (law.cdf(-0.01), law.cdf(0.01) - law.cdf(-0.01), law.sf(0.01))
        assert (it.posterior.p_left, it.posterior.p_rope, it.posterior.p_right) == pytest.approx(expected, abs=1e-12)
        assert it.samples is None


def test_the_share_of_test_samples_in_common_is_that_of_all_pairs_of_repeats(case_of: Any) -> None:
    case = case_of()
    tested = [set(part.sample_ids) for part in case.evidence.held_out]
    shared = np.mean([len(a & b) for a in tested for b in tested if a is not b]) / np.mean([len(a) for a in tested])
    assert case.measures.design.shared == pytest.approx(shared)
    assert _value(case).beside[0].wilcoxon.assumptions[0].statistic == pytest.approx(shared)


@pytest.mark.parametrize(
    ("protocol", "tables", "violated"),
    [("fixed", 6, False), ("leave-one-group-out", 1, True)],
    ids=["fixed", "one out"],
)
def test_one_test_set_has_mcnemar_and_no_posterior(case_of: Any, protocol: str, tables: int, violated: bool) -> None:
    case = case_of(protocol=protocol)
    value = _value(case)
    assert value.no_test_set == ""
    for it in value.beside:
        assert (it.posterior, len(it.samples.tables)) == (None, tables)
        assert it.wilcoxon.independence_violated is violated
        gain = np.mean([table.difference for table in it.samples.tables])
        a, b = (case.measures.table[name]["accuracy"].estimate for name in (it.a, it.b))
        assert gain == pytest.approx(a - b)


def test_a_comparison_that_is_refused_has_nothing_beside_it(case_of: Any) -> None:
    value = _value(case_of(repeats=2))
    assert {(it.posterior, it.wilcoxon, it.samples) for it in value.beside} == {(None, None, None)}


def test_the_page_shows_effects_equivalence_and_what_was_assumed(report_of: Any) -> None:
    section = report_of().section("differences")
    for said in (
        "P within", "within ±1 pp", "rank-biserial", "smallest p", "0.0312 ⚑", "McNemar's test is absent",
        "normal differences", "taken to be n2/(n1+n2)", "24 tests",
    ):  # fmt: skip
        assert said in section
    fixed = report_of(protocol="fixed", pairing="composed").section("differences")
    assert "One test for each of 6 seeds" in fixed
    assert "P within" not in fixed
    assert "violated: 90 samples come from 10 groups" in fixed
    assert "A median of p describes the seeds" in fixed
    assert "Intervals are of 95 % each and not corrected for their number" in section
    assert "not across tables, metrics and questions" in section
    assert "95 % interval, pp" in section


def test_what_mcnemar_takes_for_granted_is_looked_at_for_every_seed(report_of: Any) -> None:
    results = report_of(protocol="fixed", pairing="composed").content
    value = results.value(Differences)
    found = Differences().context(value, results)["assumed"]["samples"]
    apart = [table.only_a + table.only_b for it in value.beside for table in it.samples.tables]
    told = [it.statistic for alike in found for it in alike.found.values() if it.statistic is not None]
    assert sorted(told) == sorted(apart)


def test_tables_hold_every_comparison_once_with_the_same_columns(report_of: Any) -> None:
    for study, names in (
        ({}, {"comparisons", "equivalence", "wilcoxon", "assumptions"}),
        (
            {"protocol": "fixed", "pairing": "composed"},
            {"comparisons", "mcnemar", "wilcoxon", "assumptions"},
        ),
    ):
        results = report_of(**study).content
        tables = chapters()["differences"].tables(results.chapters["differences"], results)
        assert set(tables) == names
        for rows in tables.values():
            assert len({tuple(row) for row in rows}) == 1
        keys = [tuple(row[name] for name in ("family", "metric", "a", "b")) for row in tables["comparisons"]]
        assert len(keys) == len(set(keys)) == len(results.comparisons)
