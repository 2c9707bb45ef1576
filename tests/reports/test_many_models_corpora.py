"""Tests over several corpora: against the audit's worked examples, other libraries, and repeats posing as blocks."""

import baycomp
import numpy as np
import pytest
import scikit_posthocs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betainc

from reports.errors import StatisticsError
from reports.statistics._corpora import CorporaTest
from reports.statistics.bayesian_signed_rank import BayesianSignedRank
from reports.statistics.friedman import Friedman
from reports.statistics.nemenyi import Nemenyi

# audit example 2: six blocks x text, concatenation, vote, weighted
X = np.array(
    [
        [70.1, 69.4, 71.3, 72.6],
        [68.3, 69.0, 68.8, 70.9],
        [72.5, 71.1, 72.0, 73.8],
        [66.9, 67.4, 68.1, 67.9],
        [71.4, 70.2, 72.7, 73.1],
        [69.6, 70.5, 69.9, 71.7],
    ]
)
CORPORA = ("cremad", "iemocap", "meld", "mosei", "ravdess", "sewa")
REL, TAIL = 1e-9, 1e-7


def names(n: int) -> list[str]:
    return [f"corpus {i}" for i in range(n)]


def random_scores(n: int, k: int, seed: int) -> np.ndarray:
    """Scores in steps of 0.1, so that some tie."""
    return np.random.default_rng(seed).integers(0, 11, size=(n, k)) / 10


def test_friedman_agrees_with_the_audit() -> None:
    result = Friedman().compare(X, CORPORA)
    assert [6 * 5 - 6 * rank for rank in result.mean_ranks] == pytest.approx([10, 11, 16, 23], rel=REL)
    assert (result.chi2, result.p) == pytest.approx((10.6, 0.01409765951), rel=REL)
    assert (result.f, result.p_f) == pytest.approx((7.162162162, 0.003291510822), rel=REL)
    assert (result.df1, result.df2) == (3, 15)
    assert result.kendall_w == pytest.approx(0.5888888889, rel=REL)


def test_friedman_with_a_tie_agrees_with_the_audit() -> None:
    x = X.copy()
    x[0, 0] = 71.3
    result = Friedman().compare(x, CORPORA)
    assert (result.chi2, result.p) == pytest.approx((10.22033898, 0.01678310307), rel=REL)


def test_float_noise_breaks_no_tie() -> None:
    x = X / 100
    x[0, 0], x[0, 2] = 0.1 + 0.2, 0.3
    assert Friedman().compare(x, CORPORA) == Friedman().compare(np.round(x, 12), CORPORA)


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 20), st.integers(3, 6), st.integers(0, 2**32 - 1))
def test_friedman_agrees_with_scipy_where_scores_tie(n: int, k: int, seed: int) -> None:
    x = random_scores(n, k, seed)
    result, expected = Friedman().compare(x, names(n)), stats.friedmanchisquare(*x.T)
    assert (result.chi2, result.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-8, abs=1e-12)
    # Iman and Davenport's F is that of an analysis of variance of the ranks
    ranks = stats.rankdata(x, axis=1)
    models = n * ((ranks.mean(axis=0) - (k + 1) / 2) ** 2).sum()
    error = ((ranks - (k + 1) / 2) ** 2).sum() - models
    assert result.f == pytest.approx(models / error * (n - 1), rel=1e-8, abs=1e-12)


def test_friedman_says_when_all_tie_and_when_all_corpora_agree() -> None:
    tied = Friedman().compare(np.full((5, 3), 0.5), names(5))
    assert (tied.chi2, tied.p, tied.note) == (None, None, "all models tie on every corpus, so no test is possible")
    agreed = Friedman().compare(np.tile([0.1, 0.2, 0.3], (5, 1)), names(5))
    assert (agreed.f, agreed.p_f, agreed.kendall_w) == (None, None, pytest.approx(1.0))
    assert agreed.p == pytest.approx(np.exp(-5))  # chi-squared 10 with two degrees of freedom


def test_nemenyi_agrees_with_the_audit() -> None:
    result = Nemenyi().compare(X, CORPORA)
    assert (result.q, result.cd) == pytest.approx((2.569031773, 1.914843227), rel=TAIL)
    p = [0.9960587537, 0.5362869684, 0.01912964124, 0.6783876864, 0.03664844286, 0.3986313633]
    assert [pair.result.p for pair in result.pairs] == pytest.approx(p, rel=TAIL)
    apart = [(pair.a, pair.b) for pair in result.pairs if abs(pair.result.difference) > result.cd]
    assert apart == [(0, 3), (1, 3)]
    assert result.pairs[2].result.difference == pytest.approx((23 - 10) / 6)


@settings(max_examples=8, deadline=None)
@given(st.integers(5, 15), st.integers(3, 6), st.integers(0, 2**32 - 1))
def test_nemenyi_agrees_with_scikit_posthocs(n: int, k: int, seed: int) -> None:
    x = random_scores(n, k, seed)
    expected = scikit_posthocs.posthoc_nemenyi_friedman(x).to_numpy()
    pairs = Nemenyi().compare(x, names(n)).pairs
    assert [pair.result.p for pair in pairs] == pytest.approx([expected[pair.a, pair.b] for pair in pairs], rel=1e-6)


def test_nemenyi_says_when_it_can_never_tell_models_apart() -> None:
    many = np.random.default_rng(0).normal(size=(5, 6))
    assert Nemenyi().compare(many, names(5)).note == ""
    # audit 3.1: with six models on five corpora it is 3.37; at alpha 1e-4 it is 5.32, above the largest gap
    assert Nemenyi().compare(many, names(5)).cd == pytest.approx(3.37, abs=0.005)
    assert "no gap of mean ranks" in Nemenyi(alpha=1e-4).compare(many, names(5)).note


@pytest.mark.parametrize("n", [5, 8])
def test_signed_rank_of_equal_gains_agrees_with_the_closed_form(n: int) -> None:
    # audit example 7: P(right) = I_{1/sqrt 2}(0.5, n), E[theta_rope] = s (s + 1) / ((n + s) (n + s + 1))
    x = np.stack([np.full(n, 0.75), np.full(n, 0.70)], axis=1)
    result = BayesianSignedRank(rope=0.01, draws=200_000, seed=1).compare(x, names(n))
    expected = betainc(0.5, n, 2**-0.5)
    assert result.p_better == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 200_000))
    assert result.theta_rope == pytest.approx(0.75 / ((n + 0.5) * (n + 1.5)), rel=0.02)
    assert result.p_worse == 0.0
    assert result.p_worse + result.p_alike + result.p_better == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_the_closed_form_is_the_audits(n: int) -> None:
    expected = {1: 0.8408964153, 3: 0.9910944096, 5: 0.9993892390}[n]
    assert betainc(0.5, n, 2**-0.5) == pytest.approx(expected, rel=REL)


@settings(max_examples=6, deadline=None)
@given(st.integers(5, 12), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.05]))
def test_signed_rank_agrees_with_baycomp(n: int, seed: int, rope: float) -> None:
    rng = np.random.default_rng(seed)
    x = 0.7 + 0.05 * rng.normal(size=(n, 2))
    result = BayesianSignedRank(rope=rope, draws=50_000, seed=0).compare(x, names(n))
    other = baycomp.SignedRankTest.sample(x[:, 1], x[:, 0], rope=rope, nsamples=4_000, random_state=0)
    expected = np.bincount(other.argmax(axis=1), minlength=3) / 4_000
    found = np.array([result.p_worse, result.p_alike, result.p_better])
    error = np.sqrt(np.maximum(expected * (1 - expected), 1e-3) * (1 / 4_000 + 1 / 50_000))
    assert (np.abs(found - expected) < 4.5 * error).all()


def test_signed_rank_knows_no_side_where_nothing_differs_and_keeps_to_its_seed() -> None:
    alike = np.full((6, 2), 0.5)
    without = BayesianSignedRank(rope=0.0, draws=1_000).compare(alike, CORPORA)
    assert (without.p_worse, without.p_alike, without.p_better) == (0.5, 0.0, 0.5)
    assert BayesianSignedRank(rope=0.01, draws=1_000).compare(alike, CORPORA).p_alike == 1.0
    first, again, other = (BayesianSignedRank(draws=1_000, seed=s).compare(X[:, :2] / 100, CORPORA) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_signed_rank_refuses_more_than_two_models() -> None:
    with pytest.raises(StatisticsError, match="scores of two models, a and b, got 4"):
        BayesianSignedRank().compare(X, CORPORA)


@pytest.mark.parametrize("test", [Friedman(), Nemenyi(), BayesianSignedRank()])
def test_repeats_of_one_corpus_are_not_blocks(test: CorporaTest[object]) -> None:
    with pytest.raises(StatisticsError, match=r"repeats are not blocks.* got 6 rows of 1; .*corrected resampled t"):
        test.compare(X[:, :2], ["meld"] * 6)
    with pytest.raises(StatisticsError, match=r"got 6 rows of 5; "):
        test.compare(X[:, :2], (*CORPORA[:5], "meld"))
    with pytest.raises(StatisticsError, match=r"at least 5 different corpora, got 4 rows of 4"):
        test.compare(X[:4, :2], CORPORA[:4])
    with pytest.raises(StatisticsError, match=r"NaN or infinity on meld: drop"):
        test.compare(np.where(X[2, 1] == X, np.nan, X)[:, :2], CORPORA)
    with pytest.raises(StatisticsError, match=r"of 6 corpora, got \(5, 2\)"):
        test.compare(X[:5, :2], CORPORA)
