"""Corrected resampled t test: repeated random splits of one data set, or r x k folds of it."""

from reports.statistics._statistic import Design, Measured, PairResult, PairTest
from reports.statistics._student import student


class CorrectedResampledT(PairTest):
    """t = mean / (s sqrt(1/J + n2/n1)), df J - 1, with the realised n2/n1.

    The added n2/n1 stands for the samples that repeats share; more repeats cannot take it away. Over r x k folds J is
    r k, as in Bouckaert & Frank 2004.
    """

    title = "corrected resampled t"
    source = "Nadeau & Bengio 2003, Machine Learning 52"

    def compare(self, a: Measured, b: Measured, design: Design) -> PairResult:
        return student(a, b, design, test=self.title, ratio=design.ratio, violated=False)
