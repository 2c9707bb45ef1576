"""What the confusion matrix the paper prints says, under both readings of its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from reports.metrics import chance_corrected, counted_scores, f1_of_macro_means

ACTUAL, PREDICTED = "actual", "predicted"


@dataclass(frozen=True, kw_only=True)
class MatrixReading:
    """The scores of a matrix whose rows are `rows`, all of them shares but kappa and MCC.

    `kappa_error` is the asymptotic standard error of kappa (Fleiss, Cohen & Everitt 1969). The intervals of accuracy
    are 95 %: Wilson's, and what a percentile bootstrap over samples tends to. `one_vs_rest` is the mean over classes of
    the accuracy of each against the rest, which is no accuracy of the classifier.
    """

    rows: str
    n: int
    correct: int
    scores: Mapping[str, float]
    kappa_error: float
    wilson: tuple[float, float]
    bootstrap: tuple[float, float]
    one_vs_rest: float


def readings(matrix: Sequence[Sequence[int]]) -> tuple[MatrixReading, ...]:
    """Return what counts (K, K) say if rows are predictions, as labelled, and if they are the actual classes."""
    counts = np.array(matrix, dtype=np.int64)
    return tuple(_reading(rows, own) for rows, own in ((PREDICTED, counts.T), (ACTUAL, counts)))


def _reading(rows: str, matrix: np.ndarray) -> MatrixReading:
    n, correct = int(matrix.sum()), int(np.trace(matrix))
    found = counted_scores(matrix) | chance_corrected(matrix) | {"f1_of_macro_means": f1_of_macro_means(matrix)}
    wilson = stats.binomtest(correct, n).proportion_ci(method="wilson")
    tails = stats.binom.ppf([0.025, 0.975], n, correct / n) / n
    return MatrixReading(
        rows=rows,
        n=n,
        correct=correct,
        scores={name: float(value) for name, value in found.items()},
        kappa_error=float(cohens_kappa(matrix).std_kappa),
        wilson=(float(wilson.low), float(wilson.high)),
        bootstrap=(float(tails[0]), float(tails[1])),
        one_vs_rest=1 - 2 * (n - correct) / (n * len(matrix)),
    )
