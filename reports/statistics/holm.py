"""Holm's step-down correction over a stated family of comparisons."""

from collections.abc import Sequence

import numpy as np

from reports.statistics._statistic import Correction


class Holm(Correction):
    """Holds the chance of any false alarm in the family; an impossible test still counts as a member.

    Three lines of our own, tested against statsmodels, whose `multipletests` collects garbage on every call.
    """

    title = "Holm"
    source = "Holm 1979, Scandinavian Journal of Statistics 6"

    def adjust(self, p: Sequence[float | None]) -> list[float | None]:
        known = np.array([1.0 if value is None else value for value in p], dtype=np.float64)
        order = np.argsort(known, kind="stable")
        adjusted = np.empty_like(known)
        adjusted[order] = np.minimum(1.0, np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1)))
        return [None if value is None else float(new) for value, new in zip(p, adjusted, strict=True)]
