"""Scores against the audit's oracles and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
    roc_auc_score,
)

from reports.metrics import (
    chance_corrected,
    class_scores,
    confusion,
    counted_scores,
    f1_of_macro_means,
    ranked_scores,
    weighted_modality_recall,
)

# audit example 4, rows actual: table 8 of the paper, transposed as its header reads "predicted / actual"
TABLE_8 = np.array(
    [[328, 12, 5, 4, 21], [10, 310, 18, 16, 22], [3, 14, 280, 45, 28], [2, 10, 38, 290, 20], [16, 18, 24, 15, 327]]
)
ROWS_ACTUAL = {
    "accuracy": 0.8182302772,
    "balanced_accuracy": 0.8181533768,
    "macro_precision": 0.8197002198,
    "macro_recall": 0.8181533768,
    "macro_f1": 0.8187273952,
    "weighted_precision": 0.8193957134,
    "weighted_recall": 0.8182302772,
    "weighted_f1": 0.8186102520,
}
ROWS_PREDICTED = ROWS_ACTUAL | {
    "balanced_accuracy": 0.8197002198,
    "macro_precision": 0.8181533768,
    "macro_recall": 0.8197002198,
    "weighted_precision": 0.8178794261,
    "weighted_f1": 0.8178503024,
}


@pytest.mark.parametrize(("matrix", "expected"), [(TABLE_8, ROWS_ACTUAL), (TABLE_8.T, ROWS_PREDICTED)])
def test_scores_of_table_8_agree_with_the_audit_in_both_orientations(
    matrix: np.ndarray, expected: dict[str, float]
) -> None:
    scores = counted_scores(matrix)
    assert {name: float(value) for name, value in scores.items()} == pytest.approx(expected, rel=1e-9)


def test_class_scores_of_table_8_agree_with_the_audit() -> None:
    scores = class_scores(TABLE_8)
    assert scores["recall"] == pytest.approx([0.8864864865, 0.8244680851, 0.7567567568, 0.8055555556, 0.8175], rel=1e-9)
    assert scores["f1"] == pytest.approx(
        [0.8998628258, 0.8378378378, 0.7619047619, 0.7945205479, 0.7995110024], rel=1e-9
    )
    assert scores["support"].tolist() == [370, 376, 370, 360, 400]


def test_auc_names_agree_with_the_audit() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    posteriors = np.array(
        [[6, 3, 1], [5, 2, 3], [2, 5, 3], [3, 6, 1], [4, 4, 2], [1, 2, 7], [3, 3, 4], [5, 1, 4]], dtype=float
    )
    expected = {"auc_macro_ovr": 0.8722222222, "auc_weighted_ovr": 0.8666666667, "auc_micro_ovr": 0.8515625}
    assert ranked_scores(labels, posteriors / 10) == pytest.approx(expected, rel=1e-9)


def test_auc_agrees_with_scikit_learn_on_posteriors_with_ties() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 90)
    posteriors = rng.integers(1, 6, (90, 4)).astype(np.float64)
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    scores = ranked_scores(labels, posteriors)
    for average in ("macro", "weighted", "micro"):
        expected = roc_auc_score(labels, posteriors, multi_class="ovr", average=average)
        assert scores[f"auc_{average}_ovr"] == pytest.approx(expected, rel=1e-12)


def test_auc_is_undefined_where_a_class_is_absent_and_micro_still_stands() -> None:
    scores = ranked_scores(np.array([0, 1, 1]), np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2]]))
    assert scores["auc_macro_ovr"] is None
    assert scores["auc_weighted_ovr"] is None
    assert scores["auc_micro_ovr"] == pytest.approx(16.5 / 18)


def test_confusion_has_actual_rows_and_the_lowest_index_wins_a_tie() -> None:
    matrix = confusion(np.array([0, 1]), np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]))
    assert matrix.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_macro_runs_over_the_classes_that_are_present() -> None:
    scores = counted_scores(np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]]))
    assert scores["macro_recall"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert np.isnan(class_scores(np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]]))["recall"][2])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_accuracy_is_trace_over_total_micro_f1_and_the_mean_of_share_times_recall(pairs: list[tuple[int, int]]) -> None:
    actual, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    matrix = confusion(actual, np.eye(4)[predicted])
    scores, by_class = counted_scores(matrix), class_scores(matrix)
    accuracy = float(scores["accuracy"])
    assert accuracy == pytest.approx(np.trace(matrix) / len(pairs))
    assert accuracy == pytest.approx(accuracy_score(actual, predicted))
    assert accuracy == pytest.approx(f1_score(actual, predicted, average="micro"))
    share = by_class["support"] / len(pairs)
    assert accuracy == pytest.approx(float(np.nansum(share * by_class["recall"])))
    present = sorted(set(actual.tolist()))
    expected = precision_recall_fscore_support(actual, predicted, labels=present, average="macro", zero_division=0)
    assert [float(scores[f"macro_{n}"]) for n in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    weighted = precision_recall_fscore_support(actual, predicted, labels=present, average="weighted", zero_division=0)
    assert [float(scores[f"weighted_{n}"]) for n in ("precision", "recall", "f1")] == pytest.approx(weighted[:3])


@pytest.mark.parametrize("matrix", [TABLE_8, TABLE_8.T], ids=["rows actual", "rows predicted"])
def test_kappa_and_mcc_of_table_8_agree_with_the_audit_whatever_its_orientation(matrix: np.ndarray) -> None:
    expected = {"kappa": 0.7726854076, "mcc": 0.7727834649}
    assert {name: float(value) for name, value in chance_corrected(matrix).items()} == pytest.approx(expected, rel=1e-9)
    assert f1_of_macro_means(matrix) == pytest.approx(0.8189260678, rel=1e-9)
    assert counted_scores(matrix)["macro_f1"] == pytest.approx(0.8187273952, rel=1e-9)


def test_what_is_constant_agrees_with_nothing() -> None:
    one_prediction, one_class = np.array([[3, 0], [5, 0]]), np.array([[8, 0], [0, 0]])
    assert {name: float(value) for name, value in chance_corrected(one_prediction).items()} == {"kappa": 0, "mcc": 0}
    both = chance_corrected(one_class)
    assert np.isnan(both["kappa"])
    assert both["mcc"] == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60))
def test_kappa_and_mcc_agree_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    actual, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    found = chance_corrected(confusion(actual, np.eye(4)[predicted]))
    if len({*actual, *predicted}) > 1:
        assert found["mcc"] == pytest.approx(matthews_corrcoef(actual, predicted), abs=1e-12)
        assert found["kappa"] == pytest.approx(cohen_kappa_score(actual, predicted), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_micro_precision_recall_and_f1_are_accuracy(pairs: list[tuple[int, int]]) -> None:
    actual, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    accuracy = counted_scores(confusion(actual, np.eye(4)[predicted]))["accuracy"]
    for score in (precision_score, recall_score, f1_score):
        assert accuracy == pytest.approx(score(actual, predicted, average="micro"))


def test_eq_11_agrees_with_example_6_of_the_audit() -> None:
    value = weighted_modality_recall(np.array([0.5, 0.3, 0.2]), np.array([80, 70, 60]), np.array([20, 30, 40]))
    assert value == pytest.approx(0.73, rel=1e-9)


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 50), st.integers(0, 50)).filter(lambda m: m[1] + m[2] > 0),
        min_size=1, max_size=5,
    ).filter(lambda rows: sum(row[0] for row in rows) > 1e-6)
)  # fmt: skip
def test_eq_11_lies_between_the_least_and_the_largest_recall(rows: list[tuple[float, int, int]]) -> None:
    weights, hits, misses = (np.array(column) for column in zip(*rows, strict=True))
    recalls = hits / (hits + misses)
    assert recalls.min() - 1e-12 <= weighted_modality_recall(weights, hits, misses) <= recalls.max() + 1e-12


def test_eq_11_of_all_emotions_is_the_weighted_accuracy_of_single_modalities() -> None:
    matrices = np.stack([TABLE_8, TABLE_8[::-1]])
    hits, n = np.diagonal(matrices, axis1=1, axis2=2).sum(axis=1), matrices.sum(axis=(1, 2))
    accuracy = counted_scores(matrices)["accuracy"]
    weights = np.array([0.25, 0.75])
    assert weighted_modality_recall(weights, hits, n - hits) == pytest.approx(weights @ accuracy)
