"""Naive paired t test, as in the reference paper."""

from reports.statistics._statistic import Design, Measured, PairResult, PairTest
from reports.statistics._student import naive


class PairedT(PairTest):
    """t = mean / (s / sqrt J), df J - 1. Flagged where repeats overlap: it then errs far above its nominal rate."""

    title = "naive paired t"
    source = "Student 1908; reference paper, section 3.1.4"

    def between(self, a: Measured, b: Measured, design: Design) -> PairResult:
        return naive(a, b, design, test=self.title)
