"""What a study can see, against statsmodels, closed forms and counting by hand."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from reports.case import Case
from reports.chapters.limits import DesignLimits
from reports.comparisons import STRATEGIES
from reports.findings.limits import GroupSpread, Limits, Spread, find_limits, spread_of
from reports.statistics.clustered_bootstrap import two_sided
from tests.reports.conftest import REPEATS, Written

TEXT = "unimodal[text]"
NORMAL = 1.959963985 + 0.8416212336  # quantiles of 0.975 and 0.8


@settings(deadline=None, max_examples=40)
@given(n=st.integers(3, 60), ratio=st.sampled_from([0.0, 15 / 70, 0.25]), effect=st.floats(0.05, 1.0))
def test_power_agrees_with_statsmodels_whose_effect_is_in_corrected_standard_errors(
    n: int, ratio: float, effect: float
) -> None:
    spread = Spread(sd=0.02, n=n, ratio=ratio)
    theirs = TTestPower().power(effect / math.sqrt(1 + n * ratio), n, 0.05)
    assert spread.power(0.02 * effect, 0.05) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("n", [3, 6, 20, 100])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 9])
def test_the_detectable_gain_is_found_four_times_in_five(n: int, alpha: float) -> None:
    spread = Spread(sd=0.013, n=n, ratio=15 / 70)
    assert spread.power(spread.detectable(alpha), alpha) == pytest.approx(0.8, abs=1e-9)


def test_no_number_of_repeats_shows_less_than_the_shared_samples_allow() -> None:
    spread = Spread(sd=0.02, n=20, ratio=15 / 70)
    floor = spread.detectable(0.05, math.inf)
    assert floor == pytest.approx(NORMAL * 0.02 * math.sqrt(15 / 70), rel=1e-5)
    assert spread.detectable(0.05, 1_000_000) == pytest.approx(floor, rel=1e-4)
    assert spread.needed(0.999 * floor, 0.05) is None


@settings(deadline=None, max_examples=20)
@given(gain=st.floats(0.028, 0.2))
def test_the_repeats_needed_are_the_fewest_that_do(gain: float) -> None:
    spread = Spread(sd=0.02, n=20, ratio=15 / 70)
    needed = spread.needed(gain, 0.05)
    assert needed is not None
    assert spread.power(gain, 0.05, needed) >= 0.8
    assert needed == 3 or spread.power(gain, 0.05, needed - 1) < 0.8


def test_the_power_of_groups_is_that_of_a_t_test_of_their_gains() -> None:
    spread = GroupSpread(sd=0.1, n=25)  # a standard error of 0.02
    theirs = TTestPower().solve_power(nobs=25, alpha=0.05, power=0.8)
    assert spread.detectable(0.05) == pytest.approx(0.1 * theirs, rel=1e-6)
    assert spread.needed(0.05, 0.05) == math.ceil(TTestPower().solve_power(effect_size=0.5, alpha=0.05, power=0.8))
    assert spread.needed(10.0, 0.05) == 10  # fewer get no verdict


def test_no_number_of_groups_shows_less_than_the_noise_of_training_allows() -> None:
    spread = GroupSpread(sd=0.1, n=25, seeds=0.02**2, n_seeds=4)
    floor = 0.02 * TTestPower().solve_power(nobs=4, alpha=0.05, power=0.8) * 2  # an error of 0.02 is that of 4 seeds
    assert spread.detectable(0.05, math.inf) == pytest.approx(floor, rel=1e-6)
    assert spread.needed(0.99 * floor, 0.05) is None
    assert spread.detectable(0.05) > GroupSpread(sd=0.1, n=25).detectable(0.05)


def test_a_few_repeats_have_a_detectable_gain_at_the_strictest_level() -> None:
    spread = Spread(sd=0.01, n=3, ratio=0.2)
    critical = stats.t.isf(5e-7, 2)
    assert spread.power(spread.detectable(1e-6), 1e-6) == pytest.approx(0.8, abs=1e-9)
    # so far out the gain is found where chi is small enough, whatever the gain's own noise
    expected = critical * math.sqrt(stats.chi2.ppf(0.8, 2) / 2) * spread.error(3)
    assert spread.detectable(1e-6) == pytest.approx(expected, rel=1e-6)


def test_certainty_is_one() -> None:
    assert Spread(sd=0.001, n=3, ratio=0.2).power(0.9, 0.05) == 1.0


def limits_of(case: Case, rival: str = "") -> Limits:
    """Return the limits of the strategies, or of the reference against one rival."""
    families = [family for family in case.families if family.name == STRATEGIES]
    if rival:
        families = [replace(families[0], pairs=((case.reference.name, rival),))]
    return find_limits(case.evidence, case.measures, families, case.primary_metric)


def test_the_limits_of_a_study_follow_from_its_differences(report_of: Callable[..., Written]) -> None:
    case = report_of().case
    limits, table = limits_of(case), case.measures.table
    [limit] = [limit for limit in limits.pairs if limit.b == TEXT]
    d = table[limit.a][limits.metric].repeats - table[TEXT][limits.metric].repeats
    assert (limits.unit, limits.n) == ("repeats", REPEATS)
    assert limit.gain == pytest.approx(d.mean(), rel=1e-9)
    assert limit.sd == pytest.approx(d.std(ddof=1), rel=1e-9)
    assert limit.powers[1] == Spread(sd=limit.sd, n=REPEATS, ratio=limits.ratio).power(0.02, 0.05)
    assert limit.detectable_in_family is not None
    assert limit.detectable < limit.detectable_in_family
    assert limit.floor is not None
    assert limit.floor < limit.detectable


def test_a_fixed_split_is_limited_by_its_groups(report_of: Callable[..., Written]) -> None:
    case = report_of(protocol="fixed", pairing="composed").case
    limits, drawn = limits_of(case), case.measures.draws
    assert (limits.unit, limits.n, limits.ratio) == ("groups", 10, 0.0)
    assert drawn > case.config.draws
    worth = case.measures.primary.effective  # of 10 groups that are not all of one size
    assert 9 < worth < 10
    assert {c.primary.smallest_p for c in case.comparisons if c.primary} == {two_sided(1 / (drawn + 1), worth)}
    [limit] = [limit for limit in limits.pairs if limit.b == TEXT]
    a, b = (case.measures.table[name][limits.metric].draws for name in (limit.a, TEXT))
    assert a is not None
    assert b is not None
    assert limit.sd == pytest.approx(math.sqrt(worth) * (a - b).std(ddof=1) * math.sqrt(worth / (worth - 1)), rel=1e-9)
    table = case.measures.table
    d = table[limit.a][limits.metric].repeats - table[TEXT][limits.metric].repeats
    seeds = d.var(ddof=1) / REPEATS
    spread = GroupSpread(sd=limit.sd, n=worth, seeds=seeds, n_seeds=REPEATS)
    assert limit.detectable == pytest.approx(spread.detectable(0.05), rel=1e-9)
    assert (limit.floor is None) == (seeds < 1e-20)


def test_a_family_too_large_for_its_draws_has_no_gain_it_could_find(report_of: Callable[..., Written]) -> None:
    case = report_of(protocol="fixed", pairing="composed").case
    [family] = [family for family in case.families if family.name == STRATEGIES]
    many = replace(family, pairs=tuple((case.reference.name, TEXT) for _ in range(5000)))
    [limit] = find_limits(case.evidence, case.measures, [many], case.primary_metric).pairs
    assert limit.detectable_in_family is None
    assert limit.detectable > 0


def test_a_difference_that_never_varies_has_no_limit(report_of: Callable[..., Written]) -> None:
    assert spread_of(report_of().case.measures, "accuracy", TEXT, TEXT) is None


def test_the_chapter_says_what_can_be_seen_and_how_often_it_errs(report_of: Callable[..., Written]) -> None:
    written = report_of()
    page = written.section("limits")
    for words in (
        "What this study can see",
        "is found with a chance of 80 %",
        "Conditional on the fitted",
    ):
        assert words in page
    value = written.content.value(DesignLimits)
    assert value is not None
    assert [pair.b for pair in value.calibration.pairs] == [limit.b for limit in value.limits.pairs]


@pytest.mark.parametrize("n", [3, 5, 30, 500, 3500, 20_000])
@pytest.mark.parametrize("alpha", [0.05, 0.01, 1e-4])
def test_what_can_be_detected_has_the_power_it_is_said_to_have_with_few_groups_and_with_thousands(
    n: int, alpha: float
) -> None:
    for spread in (Spread(sd=0.02, n=n, ratio=0.2), GroupSpread(sd=0.3, n=n)):
        detectable = spread.detectable(alpha)
        assert spread.power(detectable, alpha) == pytest.approx(0.8, abs=1e-6)
        if n >= 500:
            normal = (stats.norm.isf(alpha / 2) + stats.norm.ppf(0.8)) * spread.error(n)
            assert detectable == pytest.approx(normal, rel=0.02)
