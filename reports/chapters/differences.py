"""Two models at a time: the comparisons stated beforehand."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.results import Results
from reports.statistics._statistic import PairResult
from reports.words import TITLES


@dataclass(frozen=True, kw_only=True)
class Families:
    """The families that are compared; the comparisons themselves are in the core of the results."""

    names: tuple[str, ...]


class Differences(Chapter[Families]):
    """Every family of comparisons, with Holm's correction."""

    title = "Differences"

    def compute(self, case: Case) -> Families:
        return Families(names=tuple(family.name for family in case.families))

    def tables(self, value: Families, results: Results) -> Mapping[str, Rows]:
        return {"comparisons": _rows(results)}

    def context(self, value: Families, results: Results) -> Mapping[str, Any]:
        return {"titles": TITLES}


def _rows(results: Results) -> Rows:
    rows = []
    for c in results.comparisons:
        row = {name: getattr(c, name) for name in ("family", "metric", "a", "b", "verdict", "reason", "holm_p")}
        for prefix, result in (("primary", c.primary), ("naive", c.naive)):
            for field in fields(PairResult):
                row[f"{prefix}_{field.name}"] = getattr(result, field.name) if result else None
        rows.append(row)
    return rows
