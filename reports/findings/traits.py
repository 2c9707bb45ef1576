"""Who the test samples are: subgroups by gender, age and culture, and scores of them with whole groups resampled."""

import re
from dataclasses import dataclass

import numpy as np

from reports.case import Case
from reports.findings.rescoring import FEWEST_SAMPLES
from reports.metrics import counted_score, margins
from reports.statistics._statistic import Measured
from reports.statistics.clustered_bootstrap import FEWEST_GROUPS, group_weights

MOST = 8  # subgroups of a trait that are shown, the largest
BANDS = ((18, "under 18"), (30, "18 to 29"), (45, "30 to 44"), (60, "45 to 59"), (np.inf, "60 and over"))


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """Test samples of one value of a trait, each counted once, and the groups they come from.

    `reason` says why nothing can be told of it; it is empty otherwise.
    """

    trait: str
    value: str
    samples: int
    groups: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Trait:
    """One trait: `unknown` test samples have no value, `small` further subgroups are not shown."""

    name: str
    unknown: int
    small: int
    subgroups: tuple[Subgroup, ...]


class PooledTests:
    """All tests in a row: every sample as often as it was tested, and the draws of groups all scores share."""

    def __init__(self, case: Case) -> None:
        self.case, parts = case, case.evidence.held_out
        self.sample_ids = np.concatenate([part.sample_ids for part in parts])
        self.labels = np.concatenate([part.labels for part in parts])
        self.group_names, self.groups = np.unique(np.concatenate([part.groups for part in parts]), return_inverse=True)
        self.first = np.zeros(len(self.sample_ids), dtype=bool)
        self.first[np.unique(self.sample_ids, return_index=True)[1]] = True
        self.weights = group_weights(len(self.group_names), case.config.draws, case.config.seed)
        self.classes = len(case.evidence.classes)

    def n_groups(self, mask: np.ndarray) -> int:
        """Return how many groups the tests in `mask` (N,) come from."""
        return len(np.unique(self.groups[mask]))

    def measure(self, model: str, mask: np.ndarray) -> Measured:
        """Return the primary metric on the tests in `mask` (N,), and after resampling whole groups."""
        k, metric = self.classes, self.case.primary_metric
        predicted = np.concatenate([values.argmax(axis=1) for values in self.case.evidence.posteriors[model]])
        cell = (self.groups * k + self.labels) * k + predicted
        counts = np.bincount(cell[mask], minlength=len(self.group_names) * k * k).reshape(-1, k * k).astype(float)
        point, drawn = counts.sum(axis=0).reshape(k, k), (self.weights @ counts).reshape(-1, k, k)
        whole = (drawn.sum(axis=-1) > 0).sum(axis=-1) == (point.sum(axis=-1) > 0).sum()
        draws = np.where(whole, counted_score(metric, margins(drawn)), np.nan)  # without a class: another score
        return Measured(repeats=np.empty(0), pooled=float(counted_score(metric, margins(point))), draws=draws)


def bands(ages: dict[str, str]) -> dict[str, str]:
    """Return the band of every age, or the ages as they are if one of them is no number."""
    if not all(re.fullmatch(r"[0-9]{1,3}([.][0-9]+)?", age) for age in ages.values() if age):
        return ages
    return {name: next(band for end, band in BANDS if float(age) < end) if age else "" for name, age in ages.items()}


def divide(name: str, values: np.ndarray, tests: PooledTests) -> tuple[Trait, dict[str, np.ndarray]]:
    """Return a trait and, of the subgroups of which something can be told, the tests in each, (N,) bool."""
    there, counts = np.unique(values[tests.first & (values != "")], return_counts=True)
    largest = there[np.lexsort((there, -counts))]
    enough = [str(value) for value in largest[:MOST]]
    order = [band for _, band in BANDS]
    enough.sort(key=lambda value: (order.index(value) if value in order else -1, value))
    subgroups = tuple(_subgroup(name, value, values == value, tests) for value in enough)
    trait = Trait(
        name=name,
        unknown=int((tests.first & (values == "")).sum()),
        small=len(there) - len(enough),
        subgroups=subgroups,
    )
    return trait, {own.value: values == own.value for own in subgroups if not own.reason}


def _subgroup(trait: str, value: str, mask: np.ndarray, tests: PooledTests) -> Subgroup:
    samples, groups = int((mask & tests.first).sum()), tests.n_groups(mask)
    lacking = sorted(set(range(tests.classes)) - set(tests.labels[mask].tolist()))
    reason = ""
    if samples < FEWEST_SAMPLES or groups < FEWEST_GROUPS:
        reason = f"fewer than {FEWEST_SAMPLES} test samples or {FEWEST_GROUPS} groups"
    elif lacking:
        reason = f"no test sample of {', '.join(tests.case.evidence.classes[k] for k in lacking)}"
    return Subgroup(trait=trait, value=value, samples=samples, groups=groups, reason=reason)
