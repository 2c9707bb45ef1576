"""Exact sign flips: the audit's oracle, an enumeration, and scipy."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from reports.errors import StatisticsError
from reports.statistics._statistic import Design, Measured
from reports.statistics.sign_flips import EXACT_UP_TO, SignFlips

# audit example 1
A = Measured(repeats=np.array([81.4, 79.8, 83.2, 80.5, 82.9, 78.7, 81.9, 80.6, 82.4, 80.1]))
B = Measured(repeats=np.array([79.9, 80.2, 81.0, 79.4, 82.1, 77.0, 79.6, 81.2, 80.0, 78.8]))
OVERLAP = Design(overlap=True, ratio=150 / 700)


def of(d: np.ndarray) -> Measured:
    return Measured(repeats=np.asarray(d, dtype=np.float64))


def test_sign_flips_agree_with_the_audit() -> None:
    result = SignFlips().compare(A, B, OVERLAP)
    assert result.p == pytest.approx(0.009765625, rel=1e-9)
    assert result.difference == pytest.approx(1.23, rel=1e-9)
    assert (result.n, result.smallest_p, result.independence_violated) == (10, 2 / 2**10, True)


@pytest.mark.parametrize("seed", range(8))
def test_p_is_that_of_writing_all_patterns_out_and_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = np.round(rng.normal(0.4, 1.0, size=rng.integers(3, 12)), 1)  # rounded: patterns tie with the one observed
    sums = [abs(np.dot(signs, d)) for signs in product((-1, 1), repeat=len(d))]
    p = np.mean(np.array(sums) >= abs(d.sum()) - 1e-9)
    assert SignFlips().compare(of(d), of(np.zeros(len(d))), OVERLAP).p == pytest.approx(p, rel=1e-12)
    flipped = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert flipped.pvalue == pytest.approx(p, rel=1e-9)


def test_differences_that_sum_to_nothing_have_p_1_and_too_many_are_refused() -> None:
    assert SignFlips().compare(of([1.0, -1.0, 2.0, -2.0]), of(np.zeros(4)), OVERLAP).p == 1.0
    many = np.random.default_rng(1).normal(size=EXACT_UP_TO + 1)
    with pytest.raises(StatisticsError, match="expected at most 40 repeats, got 41"):
        SignFlips().compare(of(many), of(np.zeros(len(many))), OVERLAP)


def test_forty_repeats_are_exact_too() -> None:
    d = np.r_[np.full(30, 1.0), np.full(10, -1.0)]
    exact = 2 * stats.binom.sf(29, 40, 0.5)  # differences of one size: sign flips are the sign test
    assert SignFlips().compare(of(d), of(np.zeros(40)), OVERLAP).p == pytest.approx(exact, rel=1e-9)
