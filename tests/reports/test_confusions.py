"""Confusion matrices, their differences, agreement beyond chance, and Eq. 11."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef

from reports.chapters.confusions import EVERY, Confusions
from reports.selection import worth_a_matrix

FULL = "image+speech+text"
WEIGHTED = f"weighted[{FULL}]"
MODALITIES = ("image", "speech", "text")


@pytest.fixture(scope="module")
def found(report_of: Any) -> Any:
    return report_of().content.chapters["confusions"]


def test_shares_are_of_rows_and_the_diagonal_is_recall(found: Any) -> None:
    for matrix in found.matrices:
        rows, shares = np.array(matrix.rows), np.array(matrix.shares)
        assert shares.sum(axis=1).tolist() == pytest.approx([1.0] * 5)
        assert shares[0, 0] == pytest.approx(rows[0, 0] / rows[0].sum())


def test_differences_are_of_row_shares_to_the_best_rival_and_the_best_single_modality(
    report_of: Any, found: Any
) -> None:
    shown = worth_a_matrix(report_of().content)
    assert [(d.a, d.b) for d in found.differences] == [(WEIGHTED, shown[1]), (WEIGHTED, shown[-1])]
    shares = {m.model: np.array(m.shares) for m in found.matrices}
    for d in found.differences:
        assert np.array(d.rows) == pytest.approx(shares[d.a] - shares[d.b])
        assert np.array(d.rows).sum(axis=1) == pytest.approx([0.0] * 5)


def test_kappa_and_mcc_are_means_over_repeats_that_scikit_learn_confirms(report_of: Any, found: Any) -> None:
    written = report_of()
    case = written.case
    pairs = [
        (part.labels, p.argmax(axis=1))
        for part, p in zip(case.evidence.held_out, case.evidence.posteriors[WEIGHTED], strict=True)
    ]
    [own] = [b for b in found.beyond_chance if b.model == WEIGHTED]
    assert own.kappa.estimate == pytest.approx(np.mean([cohen_kappa_score(*pair) for pair in pairs]))
    assert own.mcc.estimate == pytest.approx(np.mean([matthews_corrcoef(*pair) for pair in pairs]))
    assert own.kappa.low < own.kappa.estimate < own.kappa.high
    [majority] = [b for b in found.beyond_chance if b.model == "majority class"]
    assert (majority.kappa.estimate, majority.mcc.estimate) == (0.0, 0.0)


def test_groups_left_out_one_by_one_have_one_kappa_of_all(report_of: Any) -> None:
    found = report_of(protocol="leave-one-group-out").case.value(Confusions)
    [matrix] = [m for m in found.matrices if m.model == WEIGHTED]
    [own] = [b for b in found.beyond_chance if b.model == WEIGHTED]
    rows = np.array(matrix.rows)
    actual, predicted = np.indices(rows.shape)
    expected = cohen_kappa_score(np.repeat(actual, rows.ravel()), np.repeat(predicted, rows.ravel()))
    assert own.kappa.estimate == pytest.approx(expected)
    assert own.kappa.low < expected < own.kappa.high


def test_eq_11_weighs_recalls_of_single_modalities_and_lies_between_them(report_of: Any, found: Any) -> None:
    weights = {w.modality: w.mean for w in report_of().content.chapters["weights"].fitted if w.model == WEIGHTED}
    rows = {m.model: np.array(m.rows) for m in found.matrices}
    assert [r.label for r in found.weighted_modality_recall] == ["joy", "sadness", "anger", "fear", "neutral", EVERY]
    for r in found.weighted_modality_recall:
        assert (r.model, r.modalities) == (WEIGHTED, MODALITIES)
        assert min(r.recalls) <= r.value <= max(r.recalls)
        assert r.value == pytest.approx(sum(weights[m] * x for m, x in zip(MODALITIES, r.recalls, strict=True)))
    overall = found.weighted_modality_recall[-1]
    accuracy = [np.trace(rows[f"unimodal[{m}]"]) / rows[f"unimodal[{m}]"].sum() for m in MODALITIES]
    assert overall.recalls == pytest.approx(accuracy)
    assert overall.fused == pytest.approx(np.trace(rows[WEIGHTED]) / rows[WEIGHTED].sum())


def test_the_page_states_the_orientation_prints_signs_and_calls_eq_11_no_measure_of_fusion(report_of: Any) -> None:
    section = report_of().section("confusions")
    assert "Rows are the actual emotion, columns the predicted one" in section
    assert "weighted_modality_recall, no measure of fusion" in section
    svg = section[section.index('aria-labelledby="confusion-difference-1-title"') :].partition("</svg>")[0]
    assert ">+" in svg
    assert ">−" in svg
    for name in ("confusions", "confusion_differences", "beyond_chance", "weighted_modality_recall"):
        assert report_of().rows(name)


def test_a_study_of_one_modality_has_no_eq_11_and_no_difference_to_itself(report_of: Any) -> None:
    found = report_of(modalities=("text",)).case.value(Confusions)
    assert found.weighted_modality_recall == ()
    assert found.differences == ()
