"""Tests of many models on one corpus: against the audit's worked examples, other libraries, and bad input."""

from itertools import combinations

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import AnovaRM, anova_lm
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.multitest import multipletests

from reports.errors import StatisticsError
from reports.statistics._statistic import CONSTANT, Assumption, Design, Measured, ModelsTest
from reports.statistics.cochran_q import CochranQ
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.holm import Holm
from reports.statistics.one_way_anova import OneWayAnova
from reports.statistics.paired_t import PairedT
from reports.statistics.repeated_anova import RepeatedAnova
from reports.statistics.tukey import Tukey, TukeyResult

OVERLAP, SEEDS = Design(overlap=True, ratio=150 / 700), Design(overlap=False)
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
REL, TAIL = 1e-9, 1e-7


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Scores (n repeats, k models) with a level for every repeat, and now and then a gain and unequal spread."""
    n, k = draw(st.integers(5, 20)), draw(st.integers(3, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = 0.01 * rng.uniform(0.5, 2.0, size=k)
    return 0.7 + rng.normal(scale=0.02, size=(n, 1)) + rng.normal(scale=spread, size=(n, k)) + 0.01 * rng.normal(size=k)


def long(x: np.ndarray) -> pd.DataFrame:
    n, k = x.shape
    return pd.DataFrame({"y": x.ravel(), "repeat": np.arange(n).repeat(k), "model": np.tile(np.arange(k), n)})


def check(assumptions: tuple[Assumption, ...], name: str) -> Assumption:
    (found,) = (item for item in assumptions if item.name == name)
    return found


def test_one_way_anova_agrees_with_the_audit() -> None:
    result = OneWayAnova().compare(X, OVERLAP)
    assert (result.f, result.p) == pytest.approx((1.527547268, 0.2381257678), rel=REL)
    assert (result.df1, result.df2) == (3, 20)
    assert (result.ss_models, result.ss_error) == pytest.approx((15.64666667, 68.28666667), rel=REL)
    assert result.eta2 == pytest.approx(15.64666667 / 83.93333333, rel=REL)
    assert result.independence_violated


def test_one_way_anova_gives_the_paper_its_own_effect_sizes() -> None:
    # audit example 8: five models of 20 repeats whose F is 11.62
    noise = np.random.default_rng(0).normal(size=(20, 5))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0, ddof=1)
    level = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    level *= np.sqrt(11.62 / (20 * level.var(ddof=1)))
    result = OneWayAnova().compare(noise + level, OVERLAP)
    assert (result.df1, result.df2) == (4, 95)
    assert result.f == pytest.approx(11.62, rel=REL)
    assert result.p == pytest.approx(1.009476126e-7, rel=REL)
    assert (result.eta2, result.omega2) == pytest.approx((0.3285270003, 0.2981471084), rel=REL)


def test_the_papers_t_is_significant_only_if_repeats_are_taken_as_independent() -> None:
    # audit example 8: t = 4.37 of 20 pairs, gain 2.6 points
    d = np.random.default_rng(1).normal(size=20)
    d = 2.6 + 2.660767387 * (d - d.mean()) / d.std(ddof=1)
    a, b = Measured(repeats=d), Measured(repeats=np.zeros(20))
    naive, corrected, refit = (
        PairedT().compare(a, b, Design(overlap=True, ratio=15 / 70)),
        CorrectedResampledT().compare(a, b, Design(overlap=True, ratio=15 / 70)),
        CorrectedResampledT().compare(a, b, Design(overlap=True, ratio=15 / 85)),
    )
    assert (naive.statistic, naive.p, naive.d_z) == pytest.approx((4.37, 0.0003294526746, 0.9771617062), rel=REL)
    assert (corrected.statistic, corrected.p) == pytest.approx((1.900770114, 0.07261197776), rel=REL)
    assert (refit.statistic, refit.p) == pytest.approx((2.053338428, 0.05406696982), rel=REL)


@settings(max_examples=30, deadline=None)
@given(tables())
def test_one_way_anova_agrees_with_scipy_and_statsmodels(x: np.ndarray) -> None:
    result = OneWayAnova().compare(x, OVERLAP)
    assert (result.f, result.p) == pytest.approx(tuple(stats.f_oneway(*x.T)), rel=1e-8)
    table = anova_lm(ols("y ~ C(model)", long(x)).fit())
    assert (result.ss_models, result.ss_error) == pytest.approx(tuple(table["sum_sq"]), rel=1e-8)
    assert (result.df1, result.df2) == tuple(table["df"])
    spread = check(result.assumptions, "equal spread")
    assert (spread.statistic, spread.p) == pytest.approx(tuple(stats.levene(*x.T, center="median")), rel=REL)


def test_repeated_measures_anova_agrees_with_the_audit() -> None:
    result = RepeatedAnova().compare(X, OVERLAP)
    assert (result.f, result.p) == pytest.approx((11.76736024, 0.0003185490212), rel=REL)
    assert (result.df1, result.df2) == (3, 15)
    assert (result.ss_models, result.ss_blocks, result.ss_error) == pytest.approx(
        (15.64666667, 61.63833333, 6.648333333), rel=REL
    )
    assert (result.gg_epsilon, result.hf_uncapped) == pytest.approx((0.7600082152, 1.431403641), rel=REL)
    assert result.p_gg == pytest.approx(0.001339715020, rel=REL)
    assert (result.df1_gg, result.df2_gg) == pytest.approx((3 * 0.7600082152, 15 * 0.7600082152), rel=REL)
    assert (result.hf_epsilon, result.df1_hf, result.df2_hf, result.p_hf) == (1.0, 3.0, 15.0, result.p)
    assert (result.partial_eta2, result.generalised_eta2) == pytest.approx((0.7018015998, 0.1864177919), rel=REL)
    assert (result.f_overlap, result.p_overlap) == pytest.approx((5.148220105, 0.02262489722), rel=REL)
    assert result.independence_violated


def test_f_stays_as_it_is_where_repeats_do_not_overlap() -> None:
    result = RepeatedAnova().compare(X, Design(overlap=False, ratio=150 / 700))
    assert (result.f_overlap, result.p_overlap) == (result.f, result.p_gg)
    assert not result.independence_violated


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # pingouin's use of pandas
@settings(max_examples=10, deadline=None)
@given(tables())
def test_repeated_measures_anova_agrees_with_statsmodels_and_pingouin(x: np.ndarray) -> None:
    result, frame, wide = RepeatedAnova().compare(x, OVERLAP), long(x), pd.DataFrame(x)
    table = AnovaRM(frame, "y", "repeat", within=["model"]).fit().anova_table
    assert (result.f, result.p) == pytest.approx((table["F Value"].iloc[0], table["Pr > F"].iloc[0]), rel=1e-8)
    row = pingouin.rm_anova(frame, dv="y", within="model", subject="repeat", correction=True, effsize="np2").iloc[0]
    assert (result.partial_eta2, result.p_gg) == pytest.approx((row["np2"], row["p_GG_corr"]), rel=1e-8)
    row = pingouin.rm_anova(frame, dv="y", within="model", subject="repeat", effsize="ng2").iloc[0]
    assert result.generalised_eta2 == pytest.approx(row["ng2"], rel=1e-8)
    epsilons = [pingouin.epsilon(wide, correction=kind) for kind in ("gg", "hf")]
    assert [result.gg_epsilon, result.hf_epsilon] == pytest.approx(epsilons, rel=1e-8)
    assert result.p_hf == pytest.approx(stats.f.sf(result.f, epsilons[1] * result.df1, epsilons[1] * result.df2))


@settings(max_examples=25, deadline=None)
@given(tables().filter(lambda x: len(x) > x.shape[1]))
def test_sphericity_is_mauchlys_as_in_pingouin(x: np.ndarray) -> None:
    found = check(RepeatedAnova().compare(x, OVERLAP).assumptions, "sphericity")
    expected = pingouin.sphericity(pd.DataFrame(x))
    assert (found.statistic, found.p) == pytest.approx((expected.W, min(1.0, expected.pval)), rel=1e-8)
    assert found.outcome == ("not contradicted" if expected.pval >= 0.05 else "contradicted")


def test_sphericity_cannot_be_told_where_repeats_are_no_more_than_models_and_holds_for_two() -> None:
    few = check(RepeatedAnova().compare(X[:4], OVERLAP).assumptions, "sphericity")
    assert (few.statistic, few.p) == (None, None)
    assert few.outcome == "cannot be told: W takes more repeats than models"
    assert f"epsilon {pingouin.epsilon(pd.DataFrame(X[:4])):.3f}" in few.checked_on
    two = check(RepeatedAnova().compare(X[:, :2], OVERLAP).assumptions, "sphericity")
    assert two.outcome == "holds: there is only one difference"


def test_huynh_and_feldts_epsilon_is_one_where_it_is_infinite() -> None:
    # three repeats of three models whose contrasts have equal variances and no covariance: epsilon is exactly 1
    a = np.sqrt(3) / 2
    x = np.array([[1.0, 0.0], [-0.5, a], [-0.5, -a]]) @ np.array([[1.0, -0.5, -0.5], [0.0, a, -a]])
    result = RepeatedAnova().compare(x + np.array([0.0, 0.5, 1.0]), SEEDS)
    assert result.gg_epsilon == pytest.approx(1.0)
    assert (result.hf_uncapped, result.hf_epsilon) == (None, 1.0)


def test_overlap_corrected_f_of_two_models_is_the_square_of_the_corrected_t() -> None:
    f = RepeatedAnova().compare(X[:, [0, 3]], OVERLAP)
    t = CorrectedResampledT().compare(Measured(repeats=X[:, 0]), Measured(repeats=X[:, 3]), OVERLAP)
    assert t.statistic is not None
    assert (f.f_overlap, f.p_overlap) == pytest.approx((t.statistic**2, t.p), rel=REL)


def test_anovas_say_which_assumption_was_checked_and_how_it_came_out() -> None:
    one_way, repeated = OneWayAnova().compare(X, OVERLAP), RepeatedAnova().compare(X, SEEDS)
    assert [item.name for item in one_way.assumptions] == [
        "independent models",
        "independent repeats",
        "equal spread",
        "normal residuals",
    ]
    assert check(one_way.assumptions, "independent models").outcome == "violated: models share every repeat"
    assert check(one_way.assumptions, "independent repeats").outcome.startswith("violated: ")
    normal = check(one_way.assumptions, "normal residuals")
    assert (normal.statistic, normal.p) == pytest.approx(tuple(stats.shapiro(X - X.mean(axis=0))), rel=REL)
    assert normal.outcome == "not contradicted"
    assert check(repeated.assumptions, "independent repeats").outcome.startswith("holds ")


def test_a_spread_that_differs_and_an_outlier_are_doubted() -> None:
    x = np.random.default_rng(3).normal(size=(20, 3)) * [1.0, 1.0, 20.0]
    assert check(OneWayAnova().compare(x, SEEDS).assumptions, "equal spread").outcome == "contradicted"
    x = np.random.default_rng(3).normal(size=(20, 3))
    x[0, 0] = 50.0
    assert check(OneWayAnova().compare(x, SEEDS).assumptions, "normal residuals").outcome == "contradicted"


def test_so_many_residuals_are_not_tested_and_equal_deviations_neither() -> None:
    many = np.random.default_rng(4).normal(size=(2000, 3))
    assert check(RepeatedAnova().compare(many, SEEDS).assumptions, "normal residuals").p is None
    even = np.tile([[0.0, 1.0], [2.0, 3.0]], (3, 1))
    assert check(OneWayAnova().compare(even, SEEDS).assumptions, "equal spread").p is None


def p_of(result: TukeyResult) -> list[float | None]:
    return [pair.result.p for pair in result.pairs]


def test_tukey_after_one_way_agrees_with_the_audit() -> None:
    result = Tukey(OneWayAnova()).compare(X, SEEDS)
    q = [0.2651262089, 0.8837540298, 2.474511283, 1.148880239, 2.739637492, 1.590757254]
    p = [0.9975827891, 0.9228551635, 0.3256534417, 0.8478877846, 0.2447536105, 0.6789191515]
    assert [(pair.a, pair.b) for pair in result.pairs] == list(combinations(range(4), 2))
    assert [pair.result.statistic for pair in result.pairs] == pytest.approx(q, rel=REL)
    assert p_of(result) == pytest.approx(p, rel=TAIL)
    assert (result.df, result.n, result.test) == (20, 6, "Tukey HSD after one-way ANOVA")


def test_tukey_after_repeated_measures_agrees_with_the_audit() -> None:
    result = Tukey(RepeatedAnova()).compare(X, SEEDS)
    p = [0.9528878858, 0.3412250300, 0.001072629434, 0.1534594776, 0.0004010905555, 0.03170038366]
    assert p_of(result) == pytest.approx(p, rel=TAIL)
    assert result.df == 15
    assert result.pairs[2].result.difference == pytest.approx((X[:, 0] - X[:, 3]).mean(), rel=REL)


@settings(max_examples=8, deadline=None)
@given(tables())
def test_tukey_after_one_way_agrees_with_scipy(x: np.ndarray) -> None:
    result, expected = Tukey(OneWayAnova()).compare(x, SEEDS), stats.tukey_hsd(*x.T)
    span = expected.confidence_interval(0.95)
    for pair in result.pairs:
        at, own = (pair.a, pair.b), pair.result
        assert (own.difference, own.p) == pytest.approx((expected.statistic[at], expected.pvalue[at]), rel=1e-6)
        assert (own.low, own.high) == pytest.approx((span.low[at], span.high[at]), rel=1e-6, abs=1e-12)


def test_tukey_is_refused_where_repeats_share_samples_and_says_what_to_do() -> None:
    with pytest.raises(StatisticsError, match=r"expected independent repeats, .* corrected resampled t with Holm"):
        Tukey(RepeatedAnova()).compare(X, OVERLAP)


# audit example 3
RIGHT = np.array(
    [
        [1, 1, 1],
        [1, 0, 1],
        [0, 0, 1],
        [1, 1, 1],
        [0, 1, 1],
        [1, 0, 1],
        [0, 0, 0],
        [1, 0, 0],
        [0, 0, 1],
        [1, 1, 1],
    ]
)


def test_cochran_q_agrees_with_the_audit() -> None:
    result = CochranQ().compare(RIGHT)
    assert (result.q, result.p) == pytest.approx((4.0, 0.1353352832), rel=REL)
    assert (result.n, result.k, result.df, result.n_mixed) == (10, 3, 2, 6)
    assert result.eta2 == pytest.approx(4 / (10 * 2), rel=REL)


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 60), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_cochran_q_agrees_with_statsmodels_and_does_not_hear_samples_all_models_share(
    n: int, k: int, seed: int
) -> None:
    right = np.random.default_rng(seed).integers(0, 2, size=(n, k))
    right[0] = np.arange(k) % 2
    result, expected = CochranQ().compare(right), cochrans_q(right)
    assert (result.q, result.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-8, abs=1e-12)
    shared = CochranQ().compare(np.r_[right, np.ones((7, k)), np.zeros((3, k))])
    assert shared.q == pytest.approx(result.q, rel=REL, abs=1e-12)
    assert shared.n_mixed == result.n_mixed


def test_cochran_q_says_when_models_never_differ_flags_groups_and_refuses_what_is_no_hit() -> None:
    same = CochranQ().compare(np.array([[1, 1], [0, 0], [1, 1]]), groups=2)
    assert (same.q, same.p) == (None, None)
    assert "right on the same samples" in same.note
    assert same.independence_violated
    assert not CochranQ().compare(RIGHT, groups=10).independence_violated
    with pytest.raises(StatisticsError, match=r"right or wrong, got neither at \[1\]"):
        CochranQ().compare(np.array([[1.0, 0.0], [1.0, np.nan]]))
    with pytest.raises(StatisticsError, match=r"at least 2 models, got shape \(10, 1\)"):
        CochranQ().compare(RIGHT[:, :1])


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p: list[float]) -> None:
    assert Holm().adjust(p) == pytest.approx(list(multipletests(p, method="holm")[1]), rel=REL, abs=1e-300)


ANOVAS = [OneWayAnova(), RepeatedAnova()]


@pytest.mark.parametrize("test", ANOVAS)
def test_anovas_refuse_nan_too_few_repeats_and_a_single_model(test: ModelsTest[object]) -> None:
    with pytest.raises(StatisticsError, match=r"in repeat \[1\]"):
        test.compare(np.where(X == 69.0, np.nan, X), OVERLAP)
    with pytest.raises(StatisticsError, match=r"at least 3 repeats"):
        test.compare(X[:2], OVERLAP)
    with pytest.raises(StatisticsError, match=r"at least 2 models\), got \(6, 1\)"):
        test.compare(X[:, :1], OVERLAP)


def test_scores_without_spread_have_no_f_and_say_why() -> None:
    x = np.tile([0.1, 0.2, 0.7], (5, 1))
    for anova in (OneWayAnova(), RepeatedAnova()):
        result = anova.compare(x, OVERLAP)
        assert (result.f, result.p, result.note) == (None, None, CONSTANT)
    assert Tukey(RepeatedAnova()).compare(x, SEEDS).note == CONSTANT
