"""What all statistics have in common: one public class each, its source named, and bad input refused by position."""

import importlib

import numpy as np
import pytest

from reports.errors import StatisticsError
from reports.statistics._statistic import Design, Measured, PairTest, Statistic
from reports.statistics.bayesian_correlated_t import BayesianCorrelatedT
from reports.statistics.corrected_repeated_kfold_t import CorrectedRepeatedKFoldT
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.holm import Holm
from reports.statistics.paired_t import PairedT
from reports.statistics.wilcoxon import Wilcoxon
from stores.plugins import find_plugin, plugin_names

A = Measured(repeats=np.array([81.4, 79.8, 83.2, 80.5, 82.9, 78.7, 81.9, 80.6, 82.4, 80.1]))
B = Measured(repeats=np.array([79.9, 80.2, 81.0, 79.4, 82.1, 77.0, 79.6, 81.2, 80.0, 78.8]))
OVERLAP = Design(overlap=True, ratio=150 / 700)
BY_REPEAT = [CorrectedResampledT(), CorrectedRepeatedKFoldT(), PairedT(), Wilcoxon(), BayesianCorrelatedT()]


@pytest.mark.parametrize("name", plugin_names("reports.statistics"))
def test_every_statistic_is_one_public_class_that_names_its_source(name: str) -> None:
    found = find_plugin("reports.statistics", name, Statistic)
    assert found.title
    assert any(character.isdigit() for character in found.source)
    assert importlib.import_module(found.__module__).__doc__


@pytest.mark.parametrize("test", BY_REPEAT, ids=lambda test: test.title)
def test_repeats_that_cannot_be_paired_are_refused_by_position(test: PairTest | BayesianCorrelatedT) -> None:
    with pytest.raises(StatisticsError, match=r"same repeats, got 10 and 9 values"):
        test.compare(A, Measured(repeats=B.repeats[:9]), OVERLAP)
    with pytest.raises(StatisticsError, match=r"NaN or infinity in repeat \[4\]"):
        test.compare(A, Measured(repeats=np.where(np.arange(10) == 4, np.nan, B.repeats)), OVERLAP)
    infinite = Measured(repeats=np.where(np.arange(10) == 2, np.inf, B.repeats))
    with pytest.raises(StatisticsError, match=r"NaN or infinity in repeat \[2\]"):
        test.compare(infinite, infinite, OVERLAP)
    with pytest.raises(StatisticsError, match=r"at least 3 repeats, got 2"):
        test.compare(Measured(repeats=A.repeats[:2]), Measured(repeats=B.repeats[:2]), OVERLAP)


@pytest.mark.parametrize("test", BY_REPEAT, ids=lambda test: test.title)
def test_the_order_of_repeats_does_not_matter_and_the_other_way_round_is_a_loss(
    test: PairTest | BayesianCorrelatedT,
) -> None:
    turned = (Measured(repeats=model.repeats[::-1]) for model in (A, B))
    one, again, back = test.compare(A, B, OVERLAP), test.compare(*turned, OVERLAP), test.compare(B, A, OVERLAP)
    shown = {name for name, value in vars(one).items() if isinstance(value, float)}
    assert shown > {"difference", "low", "high"}
    for name in shown:
        assert getattr(again, name) == pytest.approx(getattr(one, name), rel=1e-9)
    assert (back.difference, back.low) == pytest.approx((-one.difference, -(one.high or 0.0)), rel=1e-9)
    same, other = ("p_rope", "p_right") if isinstance(test, BayesianCorrelatedT) else ("p", "p")
    assert getattr(back, same) == pytest.approx(getattr(one, same), rel=1e-9)
    assert getattr(back, other.replace("right", "left")) == pytest.approx(getattr(one, other), rel=1e-9)


def test_holm_agrees_with_the_audit() -> None:
    p = [0.6512349752, 0.06869393065, 0.0008776492520, 0.1339170336, 0.004980669866, 0.02319830784]
    expected = [0.6512349752, 0.2060817920, 0.005265895512, 0.2678340671, 0.02490334933, 0.09279323138]
    assert Holm().adjust(p) == pytest.approx(expected, rel=1e-9)


def test_holm_counts_an_impossible_test_as_a_member_of_the_family() -> None:
    assert Holm().adjust([0.01, None]) == [pytest.approx(0.02), None]
    assert Holm().adjust([]) == []
