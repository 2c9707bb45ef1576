"""Paired bootstrap over groups: its binomial limit, pairing, all draws by enumeration, and what it says of itself."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from reports.errors import StatisticsError
from reports.statistics._statistic import CONSTANT, Design, Measured
from reports.statistics.clustered_bootstrap import (
    MOST_DRAWS,
    OF_THESE_MODELS,
    ClusteredBootstrap,
    draws_for,
    group_weights,
    tail_share,
    two_sided,
)


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
    assert result.p == result.smallest_p == two_sided(1 / 2001, 40)


def test_bootstrap_is_the_same_for_the_same_seed_and_says_when_groups_are_few() -> None:
    assert np.array_equal(group_weights(9, 50, seed=4), group_weights(9, 50, seed=4))
    assert group_weights(9, 50, seed=4).sum(axis=1).tolist() == [9.0] * 50
    few = ClusteredBootstrap(9).interval(_bernoulli(5, 9, group_weights(9, 1000, seed=4)), Design(overlap=True))
    assert (few.note, few.p) == ("9 groups are too few for a verdict, which takes 10", None)
    assert few.low is not None
    with pytest.raises(StatisticsError, match=r"at least 5 groups to resample, got 4"):
        ClusteredBootstrap(4).interval(_bernoulli(2, 4, group_weights(4, 10, seed=4)), Design(overlap=True))


def test_p_and_interval_over_every_possible_draw_are_those_of_the_enumeration() -> None:
    gains = np.array([0.4, -0.1, 0.3, 0.2, -0.05])
    draws = np.array([gains[list(drawn)].mean() for drawn in product(range(5), repeat=5)])
    a = Measured(repeats=gains[:3], pooled=float(gains.mean()), draws=draws)
    result = ClusteredBootstrap(5).compare(a, a.zero(), Design(overlap=True))
    share = stats.norm.cdf(-np.sqrt(5 / 4) * stats.t.ppf(0.975, 4))  # Hesterberg 2015, section 4.3
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(draws, [share, 1 - share])))
    assert result.p is None
    beyond = stats.norm.ppf((1 + (draws <= 0).sum()) / (5**5 + 1))
    doubled = ClusteredBootstrap(10, effective=5.0).compare(a, a.zero(), Design(overlap=True))
    assert doubled.p == pytest.approx(2 * stats.t.cdf(np.sqrt(4 / 5) * beyond, 4))
    assert doubled.smallest_p == two_sided(1 / (5**5 + 1), 5)


def test_unequal_groups_count_as_the_equal_ones_whose_mean_varies_as_much() -> None:
    test = ClusteredBootstrap.over(np.repeat(np.arange(12), [100, *[10] * 11]))
    assert test.n_groups == 12
    assert test.effective == pytest.approx(210**2 / (100**2 + 11 * 10**2))  # 3.97
    sizes, rng = np.array([100, *[10] * 11]), np.random.default_rng(0)
    means = (rng.normal(size=(200_000, 12)) * sizes).sum(axis=1) / sizes.sum()
    assert means.var() == pytest.approx(1 / test.effective, rel=0.02)
    assert ClusteredBootstrap.over(np.arange(30) % 10).effective == pytest.approx(10)


def test_interval_of_a_mean_over_normal_draws_is_the_t_interval() -> None:
    n, mean, sd = 12, 0.03, 0.05
    wide = sd * np.sqrt((n - 1) / n) / np.sqrt(n)  # the bootstrap's own standard error, of a sample deviation `sd`
    draws = stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000, mean, wide)
    result = ClusteredBootstrap(n).interval(
        Measured(repeats=np.ones(3), pooled=mean, draws=draws), Design(overlap=True)
    )
    expected = stats.t.interval(0.95, n - 1, mean, sd / np.sqrt(n))
    assert (result.low, result.high) == pytest.approx(expected, abs=1e-5)
    assert result.p == pytest.approx(2 * stats.t.sf(mean / (sd / np.sqrt(n)), n - 1), rel=1e-3)


@pytest.mark.parametrize("n", [5, 9, 20, 200])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_p_at_the_end_of_the_interval_is_alpha(n: int, alpha: float) -> None:
    assert two_sided(tail_share(alpha, n), n) == pytest.approx(alpha, rel=1e-9)


def test_interval_of_many_groups_is_close_to_scipys_percentile_bootstrap() -> None:
    gains = np.random.default_rng(6).normal(0.02, 0.05, size=400)
    a = Measured(repeats=gains, pooled=float(gains.mean()), draws=group_weights(400, 20_000, seed=7) @ gains / 400)
    result = ClusteredBootstrap(400).compare(a, a.zero(), Design(overlap=True))
    scipys = stats.bootstrap((gains,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(8))
    assert (result.low, result.high) == pytest.approx(tuple(scipys.confidence_interval), abs=0.0003)


def test_bootstrap_says_how_many_groups_it_has_and_where_its_draws_lie() -> None:
    few = ClusteredBootstrap(9).interval(_bernoulli(5, 9, group_weights(9, 1000, seed=4)), Design(overlap=True))
    groups, centred = few.assumptions
    assert groups.outcome == "too few for a verdict: the interval may be too narrow (10 asked for)"
    assert groups.statistic == 9
    assert (centred.statistic, centred.outcome) == (pytest.approx(0.5, abs=0.05), "not contradicted")
    many = ClusteredBootstrap(30).interval(_bernoulli(20, 30, group_weights(30, 1000, seed=4)), Design(overlap=True))
    assert many.assumptions[0].outcome == "enough (10 asked for)"


def test_draws_in_which_the_score_is_undefined_are_counted_not_hidden() -> None:
    draws = np.r_[np.full(10, np.nan), np.linspace(0.1, 0.9, 990)]
    result = ClusteredBootstrap(30).interval(
        Measured(repeats=np.ones(3), pooled=0.5, draws=draws), Design(overlap=True)
    )
    assert result.assumptions[2].outcome == "violated: 10 draws lack a class and are left out"
    assert result.low == pytest.approx(np.quantile(draws[10:], tail_share(0.05, 30)))


def test_draws_that_lie_to_one_side_of_the_gain_are_told() -> None:
    aside = Measured(repeats=np.ones(3), pooled=0.7, draws=np.linspace(0.1, 0.9, 1000))
    (_, centred) = ClusteredBootstrap(30).interval(aside, Design(overlap=True)).assumptions
    assert centred.statistic == pytest.approx(0.75, abs=0.001)
    assert centred.outcome.startswith("contradicted")


def test_bootstrap_of_equal_models_has_no_p_and_says_why() -> None:
    same = _bernoulli(5, 9, group_weights(9, 100, seed=4))
    result = ClusteredBootstrap(9).compare(same, same, Design(overlap=True))
    assert (result.difference, result.p, result.low, result.note) == (0.0, None, None, CONSTANT)
    with pytest.raises(StatisticsError, match="expected bootstrap draws of both scores, got none"):
        ClusteredBootstrap(9).compare(same, Measured(repeats=same.repeats), Design(overlap=True))
    with pytest.raises(StatisticsError, match="got NaN: a class or group is missing"):
        ClusteredBootstrap(9).compare(
            same, Measured(repeats=same.repeats, pooled=np.nan, draws=same.draws), Design(overlap=True)
        )


def test_seeds_on_one_split_widen_the_interval_by_their_own_noise_and_their_own_t() -> None:
    n, mean, groups = 20, 0.03, 0.01
    draws = stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000, mean, groups * np.sqrt((n - 1) / n))
    repeats = np.array([0.01, 0.02, 0.03, 0.06])
    a = Measured(repeats=repeats, pooled=mean, draws=draws)
    seeds = repeats.std(ddof=1) / 2
    result = ClusteredBootstrap(n).compare(a, a.zero(), Design(overlap=False))
    t = np.average(stats.t.isf(0.025, [n - 1, 3]), weights=[groups**2, seeds**2])
    half = t * np.hypot(groups, seeds)
    assert (result.low, result.high) == pytest.approx((mean - half, mean + half), abs=1e-4)
    assert result.p is not None
    at_its_end = np.average(stats.t.isf(result.p / 2, [n - 1, 3]), weights=[groups**2, seeds**2])
    assert at_its_end * np.hypot(groups, seeds) == pytest.approx(mean, rel=1e-3)
    assert result.assumptions[-1].statistic == pytest.approx(seeds**2 / (seeds**2 + groups**2), rel=1e-4)


def test_p_and_interval_with_seeds_say_the_same() -> None:
    gains, weights = np.random.default_rng(9).normal(0.02, 0.04, size=30), group_weights(30, 4000, seed=9)
    told = set()
    for mean in np.linspace(0.0, 0.05, 21):
        own = gains - gains.mean() + mean
        a = Measured(repeats=mean + np.array([-0.01, 0.0, 0.01]), pooled=mean, draws=weights @ own / 30)
        result = ClusteredBootstrap(30).compare(a, a.zero(), Design(overlap=False))
        assert result.p is not None
        assert result.low is not None
        if abs(result.p - 0.05) > 0.002:
            assert (result.p < 0.05) == (result.low > 0)
            told.add(result.p < 0.05)
    assert told == {True, False}


def test_repeats_that_share_samples_are_no_seeds_and_one_seed_speaks_of_its_models_alone() -> None:
    a = Measured(repeats=np.array([0.1, 0.3, 0.2]), pooled=0.2, draws=np.linspace(0.1, 0.3, 1000))
    once = Measured(repeats=a.repeats[:1], pooled=0.2, draws=a.draws)
    folds = ClusteredBootstrap(30).compare(a, a.zero(), Design(overlap=True))
    alone = ClusteredBootstrap(30).compare(once, once.zero(), Design(overlap=False))
    assert (folds.low, folds.high, folds.p) == (alone.low, alone.high, alone.p)
    assert (folds.note, alone.note) == ("", OF_THESE_MODELS)
    assert alone.assumptions[-1].outcome == f"violated: {OF_THESE_MODELS}"
    assert "noise of training seen" not in [it.name for it in folds.assumptions]


@pytest.mark.parametrize("n", [8, 10, 40])
@pytest.mark.parametrize("family", [1, 5])
def test_so_many_draws_are_made_that_the_whole_family_can_be_told(n: int, family: int) -> None:
    draws = draws_for(0.05, family, n, 2000)
    assert 2000 <= draws <= MOST_DRAWS
    assert two_sided(1 / (draws + 1), n) < 0.05 / family


def test_seven_groups_cannot_tell_a_family_of_five_since_seven_like_signs_are_no_rarer() -> None:
    assert draws_for(0.05, 5, 7, 2000) == MOST_DRAWS
    assert two_sided(1 / (MOST_DRAWS + 1), 7) > 0.05 / 5
    assert 2 / 2**7 > 0.05 / 5 > 2 / 2**8
