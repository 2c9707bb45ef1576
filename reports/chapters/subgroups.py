"""Scores by gender, age and culture, and the gaps between them, where the corpus says who is what."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.comparisons import ABOVE, BELOW, UNTOLD, judge
from reports.drawing import BLUE, MUTED, ROW, Drawing, Figure, finish, whisker
from reports.errors import StatisticsError
from reports.findings.leaks import FEWEST_SAMPLES
from reports.metrics import counted_score, margins
from reports.results import Results
from reports.statistics._statistic import Measured, PairResult
from reports.statistics.clustered_bootstrap import FEWEST_GROUPS, ClusteredBootstrap, group_weights
from reports.statistics.holm import Holm
from reports.words import NAMES, labels_of

MOST = 8  # subgroups of a trait that are shown, the largest
BANDS = ((18, "under 18"), (30, "18 to 29"), (45, "30 to 44"), (60, "45 to 59"), (np.inf, "60 and over"))
TRAITS = ("gender", "age", "culture")
MOST_LINES = 16  # of one figure
OTHERS = "all others"


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
        self.labels, (self.group_names, self.groups) = case.evidence.labels, case.evidence.group_index
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
        cell = (self.groups * k + self.labels) * k + self.case.evidence.predicted(model)
        counts = np.bincount(cell[mask], minlength=len(self.group_names) * k * k).reshape(-1, k * k).astype(float)
        point, drawn = counts.sum(axis=0).reshape(k, k), (self.weights @ counts).reshape(-1, k, k)
        whole = (drawn.sum(axis=-1) > 0).sum(axis=-1) == (point.sum(axis=-1) > 0).sum()
        draws = np.where(whole, counted_score(metric, margins(drawn)), np.nan)  # without a class: another score
        return Measured(repeats=np.empty(0), pooled=float(counted_score(metric, margins(point))), draws=draws)


@dataclass(frozen=True, kw_only=True)
class SubgroupScore:
    """The primary metric of one model in one subgroup, over all tests together, with its interval."""

    trait: str
    value: str
    model: str
    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The score of one model in a subgroup less that in `other`.

    Those of the reference have a verdict, Holm over all of them in all traits; those of others are described: None.
    """

    trait: str
    value: str
    other: str
    model: str
    result: PairResult | None
    holm_p: float | None = None
    verdict: str | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Division:
    """The traits the corpus knows, and what the models make of them."""

    models: tuple[str, ...]
    traits: tuple[Trait, ...]
    scores: tuple[SubgroupScore, ...]
    gaps: tuple[Gap, ...]


class Subgroups(Chapter[Division]):
    """Scores and gaps by trait, groups resampled."""

    title = "Scores by gender, age and culture"

    def compute(self, case: Case) -> Division | None:
        rows = case.store.samples().select(["sample_id", *TRAITS]).to_pylist()
        known = [trait for trait in TRAITS if len({row[trait] for row in rows} - {None, ""}) > 1]
        if not known:
            return None
        tests, models = PooledTests(case), _models(case)
        traits, scores, gaps = [], [], []
        for name in known:
            of = {row["sample_id"]: row[name] or "" for row in rows}
            if name == "age":
                of = bands(of)
            trait, told = divide(name, np.array([of[sample] for sample in tests.sample_ids]), tests)
            traits.append(trait)
            for model in models:
                measured = {value: tests.measure(model, mask) for value, mask in told.items()}
                scores += [_score(name, value, model, mask, measured[value], tests) for value, mask in told.items()]
                gaps += _gaps(name, model, told, measured, tests)
        return Division(models=models, traits=tuple(traits), scores=tuple(scores), gaps=judge_reference(gaps, case))

    def figures(self, value: Division, results: Results) -> Iterable[Figure]:
        return [_figure(value, trait, results) for trait in value.traits if any(not s.reason for s in trait.subgroups)]

    def tables(self, value: Division, results: Results) -> Mapping[str, Rows]:
        return {
            "subgroups": [vars(score) for score in value.scores],
            "gaps": [
                {
                    **{name: getattr(gap, name) for name in ("trait", "value", "other", "model")},
                    "gap": gap.result and gap.result.difference,
                    **{name: gap.result and getattr(gap.result, name) for name in ("low", "high", "p")},
                    **{name: getattr(gap, name) for name in ("holm_p", "verdict", "reason")},
                }
                for gap in value.gaps
            ],
        }

    def context(self, value: Division, results: Results) -> Mapping[str, Any]:
        return {
            "fewest_samples": FEWEST_SAMPLES,
            "fewest_groups": FEWEST_GROUPS,
            "banded": any(own.value == band for trait in value.traits for own in trait.subgroups for _, band in BANDS),
            "judged": sum(gap.verdict is not None for gap in value.gaps),
            "higher": {ABOVE: "higher", BELOW: "lower", UNTOLD: UNTOLD},
        }


def _models(case: Case) -> tuple[str, ...]:
    """Return the reference, the best of its rivals on the same modalities, and the single modalities."""
    score = {model: own[case.primary_metric].estimate for model, own in case.measures.table.items()}
    full = set(case.reference.modalities)
    alike = [m for m in case.evidence.models if m.variant == case.reference.variant and m.name != case.reference.name]
    rivals = sorted((m.name for m in alike if set(m.modalities) == full), key=lambda name: (-score[name], name))
    single = sorted(m.name for m in alike if len(m.modalities) == 1 and set(m.modalities) < full)
    return tuple(dict.fromkeys([case.reference.name, *rivals[:1], *single]))


def _figure(value: Division, trait: Trait, results: Results) -> Figure:
    """Return the scores by subgroup, model by model; of many only the reference's."""
    told, labels = [own.value for own in trait.subgroups if not own.reason], labels_of(results)
    models = value.models if len(value.models) * len(told) <= MOST_LINES else value.models[:1]
    of = {(own.value, own.model): own for own in value.scores if own.trait == trait.name}
    lines = [(model, subgroup) for model in models for subgroup in told]
    title = f"{NAMES[results.method.primary_metric]} by {trait.name}"
    with Drawing(f"by-{trait.name}", height=0.7 + ROW * len(lines)) as drawing:
        ends = np.arange(len(lines))[::-1]
        for y, (model, subgroup) in zip(ends, lines, strict=True):
            own = of[subgroup, model]
            whisker(drawing, own.score, own.low, own.high, y, BLUE if model == results.reference else MUTED)
        drawing.axes.set_yticks(ends, [f"{labels[model]}, {subgroup}" for model, subgroup in lines])
        drawing.axes.set_xlabel(f"{NAMES[results.method.primary_metric]}, %")
        return finish(drawing, "by_trait", title)


def _score(trait: str, value: str, model: str, mask: np.ndarray, own: Measured, tests: PooledTests) -> SubgroupScore:
    test, uncut = ClusteredBootstrap.over(tests.groups[mask]), (-np.inf, np.inf)
    low, high = test.limits(own, tests.case.measures.design, uncut)  # None: no draw has all emotions
    return SubgroupScore(trait=trait, value=value, model=model, score=own.estimate, low=low, high=high)


def _gaps(
    trait: str, model: str, told: Mapping[str, np.ndarray], measured: Mapping[str, Measured], tests: PooledTests
) -> list[Gap]:
    """Return the gaps of a model: between two subgroups, or of each of several against all others that are told of."""
    values, gaps = list(told), []
    if len(values) < 2:
        return []
    for value in values[:1] if len(values) == 2 else values:
        rest = np.any([mask for other, mask in told.items() if other != value], axis=0)
        sides = [ClusteredBootstrap.over(tests.groups[mask]) for mask in (told[value], rest)]
        test = min(sides, key=lambda side: side.effective)
        other, against = (values[1], measured[values[1]]) if len(values) == 2 else (OTHERS, tests.measure(model, rest))
        gap = Gap(trait=trait, value=value, other=other, model=model, result=None)
        try:
            gap = replace(gap, result=test.compare(measured[value], against, tests.case.measures.design))
        except StatisticsError as error:
            gap = replace(gap, reason=str(error))
        gaps.append(gap)
    return gaps


def judge_reference(gaps: Sequence[Gap], case: Case) -> tuple[Gap, ...]:
    """Return the gaps, those of the reference with a verdict: Holm over all of them, whatever their trait."""
    own = [gap.result.p if gap.result else None for gap in gaps if gap.model == case.reference.name]
    adjusted = iter(Holm().adjust(own))
    by_label = case.evidence.by_label and case.reference.fused
    judged = []
    for gap in gaps:
        if gap.model == case.reference.name:
            holm_p = next(adjusted)
            verdict, reason = judge(gap.result, holm_p, case.measures.design.alpha, by_label=by_label)
            gap = replace(gap, holm_p=holm_p, verdict=verdict, reason=gap.reason or reason)
        judged.append(gap)
    return tuple(judged)


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
