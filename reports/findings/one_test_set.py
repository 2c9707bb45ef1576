"""Two models sample by sample, where every model was scored on one test set: McNemar, once or by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.evidence import Evidence
from reports.statistics.mcnemar import McNemar, McNemarResult

NO_ONE_SET = "every repeat draws its own test part from the same samples, so there is no one test set to compare on"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and range over seeds; all three are the value itself where there is one."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SampleBySample:
    """McNemar's test of a - b: one table a seed, or a single one where every sample is tested once."""

    tables: tuple[McNemarResult, ...]
    gain: Spread
    p: Spread
    mid_p: Spread


@dataclass(frozen=True, kw_only=True)
class OneTestSet:
    """Which samples each model gets right: `hits[model]` (seeds, n) bool, all models on the same samples."""

    hits: Mapping[str, np.ndarray]
    groups: int
    alpha: float

    def compare(self, a: str, b: str) -> SampleBySample:
        """Return McNemar's test of the models named `a` and `b`, once for every seed."""
        tables = tuple(
            McNemar().compare(one, other, alpha=self.alpha, groups=self.groups)
            for one, other in zip(self.hits[a], self.hits[b], strict=True)
        )
        return SampleBySample(
            tables=tables,
            gain=spread([table.difference for table in tables]),
            p=spread([table.p for table in tables]),
            mid_p=spread([table.mid_p for table in tables]),
        )


def find_one_test_set(evidence: Evidence, alpha: float) -> OneTestSet | None:
    """Return the test set of a fixed split or of leave-one-group-out; None where repeats draw their own."""
    if evidence.protocol not in ("fixed", "leave-one-group-out"):
        return None
    join = np.stack if evidence.protocol == "fixed" else lambda parts: np.concatenate(parts)[None]
    return OneTestSet(
        hits={
            name: join([p.argmax(axis=1) == part.labels for p, part in zip(own, evidence.held_out, strict=True)])
            for name, own in evidence.posteriors.items()
        },
        groups=len({group for part in evidence.held_out for group in part.groups}),
        alpha=alpha,
    )


def spread(values: Sequence[float]) -> Spread:
    """Return the median and range of `values`."""
    return Spread(median=float(np.median(values)), low=min(values), high=max(values))
