"""Errors of this room. Each says what was expected, what came, and what to do."""


class ReportError(Exception):
    """Base of everything `reports` raises."""


class StatisticsError(ReportError, ValueError):
    """A statistic was asked for something it cannot answer: NaN, unpaired scores, too few repeats."""


class EvidenceError(ReportError, ValueError):
    """The runs of a study cannot be compared: they were not scored on the same repeats and samples."""
