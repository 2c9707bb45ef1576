"""Calibration, ROC and precision-recall against scikit-learn and figures by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from reports.findings.posteriors import GRID, areas, curves, sweep
from reports.metrics import BINS, CLIP, brier_scores, calibration_error, confidence_bins, log_losses
from stores.identity import canonical

FULL = "image+speech+text"
WEIGHTED = f"weighted[{FULL}]"
K = 3


@st.composite
def parts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels and posteriors of three classes, coarse so that many are tied; every class is there."""
    n = draw(st.integers(K, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.r_[np.arange(K), rng.integers(0, K, n - K)]
    coarse = rng.integers(1, draw(st.integers(2, 9)), (n, K)).astype(np.float64)
    return labels, coarse / coarse.sum(axis=1, keepdims=True)


@given(parts())
def test_brier_and_log_loss_agree_with_scikit_learn(part: tuple[np.ndarray, np.ndarray]) -> None:
    labels, posteriors = part
    expected = brier_score_loss(labels, posteriors, labels=list(range(K)), scale_by_half=False)
    assert brier_scores(labels, posteriors).mean() == pytest.approx(expected, rel=1e-9, abs=1e-15)
    assert log_losses(labels, posteriors).mean() == pytest.approx(
        log_loss(labels, posteriors, labels=list(range(K))), rel=1e-9
    )


def test_a_posterior_of_zero_costs_what_the_clip_says_and_the_worst_brier_score_is_two() -> None:
    labels, posteriors = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    assert log_losses(labels, posteriors).tolist() == pytest.approx([-np.log(CLIP), 0.0])
    assert brier_scores(labels, posteriors).tolist() == [2.0, 0.0]
    assert pytest.approx(1.1920929e-07) == CLIP


@given(parts())
def test_reliability_bins_agree_with_scikit_learn(part: tuple[np.ndarray, np.ndarray]) -> None:
    labels, posteriors = part
    confidence, right = posteriors.max(axis=1), posteriors.argmax(axis=1) == labels
    accuracy, mean = calibration_curve(right, confidence, n_bins=BINS)
    bins = confidence_bins(confidence)
    sums = np.stack([np.bincount(bins, w, BINS) for w in (right.astype(float), confidence, None)], axis=-1)
    there = sums[sums[:, 2] > 0]
    assert (there[:, 0] / there[:, 2]).tolist() == pytest.approx(accuracy.tolist())
    assert (there[:, 1] / there[:, 2]).tolist() == pytest.approx(mean.tolist())
    expected = np.average(np.abs(accuracy - mean), weights=there[:, 2])
    assert calibration_error(sums) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand() -> None:
    sums = np.zeros((BINS, 3))
    sums[8], sums[14] = (1, 2 * 0.6, 2), (3, 4 * 0.95, 4)  # right on 1 of 2 at 0.6, on 3 of 4 at 0.95
    assert calibration_error(sums) == pytest.approx(2 / 6 * 0.1 + 4 / 6 * 0.2)
    assert confidence_bins(np.array([1 / 15, 0.07, 0.999, 1.0, 3 / 15])).tolist() == [0, 1, 14, 14, 2]


@given(parts())
def test_areas_agree_with_scikit_learn_where_posteriors_are_tied(part: tuple[np.ndarray, np.ndarray]) -> None:
    labels, posteriors = part
    auc, precision = areas(sweep(labels, posteriors))
    for k in range(K):
        assert auc[k] == pytest.approx(roc_auc_score(labels == k, posteriors[:, k]), abs=1e-12)
        assert precision[k] == pytest.approx(average_precision_score(labels == k, posteriors[:, k]), abs=1e-12)


def test_areas_of_example_5_of_the_audit() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    posteriors = np.array(
        [[6, 3, 1], [5, 2, 3], [2, 5, 3], [3, 6, 1], [4, 4, 2], [1, 2, 7], [3, 3, 4], [5, 1, 4]], dtype=float
    )
    assert areas(sweep(labels, posteriors / 10))[0].tolist() == pytest.approx([0.7, 0.9166666667, 1.0], rel=1e-9)


@settings(max_examples=50)
@given(parts())
def test_curves_agree_with_scikit_learn(part: tuple[np.ndarray, np.ndarray]) -> None:
    labels, posteriors = part
    grid = np.array(GRID)
    roc, precision = curves(sweep(labels, posteriors), grid)
    for k in range(K):
        fpr, tpr, _ = roc_curve(labels == k, posteriors[:, k], drop_intermediate=False)
        highest = {x: tpr[fpr == x].max() for x in fpr}  # where one rate has several recalls
        lowest = {x: tpr[fpr == x].min() for x in fpr}
        for x, y in zip(grid, roc[k], strict=True):
            left = max(f for f in highest if f <= x)
            right = min((f for f in highest if f > x), default=left)
            along = 0 if right == left else (x - left) / (right - left)
            assert y == pytest.approx(highest[left] + along * (lowest[right] - highest[left]))
        precisions, recalls, _ = precision_recall_curve(labels == k, posteriors[:, k])
        for x, y in zip(grid, precision[k], strict=True):
            strictest = max(np.flatnonzero(recalls[:-1] >= x - 1e-9))
            assert y == pytest.approx(precisions[:-1][strictest])


def test_a_class_without_samples_has_no_area_and_no_curve() -> None:
    found = sweep(np.array([0, 1, 1]), np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2]]))
    assert np.isnan(areas(found)[0]).tolist() == [False, False, True]
    assert np.isnan(curves(found, np.array([0.0, 0.5]))[1]).all(axis=1).tolist() == [False, False, True]


@pytest.fixture(scope="module")
def found(report_of: Any) -> Any:
    return report_of().content.chapters["probabilities"]


def test_figures_are_means_over_repeats_that_scikit_learn_confirms(report_of: Any, found: Any) -> None:
    written = report_of()
    case = written.case
    pairs = list(zip((p.labels for p in case.evidence.held_out), case.evidence.posteriors[WEIGHTED], strict=True))
    [own] = [c for c in found.calibration if c.model == WEIGHTED]
    briers = [brier_score_loss(y, p, labels=list(range(5)), scale_by_half=False) for y, p in pairs]
    assert own.brier.estimate == pytest.approx(np.mean(briers), rel=1e-6)
    assert own.log_loss.estimate == pytest.approx(
        np.mean([log_loss(y, p, labels=list(range(5))) for y, p in pairs]), rel=1e-6
    )
    assert own.ece.low < own.ece.estimate < own.ece.high
    by_class = {r.label: r for r in found.ranking if r.model == WEIGHTED}
    for k, label in enumerate(case.evidence.classes):
        expected = np.mean([average_precision_score(y == k, p[:, k]) for y, p in pairs])
        assert by_class[label].average_precision.estimate == pytest.approx(expected)
    macro = np.mean([r.auc.estimate for r in by_class.values()])
    assert macro == pytest.approx(written.content.score(WEIGHTED, "auc_macro_ovr").estimate)


def test_a_calibration_error_has_no_interval_where_draws_of_groups_would_raise_it(report_of: Any) -> None:
    written = report_of(pairing="composed", protocol="fixed")
    for own in written.content.chapters["probabilities"].calibration:
        assert (own.ece.low, own.ece.high) == (None, None)
        assert "no interval" in own.ece.reason
    [own] = [c for c in written.content.chapters["probabilities"].calibration if c.model == WEIGHTED]
    assert own.brier.low < own.brier.estimate
    assert "ECE has none" in written.section("probabilities")


def test_curves_are_averaged_at_each_point_of_the_grid_with_quartiles(report_of: Any, found: Any) -> None:
    written = report_of()
    case = written.case
    [curve] = [c for c in found.curves if (c.model, c.label) == (WEIGHTED, "joy")]
    assert curve.parts == 6
    each = [
        curves(sweep(part.labels, p), np.array(GRID))[0][0]
        for part, p in zip(case.evidence.held_out, case.evidence.posteriors[WEIGHTED], strict=True)
    ]
    assert curve.roc.mean == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    assert curve.roc.lower == pytest.approx(np.percentile(each, 25, axis=0), abs=1e-5)
    assert list(curve.roc.mean) == sorted(curve.roc.mean)


def test_only_models_worth_a_look_have_curves_and_all_have_figures(report_of: Any, found: Any) -> None:
    results = report_of().content
    assert {c.model for c in found.calibration} == {m.name for m in results.models}
    assert {c.model for c in found.curves} == {r.model for r in found.reliability}
    assert len({c.model for c in found.curves}) < len(results.models)
    tested = round(6 * results.method.test_size)
    assert {sum(one.count for one in own.bins) for own in found.reliability} == {tested}
    stored = canonical(found)
    assert len(stored["grid"]) == len(stored["curves"][0]["roc"]["mean"]) == len(GRID) <= 101


def test_groups_left_out_one_by_one_share_one_curve(report_of: Any) -> None:
    written = report_of(protocol="leave-one-group-out")
    found = written.content.chapters["probabilities"]
    assert found.pooled
    assert {c.parts for c in found.curves} == {1}
    assert "One curve of all held-out groups together" in written.section("probabilities")
    [own] = [c for c in found.calibration if c.model == WEIGHTED]
    assert own.brier.low < own.brier.estimate < own.brier.high


def test_the_page_states_bins_formula_clip_and_how_curves_were_averaged(report_of: Any) -> None:
    section = report_of().section("probabilities")
    for said in ("15 equal-width", "0.00000012", "0 to 2", "averaged vertically", "at each of 51 false positive rates"):
        assert said in section
