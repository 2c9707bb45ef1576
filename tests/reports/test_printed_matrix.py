"""What Table 8 of the reference paper says, held against the audit's figures and against scikit-learn."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score

from reports.chapters.paper import MatrixReading, read_paper, readings

# audit example 4, to ten digits
AUDIT = {
    "predicted": {
        "macro_precision": 0.8181533768, "macro_recall": 0.8197002198, "macro_f1": 0.8187273952,
        "weighted_precision": 0.8178794261, "weighted_recall": 0.8182302772, "weighted_f1": 0.8178503024,
        "f1_of_macro_means": 0.8189260678, "accuracy": 0.8182302772, "kappa": 0.7726854076, "mcc": 0.7727834649,
    },
    "actual": {
        "macro_precision": 0.8197002198, "macro_recall": 0.8181533768, "macro_f1": 0.8187273952,
        "weighted_precision": 0.8193957134, "weighted_recall": 0.8182302772, "weighted_f1": 0.8186102520,
        "f1_of_macro_means": 0.8189260678, "accuracy": 0.8182302772, "kappa": 0.7726854076, "mcc": 0.7727834649,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def both() -> dict[str, MatrixReading]:
    return {reading.rows: reading for reading in readings(read_paper().confusion)}


@pytest.mark.parametrize("rows", ["predicted", "actual"])
def test_every_score_agrees_with_the_audit(both: dict[str, MatrixReading], rows: str) -> None:
    reading = both[rows]
    assert (reading.n, reading.correct) == (1876, 1535)
    for name, value in AUDIT[rows].items():
        assert reading.scores[name] == pytest.approx(value, rel=1e-9), name
    assert reading.kappa_error == pytest.approx(0.01113767866, rel=1e-9)
    assert reading.wilson == pytest.approx((0.8001342908, 0.8350256554), rel=1e-9)
    assert reading.bootstrap == pytest.approx((0.8006396588, 0.8352878465), rel=1e-9)
    assert reading.one_vs_rest == pytest.approx(0.9272921109, rel=1e-9)


def test_scores_of_any_counts_are_those_of_scikit_learn_on_the_samples_behind_them() -> None:
    counts = np.random.default_rng(3).integers(1, 40, size=(4, 4))
    predicted, actual = (np.repeat(places.ravel(), counts.ravel()) for places in np.indices(counts.shape))
    first, second = readings(counts.tolist())
    assert (first.rows, second.rows) == ("predicted", "actual")
    for reading in (first, second):
        assert reading.scores["accuracy"] == pytest.approx(accuracy_score(actual, predicted))
        assert reading.scores["kappa"] == pytest.approx(cohen_kappa_score(actual, predicted))
        one_vs_rest = np.mean([accuracy_score(actual == k, predicted == k) for k in range(4)])
        assert reading.one_vs_rest == pytest.approx(one_vs_rest)


def test_the_page_sets_what_the_matrix_says_beside_what_is_claimed(report_of: Any) -> None:
    section = report_of().section("paper")
    table = section[section.index('id="paper-readings"') :].partition("</table>")[0]
    for said in ("81.8", "93.8", "0.773", "80.0 to 83.5", "92.7"):
        assert said in table, said
