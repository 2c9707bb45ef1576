"""Statistics against the audit's worked examples, independent libraries, and bad input."""

import importlib

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from reports.errors import StatisticsError
from reports.statistics._statistic import CONSTANT, Correction, Design, Measured, ModelsTest, PairTest, Statistic
from reports.statistics.clustered_bootstrap import ClusteredBootstrap, group_weights
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.holm import Holm
from reports.statistics.one_way_anova import OneWayAnova
from reports.statistics.paired_t import PairedT
from reports.statistics.repeated_anova import RepeatedAnova
from stores.plugins import find_plugin, plugin_names

A = Measured(repeats=np.array([81.4, 79.8, 83.2, 80.5, 82.9, 78.7, 81.9, 80.6, 82.4, 80.1]))
B = Measured(repeats=np.array([79.9, 80.2, 81.0, 79.4, 82.1, 77.0, 79.6, 81.2, 80.0, 78.8]))
OVERLAP = Design(overlap=True, ratio=150 / 700)
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
REL = 1e-9


def test_corrected_resampled_t_agrees_with_the_audit() -> None:
    result = CorrectedResampledT().compare(A, B, OVERLAP)
    assert result.difference == pytest.approx(1.23, rel=REL)
    assert result.statistic == pytest.approx(2.085511436, rel=REL)
    assert result.p == pytest.approx(0.06666683886, rel=REL)
    assert (result.low, result.high) == pytest.approx((-0.1041827151, 2.564182715), rel=REL)
    assert (result.df, result.n) == (9, 10)
    assert result.d_z == pytest.approx(1.169162551, rel=REL)
    assert result.hedges_gz == pytest.approx(1.068468300, rel=REL)
    assert not result.independence_violated


def test_corrected_resampled_t_after_a_refit_agrees_with_the_audit() -> None:
    result = CorrectedResampledT().compare(A, B, Design(overlap=True, ratio=150 / 850))
    assert result.statistic == pytest.approx(2.223568064, rel=REL)
    assert result.p == pytest.approx(0.05325301507, rel=REL)
    assert (result.low, result.high) == pytest.approx((-0.02134613842, 2.481346138), rel=REL)


def test_naive_paired_t_agrees_with_the_audit_and_is_flagged() -> None:
    result = PairedT().compare(A, B, OVERLAP)
    assert result.statistic == pytest.approx(3.697216615, rel=REL)
    assert result.p == pytest.approx(0.004941819097, rel=REL)
    assert (result.low, result.high) == pytest.approx((0.4774194510, 1.982580549), rel=REL)
    assert result.independence_violated
    assert not PairedT().compare(A, B, Design(overlap=False)).independence_violated


def test_one_way_anova_agrees_with_the_audit_and_scipy() -> None:
    result = OneWayAnova().compare(X, OVERLAP)
    assert (result.f, result.p) == pytest.approx((1.527547268, 0.2381257678), rel=REL)
    assert (result.f, result.p) == pytest.approx(tuple(stats.f_oneway(*X.T)), rel=REL)
    assert (result.df1, result.df2) == (3, 20)
    assert result.eta2 == pytest.approx(15.64666667 / 83.93333333, rel=REL)
    assert result.independence_violated


def test_repeated_measures_anova_agrees_with_the_audit() -> None:
    result = RepeatedAnova().compare(X, OVERLAP)
    assert (result.f, result.p) == pytest.approx((11.76736024, 0.0003185490212), rel=REL)
    assert (result.df1, result.df2) == (3, 15)
    assert result.gg_epsilon == pytest.approx(0.7600082152, rel=REL)
    assert result.p_gg == pytest.approx(0.001339715020, rel=REL)
    assert (result.partial_eta2, result.eta2) == pytest.approx((0.7018015998, 0.1864177919), rel=REL)
    assert (result.f_overlap, result.p_overlap) == pytest.approx((5.148220105, 0.02262489722), rel=REL)
    assert result.independence_violated


def test_repeated_measures_anova_agrees_with_statsmodels_on_random_scores() -> None:
    x = np.random.default_rng(5).normal(size=(8, 5))
    long = pd.DataFrame({"y": x.ravel(), "block": np.repeat(range(8), 5), "model": np.tile(range(5), 8)})
    table = AnovaRM(long, "y", "block", within=["model"]).fit().anova_table
    result = RepeatedAnova().compare(x, OVERLAP)
    assert (result.f, result.p) == pytest.approx((table["F Value"].iloc[0], table["Pr > F"].iloc[0]), rel=REL)


def test_overlap_corrected_f_of_two_models_is_the_square_of_the_corrected_t() -> None:
    f = RepeatedAnova().compare(np.stack([A.repeats, B.repeats], axis=1), OVERLAP)
    t = CorrectedResampledT().compare(A, B, OVERLAP)
    assert t.statistic is not None
    assert (f.f_overlap, f.p_overlap) == pytest.approx((t.statistic**2, t.p), rel=REL)


def test_holm_agrees_with_the_audit() -> None:
    p = [0.6512349752, 0.06869393065, 0.0008776492520, 0.1339170336, 0.004980669866, 0.02319830784]
    expected = [0.6512349752, 0.2060817920, 0.005265895512, 0.2678340671, 0.02490334933, 0.09279323138]
    assert Holm().adjust(p) == pytest.approx(expected, rel=REL)


def test_holm_counts_an_impossible_test_as_a_member_of_the_family() -> None:
    assert Holm().adjust([0.01, None]) == [pytest.approx(0.02), None]
    assert Holm().adjust([]) == []


def _bernoulli(right: int, n: int, weights: np.ndarray) -> Measured:
    hits = np.r_[np.ones(right), np.zeros(n - right)]
    return Measured(repeats=hits[:3], pooled=right / n, draws=weights @ hits / n)


def test_bootstrap_of_an_accuracy_approaches_its_binomial_limit() -> None:
    accuracy = _bernoulli(1535, 1876, group_weights(1876, 4000, seed=1))
    result = ClusteredBootstrap(1876).interval(accuracy, Design(overlap=False))
    # audit example 4: the percentile interval for infinitely many draws
    assert (result.low, result.high) == pytest.approx((0.8006396588, 0.8352878465), abs=0.0012)
    assert result.difference == 1535 / 1876


def test_bootstrap_pairs_models_so_that_a_shared_difficulty_cancels() -> None:
    rng = np.random.default_rng(2)
    weights, hard = group_weights(40, 2000, seed=3), rng.normal(scale=0.2, size=40)
    gain = rng.normal(0.03, 0.01, size=40)
    a, b = (Measured(repeats=np.zeros(3), pooled=float(v.mean()), draws=weights @ v / 40) for v in (hard + gain, hard))
    result = ClusteredBootstrap(40).compare(a, b, Design(overlap=True))
    assert result.low is not None
    assert result.high is not None
    expected = stats.t.interval(0.95, 39, gain.mean(), gain.std(ddof=1) / np.sqrt(40))
    assert (result.low, result.high) == pytest.approx(expected, abs=0.001)
    assert result.p == pytest.approx(2 / 2001)


def test_bootstrap_is_the_same_for_the_same_seed_and_says_when_groups_are_few() -> None:
    assert np.array_equal(group_weights(9, 50, seed=4), group_weights(9, 50, seed=4))
    assert group_weights(9, 50, seed=4).sum(axis=1).tolist() == [9.0] * 50
    few = ClusteredBootstrap(9).interval(_bernoulli(5, 9, group_weights(9, 1000, seed=4)), Design(overlap=True))
    assert few.note == "only 9 groups: the interval is likely too narrow"
    with pytest.raises(StatisticsError, match=r"at least 5 groups to resample, got 4"):
        ClusteredBootstrap(4).interval(_bernoulli(2, 4, group_weights(4, 10, seed=4)), Design(overlap=True))


@pytest.mark.parametrize("test", [CorrectedResampledT(), PairedT()])
def test_t_tests_refuse_nan_unequal_lengths_and_too_few_repeats(test: PairTest) -> None:
    with pytest.raises(StatisticsError, match=r"same repeats, got 10 and 9 values"):
        test.compare(A, Measured(repeats=B.repeats[:9]), OVERLAP)
    with pytest.raises(StatisticsError, match=r"NaN or infinity in repeat \[4\]"):
        test.compare(A, Measured(repeats=np.where(np.arange(10) == 4, np.nan, B.repeats)), OVERLAP)
    with pytest.raises(StatisticsError, match=r"at least 3 repeats, got 2"):
        test.compare(Measured(repeats=A.repeats[:2]), Measured(repeats=B.repeats[:2]), OVERLAP)


@pytest.mark.parametrize("test", [OneWayAnova(), RepeatedAnova()])
def test_anovas_refuse_nan_and_too_few_repeats(test: ModelsTest) -> None:
    with pytest.raises(StatisticsError, match=r"in repeat \[1\]"):
        test.compare(np.where(X == 69.0, np.nan, X), OVERLAP)
    with pytest.raises(StatisticsError, match=r"at least 3 repeats"):
        test.compare(X[:2], OVERLAP)


@pytest.mark.parametrize("test", [CorrectedResampledT(), PairedT()])
def test_a_constant_difference_has_no_p_and_says_why(test: PairTest) -> None:
    result = test.compare(Measured(repeats=A.repeats + 0.1), A, OVERLAP)
    assert result.difference == pytest.approx(0.1)
    assert (result.p, result.low, result.high, result.note) == (None, None, None, CONSTANT)


@pytest.mark.parametrize("test", [OneWayAnova(), RepeatedAnova()])
def test_scores_without_spread_have_no_f_and_say_why(test: ModelsTest) -> None:
    result = test.compare(np.tile([0.1, 0.2, 0.7], (5, 1)), OVERLAP)
    assert (result.f, result.p, result.note) == (None, None, CONSTANT)


@pytest.mark.parametrize("name", plugin_names("reports.statistics"))
def test_every_statistic_is_one_public_class_that_names_its_source(name: str) -> None:
    found = find_plugin("reports.statistics", name, Statistic)
    assert issubclass(found, PairTest | ModelsTest | Correction)
    assert found.title
    assert any(character.isdigit() for character in found.source)
    assert importlib.import_module(found.__module__).__doc__
