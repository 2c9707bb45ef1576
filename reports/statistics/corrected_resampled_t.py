"""Corrected resampled t test: repeated random splits of one data set."""

from reports.statistics._statistic import Design, Measured, PairResult, PairTest
from reports.statistics._student import corrected


class CorrectedResampledT(PairTest):
    """t = mean / (s sqrt(1/J + n2/n1)), df J - 1, with the realised n2/n1.

    The added n2/n1 stands for the samples that repeats share; more repeats cannot take it away.
    """

    title = "corrected resampled t"
    source = "Nadeau & Bengio 2003, Machine Learning 52"

    def between(self, a: Measured, b: Measured, design: Design) -> PairResult:
        return corrected(a, b, design, test=self.title)
