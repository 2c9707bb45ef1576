"""The A/A calibration against the same procedure written out: predictions exchanged, and tested anew."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from benchmarks import _group_designs
from benchmarks.aa_alarms import calibrations
from reports.banners import _alarms
from reports.evidence import CHANCE, Evidence, read_evidence
from reports.findings.false_alarms import BEYOND, Calibration, calibrate
from reports.measures import measure
from reports.metrics import confusion, counted_scores
from reports.statistics._statistic import Design, Measured
from reports.statistics.clustered_bootstrap import effective_groups, tail_share, two_sided
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.paired_t import PairedT
from stores.root import Root
from tests.reports.conftest import Write

TEXT, SPEECH, BOTH = "unimodal[text]", "unimodal[speech]", "concat[speech+text]"
PAIRS = ((TEXT, SPEECH), (BOTH, TEXT))
METRIC = "macro_f1"
REPETITIONS = 25
UNEQUAL = next(shape for shape in _group_designs.SHAPES if shape.name == "20 unequal groups")


def evidence_of(write_study: Write, root: Root, **study: object) -> Evidence:
    store, runs = write_study(root, modalities=("speech", "text"), **study)
    return read_evidence(store, runs)


def calibration(evidence: Evidence, pairs: Sequence[tuple[str, str]] = PAIRS, repetitions: int = 1000) -> Calibration:
    measures = measure(evidence, alpha=0.05, draws=1000, seed=0)
    return calibrate(evidence, measures, pairs, METRIC, repetitions=repetitions, seed=4)


def exchanged(evidence: Evidence, pair: tuple[str, str], coins: dict[str, bool]) -> list[list[np.ndarray]]:
    """Return the posteriors of both models by repeat, exchanged in the groups whose coin says so."""
    both = []
    for part, a, b in zip(evidence.held_out, evidence.posteriors[pair[0]], evidence.posteriors[pair[1]], strict=True):
        swap = np.array([coins[group] for group in part.groups])[:, None]
        both.append([np.where(swap, b, a), np.where(swap, a, b)])
    return [list(side) for side in zip(*both, strict=True)]


def scores(evidence: Evidence, posteriors: list[np.ndarray]) -> Measured:
    tested = zip(evidence.held_out, posteriors, strict=True)
    matrices = [confusion(part.labels, own) for part, own in tested]
    return Measured(repeats=np.array([counted_scores(matrix)[METRIC] for matrix in matrices], dtype=np.float64))


def coins_of(evidence: Evidence, generator: np.random.Generator) -> list[dict[str, bool]]:
    groups = sorted({str(group) for part in evidence.held_out for group in part.groups})
    drawn = generator.integers(0, 2, size=(REPETITIONS, len(groups)), dtype=np.uint8)
    return [dict(zip(groups, row.astype(bool), strict=True)) for row in drawn]


def test_the_rates_are_those_of_the_tests_on_exchanged_predictions(write_study: Write, root: Root) -> None:
    evidence = evidence_of(write_study, root)
    measures = measure(evidence, alpha=0.05, draws=1000, seed=0)
    found = calibrate(evidence, measures, PAIRS, METRIC, repetitions=REPETITIONS, seed=4)
    for pair, own in zip(PAIRS, found.pairs, strict=True):
        counts = {"primary": 0, "naive": 0}
        for coins in coins_of(evidence, np.random.default_rng(4)):
            a, b = (scores(evidence, side) for side in exchanged(evidence, pair, coins))
            for name, test in (("primary", CorrectedResampledT()), ("naive", PairedT())):
                p = test.compare(a, b, measures.design).p
                counts[name] += p is not None and p < 0.05
        assert own.naive is not None
        assert (own.primary.count, own.naive.count) == (counts["primary"], counts["naive"])
        assert own.naive.count > 0


def test_the_rates_of_a_fixed_split_are_those_of_the_bootstrap_written_out(write_study: Write, root: Root) -> None:
    evidence = evidence_of(write_study, root, protocol="fixed", repeats=5)
    generator = np.random.default_rng(4)
    found = calibration(evidence, PAIRS[:1], REPETITIONS)
    every = coins_of(evidence, generator)
    groups = np.array(list(every[0]))
    [names] = {tuple(part.groups) for part in evidence.held_out}
    rows_of = [np.flatnonzero(np.array(names) == group) for group in groups]
    sizes = np.array([len(own) for own in rows_of])
    worth = effective_groups(sizes)  # slightly fewer than ten: they are not all of one size
    rejected, draws = 0, int(BEYOND / tail_share(0.05, worth))
    for coins in every:
        drawn = generator.integers(0, len(groups), size=(draws, len(groups)))
        rows = [np.concatenate([rows_of[group] for group in row]) for row in drawn]
        a, b = (bootstrapped(evidence, side, rows) for side in exchanged(evidence, PAIRS[0], coins))
        both = [scores(evidence, side).repeats for side in exchanged(evidence, PAIRS[0], coins)]
        d = widened(a - b, both[0] - both[1], worth)
        tail = 1 + min((d <= 0).sum(), (d >= 0).sum())
        rejected += two_sided(tail / (draws + 1), worth) < 0.05
    [pair] = found.pairs
    assert found.draws == draws
    assert two_sided(BEYOND / (draws + 1), worth) < 0.05 < two_sided((BEYOND + 1) / (draws + 1), worth)
    assert pair.primary.count == rejected > 0


def widened(draws: np.ndarray, seeds: np.ndarray, n: float) -> np.ndarray:
    """Return the draws widened by the noise of seeds, at the level 0.05, as Cochran has it."""
    groups, training = draws.var(ddof=1) * n / (n - 1), seeds.var(ddof=1) / len(seeds)
    t = [stats.t.isf(0.025, df) for df in (n - 1, len(seeds) - 1)]
    critical = np.average(t, weights=[groups, training])
    wide: np.ndarray = seeds.mean() + (draws - seeds.mean()) * critical / t[0] * np.sqrt(1 + training / groups)
    return wide


def test_a_level_that_asks_for_too_many_draws_is_refused_before_hours_pass(write_study: Write, root: Root) -> None:
    evidence = evidence_of(write_study, root, protocol="fixed", repeats=2)
    measures = measure(evidence, alpha=1e-4, draws=1000, seed=0)
    found = calibrate(evidence, measures, PAIRS, "macro_f1", repetitions=1000, seed=0)
    assert found.pairs == ()
    assert f"asks for {found.draws:,} draws of 10 groups" in found.reason


def bootstrapped(evidence: Evidence, posteriors: list[np.ndarray], drawn: list[np.ndarray]) -> np.ndarray:
    """Return the mean score over repeats, (draws,), of the rows of each draw."""
    tested = list(zip(evidence.held_out, posteriors, strict=True))
    matrices = np.array([[confusion(part.labels[rows], p[rows]) for part, p in tested] for rows in drawn])
    mean: np.ndarray = counted_scores(matrices)[METRIC].mean(axis=1)
    return mean


def test_the_naive_test_errs_more_often_than_it_says_and_the_primary_does_not(write_study: Write, root: Root) -> None:
    evidence = evidence_of(write_study, root, repeats=20)
    [found] = calibration(evidence, PAIRS[:1]).pairs
    assert found.naive is not None
    assert found.naive.low > 0.15
    assert found.primary.high < 0.06


def test_every_rate_has_the_interval_of_wilson(write_study: Write, root: Root) -> None:
    for own in calibration(evidence_of(write_study, root)).pairs:
        assert own.naive is not None
        low, high = proportion_confint(own.naive.count, 1000, method="wilson")
        assert (own.naive.low, own.naive.high) == pytest.approx((low, high), rel=1e-9)
        assert own.naive.rate == own.naive.count / 1000


def test_models_that_agree_everywhere_are_never_told_apart(write_study: Write, root: Root) -> None:
    evidence = evidence_of(write_study, root)
    evidence = replace(evidence, posteriors={**evidence.posteriors, "twin": evidence.posteriors[TEXT]})
    measures = measure(evidence, alpha=0.05, draws=1000, seed=0)
    [found] = calibrate(evidence, measures, [(TEXT, "twin")], METRIC, repetitions=1000, seed=0).pairs
    assert found.primary.count == 0
    assert found.naive == found.primary


def test_fewer_than_six_groups_cannot_tell(write_study: Write, root: Root) -> None:
    evidence = evidence_of(write_study, root)
    parts = tuple(
        replace(part, groups=np.array([f"s{int(str(group)[1:]) % 5}" for group in part.groups]))
        for part in evidence.held_out
    )
    found = calibration(replace(evidence, held_out=parts))
    assert found.pairs == ()
    assert found.reason == "5 groups allow too few exchanges; 6 are the least"


def test_fewer_than_three_repeats_cannot_tell(write_study: Write, root: Root) -> None:
    evidence = evidence_of(write_study, root, repeats=2)
    measures = replace(measure(evidence, alpha=0.05, draws=1000, seed=0), design=Design(overlap=True, ratio=0.2))
    assert "2 repeats" in calibrate(evidence, measures, PAIRS, METRIC, repetitions=1000, seed=0).reason


def test_the_same_seed_gives_the_same_rates_and_another_one_others(write_study: Write, root: Root) -> None:
    evidence = evidence_of(write_study, root)
    measures = measure(evidence, alpha=0.05, draws=1000, seed=0)
    first, again, other = (
        calibrate(evidence, measures, [*PAIRS, (TEXT, CHANCE)], METRIC, repetitions=1000, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["20 repeats of 70/15/15", "one group out"])
def test_sound_studies_of_unequal_groups_raise_no_alarm(protocol: str) -> None:
    found = list(calibrations(UNEQUAL, protocol, corpora=4, repetitions=100))
    assert all(own.rate is not None and own.rate > 0 for own in found)
    assert not any(own.alarming for own in found)
    assert not any(_alarms(own) for own in found)


@pytest.mark.slow
def test_a_test_that_errs_too_often_is_warned_of_with_its_rate_over_all_pairs() -> None:
    for own in calibrations(UNEQUAL, "20 repeats of 70/15/15", corpora=3, repetitions=100, broken=True):
        banner = _alarms(own)
        assert banner is not None
        assert own.rate == pytest.approx(np.mean([pair.primary.rate for pair in own.pairs]))
        assert f"a difference in {100 * (own.rate or 0):.1f} % of 100 repetitions, over all 5 pairs" in banner.text
