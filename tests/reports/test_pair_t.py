"""The t tests of two models: the audit's worked examples, and scipy, pingouin and baycomp on random scores."""

import math

import baycomp
import numpy as np
import pingouin
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from reports.errors import StatisticsError
from reports.statistics._statistic import CONSTANT, Design, Measured, PairTest
from reports.statistics.bayesian_correlated_t import BayesianCorrelatedT
from reports.statistics.corrected_repeated_kfold_t import CorrectedRepeatedKFoldT
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.paired_t import PairedT

REL = 1e-9
# audit example 1
A = Measured(repeats=np.array([81.4, 79.8, 83.2, 80.5, 82.9, 78.7, 81.9, 80.6, 82.4, 80.1]))
B = Measured(repeats=np.array([79.9, 80.2, 81.0, 79.4, 82.1, 77.0, 79.6, 81.2, 80.0, 78.8]))
OVERLAP = Design(overlap=True, ratio=150 / 700, shared=0.15)
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
EXAMPLE_2 = {
    (0, 1): (0.4803844614, 0.6512349752),
    (0, 2): (-2.312486450, 0.06869393065),
    (0, 3): (-7.066562512, 0.0008776492520),
    (1, 2): (-1.787374330, 0.1339170336),
    (1, 3): (-4.777719469, 0.004980669866),
    (2, 3): (-3.230291412, 0.02319830784),
}


@st.composite
def _two_models(draw: st.DrawFn) -> tuple[Measured, Measured, int, int]:
    """Scores of two models over rounds x folds, in thousandths, and these two numbers."""
    rounds, folds = draw(st.integers(1, 3)), draw(st.integers(3, 6))
    column = st.lists(st.integers(0, 1000), min_size=rounds * folds, max_size=rounds * folds)
    a, b = (np.array(draw(column)) / 1000 for _ in range(2))
    assume(min(v.std() for v in (a, b, a - b)) > 1e-4)
    return Measured(repeats=a), Measured(repeats=b), rounds, folds


def test_corrected_resampled_t_agrees_with_the_audit() -> None:
    result = CorrectedResampledT().compare(A, B, OVERLAP)
    assert result.difference == pytest.approx(1.23, rel=REL)
    assert result.statistic == pytest.approx(2.085511436, rel=REL)
    assert result.p == pytest.approx(0.06666683886, rel=REL)
    assert (result.low, result.high) == pytest.approx((-0.1041827151, 2.564182715), rel=REL)
    assert (result.df, result.n) == (9, 10)
    assert result.d_z == pytest.approx(1.169162551, rel=REL)
    assert result.d_av == pytest.approx(0.8590576235, rel=REL)
    assert result.hedges_gz == pytest.approx(1.068468300, rel=REL)
    assert result.rank_biserial == pytest.approx(0.8909090909, rel=REL)
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


@pytest.mark.parametrize(("pair", "expected"), EXAMPLE_2.items(), ids=str)
def test_naive_paired_t_agrees_with_the_audit_on_every_pair(
    pair: tuple[int, int], expected: tuple[float, float]
) -> None:
    result = PairedT().compare(*(Measured(repeats=X[:, i]) for i in pair), OVERLAP)
    assert (result.statistic, result.p) == pytest.approx(expected, rel=REL)


@pytest.mark.parametrize(
    ("test", "ratio", "t", "p"),
    [
        (PairedT(), 0.0, 4.37, 0.0003294526746),
        (CorrectedResampledT(), 15 / 70, 1.900770114, 0.07261197776),
        (CorrectedResampledT(), 15 / 85, 2.053338428, 0.05406696982),
    ],
    ids=["naive", "15 to 70", "15 to 85"],
)
def test_the_t_of_the_paper_at_twenty_runs_agrees_with_the_audit(
    test: PairTest, ratio: float, t: float, p: float
) -> None:
    spread = np.tile([1.0, -1.0], 10)
    gains = 2.6 + 2.6 * math.sqrt(20) / 4.37 * spread / spread.std(ddof=1)  # so that the naive t is 4.37
    design = Design(overlap=True, ratio=ratio)
    result = test.compare(Measured(repeats=gains), Measured(repeats=np.zeros(20)), design)
    assert (result.statistic, result.p) == pytest.approx((t, p), rel=REL)
    assert result.d_z == pytest.approx(0.9771617062, rel=REL)


@pytest.mark.parametrize(
    ("n", "p"),
    [(5, 0.0119680784), (10, 0.001797089542), (20, 0.0003294526746)],
)
def test_what_a_t_of_4_37_says_depends_on_the_pairs(n: int, p: float) -> None:
    spread = np.arange(n) - (n - 1) / 2
    gains = spread / spread.std(ddof=1) + 4.37 / math.sqrt(n)
    result = PairedT().compare(Measured(repeats=gains), Measured(repeats=np.zeros(n)), Design(overlap=False))
    assert (result.statistic, result.p) == pytest.approx((4.37, p), rel=REL)


@settings(deadline=None)
@given(_two_models())
def test_naive_paired_t_is_scipys(models: tuple[Measured, Measured, int, int]) -> None:
    a, b, *_ = models
    result, expected = PairedT().compare(a, b, OVERLAP), stats.ttest_rel(a.repeats, b.repeats)
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue), rel=REL, abs=1e-12)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval()), rel=REL, abs=1e-12)


@settings(deadline=None)
@given(_two_models())
def test_corrected_k_fold_t_and_the_posterior_are_baycomps(models: tuple[Measured, Measured, int, int]) -> None:
    a, b, rounds, folds = models
    design = Design(overlap=True, ratio=1 / (folds - 1))
    _, positive = baycomp.two_on_single(b.repeats, a.repeats, rope=0, runs=rounds)
    t = CorrectedRepeatedKFoldT().compare(a, b, design)
    assert t.p == pytest.approx(2 * min(positive, 1 - positive), abs=1e-12)
    assert t.df == rounds * folds - 1
    posterior = BayesianCorrelatedT(rope=0.01).compare(a, b, design)
    assert posterior.p_positive == pytest.approx(positive, abs=1e-12)
    three = (posterior.p_left, posterior.p_rope, posterior.p_right)
    assert three == pytest.approx(baycomp.two_on_single(b.repeats, a.repeats, rope=0.01, runs=rounds), abs=1e-12)


@settings(deadline=None)
@given(_two_models(), st.floats(0.01, 1))
def test_any_ratio_widens_the_naive_interval_by_the_root_of_the_variance_factor(
    models: tuple[Measured, Measured, int, int], ratio: float
) -> None:
    a, b, *_ = models
    n, design = a.repeats.size, Design(overlap=True, ratio=ratio)
    d = a.repeats - b.repeats
    result = CorrectedResampledT().compare(a, b, design)
    reach = stats.t.isf(0.025, n - 1) * d.std(ddof=1) * math.sqrt(1 / n + ratio)
    assert (result.low, result.high) == pytest.approx((d.mean() - reach, d.mean() + reach), rel=REL, abs=1e-12)
    posterior = BayesianCorrelatedT().compare(a, b, design)
    assert (posterior.low, posterior.high) == pytest.approx((result.low, result.high), rel=REL, abs=1e-12)
    assert result.p == pytest.approx(2 * min(posterior.p_positive or 0.0, 1 - (posterior.p_positive or 0.0)), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_effect_sizes_are_pingouins(seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 30, size=(2, 12)).astype(float)
    result = CorrectedResampledT().compare(Measured(repeats=a), Measured(repeats=b), OVERLAP)
    # pingouin calls d_av Cohen's d and leaves out its sign
    assert abs(result.d_av or 0.0) == pytest.approx(pingouin.ttest(a, b, paired=True)["cohen_d"].iloc[0], rel=REL)
    assert result.rank_biserial == pytest.approx(pingouin.wilcoxon(a, b)["RBC"].iloc[0], rel=REL)


def test_bayesian_correlated_t_agrees_with_the_audit() -> None:
    result = BayesianCorrelatedT(rope=1.0).compare(A, B, OVERLAP)
    assert result.p_left == pytest.approx(0.002171000695, rel=REL)
    assert result.p_rope == pytest.approx(0.3506412308, rel=REL)
    assert result.p_right == pytest.approx(0.6471877685, rel=REL)
    assert result.p_positive == pytest.approx(0.9666665806, rel=REL)
    assert (result.difference, result.df) == (pytest.approx(1.23, rel=REL), 9)


def test_a_region_of_equivalence_has_a_width() -> None:
    with pytest.raises(StatisticsError, match=r"ROPE of at least 0, got -0\.01"):
        BayesianCorrelatedT(rope=-0.01)


def test_a_t_test_says_what_it_takes_for_granted_and_how_that_came_out() -> None:
    found = {it.name: it for it in PairedT().compare(A, B, OVERLAP).assumptions}
    w, p = stats.shapiro(A.repeats - B.repeats)
    assert (found["normal differences"].statistic, found["normal differences"].p) == pytest.approx((w, p), rel=REL)
    assert found["normal differences"].outcome == "not contradicted"
    assert found["independent repeats"].outcome.startswith("violated: a repeat has 15% of its test samples in common")
    corrected = {it.name: it for it in CorrectedResampledT().compare(A, B, OVERLAP).assumptions}
    assert "independent repeats" not in corrected
    assert corrected["correlation of repeats"].statistic == pytest.approx(150 / 850)


@pytest.mark.parametrize(
    ("design", "outcome"),
    [
        (Design(overlap=True, shared=0.0), "violated: repeats train on parts that overlap"),
        (
            Design(overlap=False, shared=1.0),
            "holds for the noise of training on this one split, and for nothing beyond",
        ),
    ],
    ids=["folds", "one split"],
)
def test_independence_is_judged_by_the_protocol(design: Design, outcome: str) -> None:
    assert PairedT().compare(A, B, design).assumptions[0].outcome.startswith(outcome)


def test_differences_with_an_outlier_contradict_normality() -> None:
    outlier = Measured(repeats=B.repeats + np.r_[np.linspace(0.1, 0.2, 9), 9.0])
    (normal,) = [it for it in PairedT().compare(outlier, B, OVERLAP).assumptions if it.name == "normal differences"]
    assert normal.outcome == "contradicted"


@pytest.mark.parametrize("test", [CorrectedResampledT(), CorrectedRepeatedKFoldT(), PairedT(), BayesianCorrelatedT()])
def test_a_constant_difference_has_no_p_and_says_why(test: PairTest | BayesianCorrelatedT) -> None:
    result = test.compare(Measured(repeats=A.repeats + 0.1), A, OVERLAP)
    assert result.difference == pytest.approx(0.1)
    assert (result.low, result.high, result.note) == (None, None, CONSTANT)
    assert {getattr(result, name, None) for name in ("p", "p_left", "p_positive", "d_z", "hedges_gz")} == {None}
