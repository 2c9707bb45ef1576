"""McNemar's test: the audit's worked example, statsmodels, and every outcome by brute force."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from reports.errors import StatisticsError
from reports.statistics.mcnemar import McNemar, McNemarResult

REL = 1e-9


def _compare(both: int, only_a: int, only_b: int, neither: int, groups: int | None = None) -> McNemarResult:
    counts = [both, only_a, only_b, neither]
    a, b = (np.repeat(np.array(right, dtype=bool), counts) for right in ([1, 1, 0, 0], [1, 0, 1, 0]))
    return McNemar().compare(a, b, alpha=0.05, groups=groups)


def test_mcnemar_agrees_with_the_audit() -> None:
    result = _compare(120, 18, 7, 15)
    assert (result.both_right, result.only_a, result.only_b, result.both_wrong, result.n) == (120, 18, 7, 15, 160)
    assert result.p == pytest.approx(0.04328525066, rel=REL)
    assert result.mid_p == pytest.approx(0.02895927429, rel=REL)
    assert (result.chi2, result.chi2_p) == pytest.approx((4.84, 0.02780689503), rel=REL)
    assert (result.chi2_continuity, result.chi2_continuity_p) == pytest.approx((4, 0.04550026390), rel=REL)
    assert (result.difference, result.se) == pytest.approx((0.06875, 0.03077371418), rel=REL)
    assert (result.low, result.high) == pytest.approx((0.008434628538, 0.1290653715), rel=REL)
    assert (result.odds_ratio, result.cohen_g) == pytest.approx((2.571428571, 0.22), rel=REL)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 50))
def test_p_and_chi_squared_are_those_of_statsmodels(only_a: int, only_b: int, both: int) -> None:
    result, table = _compare(both, only_a, only_b, 3), [[both, only_a], [only_b, 3]]
    if only_a + only_b == 0:
        assert (result.p, result.mid_p, result.chi2_p, result.chi2_continuity_p) == (1, 1, 1, 1)
        assert (result.odds_ratio, result.cohen_g, result.difference, result.se) == (None, None, 0, 0)
        return
    assert result.p == pytest.approx(mcnemar(table, exact=True).pvalue, rel=REL)
    for continuity, got in (
        (False, (result.chi2, result.chi2_p)),
        (True, (result.chi2_continuity, result.chi2_continuity_p)),
    ):
        expected = mcnemar(table, exact=False, correction=continuity)
        assert got == pytest.approx((expected.statistic, expected.pvalue), rel=REL)


@settings(deadline=None)
@given(st.integers(0, 25), st.integers(0, 25))
def test_mid_p_counts_half_of_what_is_just_as_far_from_the_middle(only_a: int, only_b: int) -> None:
    n = only_a + only_b
    seen = abs(only_a - only_b)
    weights = {k: comb(n, k) / 2**n for k in range(n + 1)}
    farther = sum(w for k, w in weights.items() if abs(2 * k - n) > seen)
    as_far = sum(w for k, w in weights.items() if abs(2 * k - n) == seen)
    result = _compare(5, only_a, only_b, 5)
    assert result.p == pytest.approx(farther + as_far, rel=REL)
    assert result.mid_p == pytest.approx(farther + as_far / 2 if n else 1.0, rel=REL)
    assert result.smallest_p == pytest.approx(min(1.0, 2 * weights[0]), rel=REL)


def test_the_other_way_round_the_gain_is_a_loss() -> None:
    one, other = _compare(10, 9, 2, 4), _compare(10, 2, 9, 4)
    assert (one.difference, one.low, one.p) == pytest.approx((-other.difference, -(other.high), other.p))


def test_samples_of_fewer_groups_are_not_independent() -> None:
    assert not _compare(9, 1, 1, 1).independence_violated
    own = _compare(9, 1, 1, 1, groups=12)
    assert (own.independence_violated, own.assumptions[0].outcome[:5]) == (False, "holds")
    shared = _compare(9, 1, 1, 1, groups=4)
    assert (shared.independence_violated, shared.assumptions[0].outcome) == (
        True,
        "violated: 12 samples come from 4 groups",
    )


def test_few_discordant_samples_are_too_few_for_chi_squared() -> None:
    assert _compare(9, 10, 14, 1).assumptions[1].outcome.startswith("too few: read the exact p")
    assert _compare(9, 11, 14, 1).assumptions[1].outcome.startswith("enough")


def test_unequal_samples_and_what_is_neither_right_nor_wrong_are_refused() -> None:
    right = np.array([1.0, 0.0, 1.0])
    with pytest.raises(StatisticsError, match="same samples, got 3 and 2: pair them by sample"):
        McNemar().compare(right, right[:2], alpha=0.05)
    with pytest.raises(StatisticsError, match=r"neither at \[1\]"):
        McNemar().compare(right, np.array([1.0, np.nan, 0.0]), alpha=0.05)
    with pytest.raises(StatisticsError, match="at least one sample"):
        McNemar().compare(right[:0], right[:0], alpha=0.05)
