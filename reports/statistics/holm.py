"""Holm's step-down correction over a stated family of comparisons."""

from collections.abc import Sequence

from statsmodels.stats.multitest import multipletests

from reports.statistics._statistic import Correction


class Holm(Correction):
    """Holds the chance of any false alarm in the family; an impossible test still counts as a member."""

    title = "Holm"
    source = "Holm 1979, Scandinavian Journal of Statistics 6"

    def adjust(self, p: Sequence[float | None]) -> list[float | None]:
        if not p:
            return []
        adjusted = multipletests([1.0 if value is None else value for value in p], method="holm")[1]
        return [None if value is None else float(new) for value, new in zip(p, adjusted, strict=True)]
