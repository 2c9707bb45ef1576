"""What chapters are computed from: the evidence, measured and compared, and what other chapters found."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from reports.comparisons import Comparison, Family
from reports.config import ReportConfig
from reports.evidence import Evidence, Model
from reports.measures import Measures
from stores.studies import StudyStore

if TYPE_CHECKING:
    from reports.chapters._chapter import Chapter
    from reports.findings.leaks import Seen

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A study as a report sees it. `value(Weights)` is what another chapter found; nothing is computed twice.

    Where training has seen more than a few test samples, all is computed on the others, and `whole` is the case on all.
    """

    store: StudyStore
    config: ReportConfig
    evidence: Evidence
    measures: Measures
    reference: Model
    families: tuple[Family, ...]
    comparisons: tuple[Comparison, ...]
    seen: Seen | None = None
    whole: Case | None = None
    _found: dict[type[Any], Any] = field(default_factory=dict, repr=False)

    def value(self, chapter: type[Chapter[T]]) -> T | None:
        """Return the value of a chapter, computed once; None if it has nothing to say."""
        if chapter not in self._found:
            self._found[chapter] = chapter().compute(self)
        found: T | None = self._found[chapter]
        return found

    @cached_property
    def sample_counts(self) -> list[dict[str, Any]]:
        """How many samples, `n`, share a label, why they are left out, and what they lack (once that was noted)."""
        samples = self.store.samples()
        keys = [name for name in ("label", "excluded", "lacks") if name in samples.column_names]
        counted = samples.group_by(keys, use_threads=False).aggregate([([], "count_all")])
        return [row | {"n": row.pop("count_all")} for row in counted.to_pylist()]

    @property
    def primary_metric(self) -> str:
        return self.config.primary_metric

    def compared(self, family: str, metric: str | None = None) -> list[Comparison]:
        """Return the comparisons of a family on one metric (the primary one by default)."""
        metric = metric or self.primary_metric
        return [c for c in self.comparisons if (c.family, c.metric) == (family, metric)]

    def ranking(self) -> list[str]:
        """Return the names of all models, best on the primary metric first, as `Results.ranking` does."""
        table, metric = self.measures.table, self.primary_metric
        estimates = {name: own[metric].estimate if metric in own else 0.0 for name, own in table.items()}
        return sorted(table, key=lambda name: (-estimates[name], name))
