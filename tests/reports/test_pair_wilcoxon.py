"""Wilcoxon's signed-rank test: the audit's worked example, every sign pattern by brute force, and scipy."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from reports.statistics._statistic import Design, Measured, PairResult
from reports.statistics.wilcoxon import EXACT_UP_TO, Wilcoxon

REL = 1e-9
A = Measured(repeats=np.array([81.4, 79.8, 83.2, 80.5, 82.9, 78.7, 81.9, 80.6, 82.4, 80.1]))
B = Measured(repeats=np.array([79.9, 80.2, 81.0, 79.4, 82.1, 77.0, 79.6, 81.2, 80.0, 78.8]))
OVERLAP = Design(overlap=True, ratio=150 / 700, shared=0.15)


def _of(differences: np.ndarray) -> PairResult:
    return Wilcoxon().compare(
        Measured(repeats=np.asarray(differences, dtype=float)), Measured(repeats=np.zeros(len(differences))), OVERLAP
    )


def test_wilcoxon_agrees_with_the_audit_and_is_flagged() -> None:
    result = Wilcoxon().compare(A, B, OVERLAP)
    assert (result.statistic, result.p) == (3.0, pytest.approx(0.009765625, rel=REL))
    assert result.rank_biserial == pytest.approx(0.8909090909, rel=REL)
    assert (result.n, result.smallest_p) == (10, 2 / 2**10)
    assert result.independence_violated
    assert not Wilcoxon().compare(A, B, Design(overlap=False)).independence_violated


@settings(deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=3, max_size=9))
def test_p_with_ties_and_zeros_is_the_share_of_sign_patterns_at_least_as_extreme(tenths: list[int]) -> None:
    kept = np.array([v for v in tenths if v])
    ranks = stats.rankdata(np.abs(kept))
    seen = abs((np.sign(kept) * ranks).sum())
    patterns = [abs(float(np.dot(signs, ranks))) for signs in product((1, -1), repeat=len(kept))]
    result = _of(np.array(tenths) / 10)
    assert result.p == pytest.approx(np.mean([value >= seen - 1e-9 for value in patterns]), rel=REL)
    assert result.smallest_p == pytest.approx(np.mean([v == max(patterns) for v in patterns]), rel=REL)
    assert result.n == len(kept)


@settings(deadline=None)
@given(st.integers(3, EXACT_UP_TO), st.integers(0, 10**6))
def test_p_without_ties_is_scipys_exact_one(n: int, seed: int) -> None:
    d = np.random.default_rng(seed).normal(0.2, 1, size=n)
    assume(len(np.unique(np.abs(d).round(12))) == n)
    result, expected = _of(d), stats.wilcoxon(d, method="exact")
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue), rel=REL)


def test_beyond_the_exact_law_p_is_scipys_normal_one_ties_included() -> None:
    d = np.random.default_rng(8).integers(-3, 5, size=120) / 10
    expected = stats.wilcoxon(d, method="asymptotic", correction=False)
    assert _of(d).p == pytest.approx(expected.pvalue, rel=REL)


def test_float_noise_breaks_no_tie() -> None:
    noisy = np.array([0.1 + 0.2, 0.3, -0.3, 0.3, 0.5])
    assert noisy[0] != noisy[1]
    # W- is half of 1 + 2 + 3 + 4: no smaller with no minus at all, no larger with one on any of the four
    assert _of(noisy).p == pytest.approx(2 * 5 / 2**5, rel=REL)


def test_the_interval_holds_every_shift_the_exact_test_does_not_reject() -> None:
    d = np.random.default_rng(4).normal(0.3, 1, size=12)
    result = _of(d)
    assert result.low is not None
    assert result.high is not None
    for bound, inside in ((result.low, 1), (result.high, -1)):
        assert stats.wilcoxon(d - bound - inside * 1e-9, method="exact").pvalue > 0.05
        assert stats.wilcoxon(d - bound + inside * 1e-9, method="exact").pvalue <= 0.05
    assert result.low < result.difference < result.high
    assert result.difference == pytest.approx(np.median([(x + y) / 2 for i, x in enumerate(d) for y in d[i:]]))


def test_five_repeats_can_never_be_significant_and_have_no_interval() -> None:
    result = _of(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert result.p == result.smallest_p == 0.0625
    assert (result.low, result.high) == (None, None)


def test_nothing_but_zeros_tells_nothing() -> None:
    result = _of(np.zeros(6))
    assert (result.p, result.n, result.statistic, result.rank_biserial) == (1.0, 0, 0.0, None)
    assert result.note == "6 of 6 differences are zero and not ranked"


def test_symmetry_is_checked_where_the_repeats_are_enough() -> None:
    skewed = np.r_[np.linspace(0.01, 0.02, 15), 0.9, 1.5]
    (symmetry,) = [it for it in _of(skewed).assumptions if it.name == "symmetric differences"]
    assert (symmetry.statistic, symmetry.p) == pytest.approx((stats.skew(skewed), stats.skewtest(skewed).pvalue))
    assert symmetry.outcome == "contradicted"
    (few,) = [it for it in _of(skewed[:5]).assumptions if it.name == "symmetric differences"]
    assert few.p is None
    assert few.outcome.startswith("cannot be told")
