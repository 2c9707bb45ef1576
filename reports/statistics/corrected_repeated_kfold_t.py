"""Corrected t test over r x k folds: every sample is tested once a round."""

from reports.statistics._statistic import Design, Measured, PairResult, PairTest
from reports.statistics._student import corrected


class CorrectedRepeatedKFoldT(PairTest):
    """t = mean / (s sqrt(1/(r k) + n2/n1)), df r k - 1, with the realised n2/n1.

    n2/n1 is 1/(k - 1) where everything but the test fold is fitted on, and more where a validation part is cut from it.
    """

    title = "corrected repeated k-fold t"
    source = "Bouckaert & Frank 2004, PAKDD"

    def between(self, a: Measured, b: Measured, design: Design) -> PairResult:
        return corrected(a, b, design, test=self.title)
