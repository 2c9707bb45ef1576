"""Scores by gender, age and culture, and the gaps between them, where the corpus says who is what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.comparisons import ABOVE, BELOW, UNTOLD, judge
from reports.drawing import BLUE, MUTED, ROW, Drawing, Figure, finish, whisker
from reports.errors import StatisticsError
from reports.findings.traits import BANDS, FEWEST_SAMPLES, PooledTests, Trait, bands, divide
from reports.results import Results
from reports.statistics._statistic import PairResult
from reports.statistics.clustered_bootstrap import FEWEST_GROUPS, ClusteredBootstrap
from reports.statistics.holm import Holm
from reports.words import NAMES, labels_of

TRAITS = ("gender", "age", "culture")
MOST_LINES = 16  # of one figure
OTHERS = "all others"


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
    """The score of one model in a subgroup less that in `other`; Holm over its gaps in the trait."""

    trait: str
    value: str
    other: str
    model: str
    result: PairResult | None
    holm_p: float | None
    verdict: str
    reason: str


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
                scores += [_score(name, value, model, mask, tests) for value, mask in told.items()]
                gaps += _gaps(name, model, told, tests)
        return Division(models=models, traits=tuple(traits), scores=tuple(scores), gaps=tuple(gaps))

    def figures(self, value: Division, results: Results) -> Iterable[Figure]:
        return [_figure(value, trait, results) for trait in value.traits if any(not s.reason for s in trait.subgroups)]

    def tables(self, value: Division, results: Results) -> Mapping[str, Rows]:
        return {
            "subgroups": [vars(score) for score in value.scores],
            "gaps": [
                {
                    "trait": gap.trait,
                    "value": gap.value,
                    "other": gap.other,
                    "model": gap.model,
                    "gap": gap.result and gap.result.difference,
                    "low": gap.result and gap.result.low,
                    "high": gap.result and gap.result.high,
                    "p": gap.result and gap.result.p,
                    "holm_p": gap.holm_p,
                    "verdict": gap.verdict,
                    "reason": gap.reason,
                }
                for gap in value.gaps
            ],
        }

    def context(self, value: Division, results: Results) -> Mapping[str, Any]:
        return {
            "fewest_samples": FEWEST_SAMPLES,
            "fewest_groups": FEWEST_GROUPS,
            "banded": any(own.value == band for trait in value.traits for own in trait.subgroups for _, band in BANDS),
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


def _score(trait: str, value: str, model: str, mask: np.ndarray, tests: PooledTests) -> SubgroupScore:
    own = tests.measure(model, mask)
    try:
        found = ClusteredBootstrap(tests.n_groups(mask)).interval(own, tests.case.measures.design)
    except StatisticsError:  # no draw has all emotions
        found = None
    low, high = (None, None) if found is None or found.low is None or found.high is None else (found.low, found.high)
    return SubgroupScore(trait=trait, value=value, model=model, score=own.estimate, low=low, high=high)


def _gaps(trait: str, model: str, told: Mapping[str, np.ndarray], tests: PooledTests) -> list[Gap]:
    """Return the gaps of a model: between two subgroups, or of each of several against all others that are told of."""
    values, design = list(told), tests.case.measures.design
    found: list[tuple[str, PairResult | None, str]] = []
    if len(values) < 2:
        return []
    for value in values[:1] if len(values) == 2 else values:
        rest = np.any([mask for other, mask in told.items() if other != value], axis=0)
        test = ClusteredBootstrap(min(tests.n_groups(told[value]), tests.n_groups(rest)))
        try:
            gap = test.compare(tests.measure(model, told[value]), tests.measure(model, rest), design)
            found.append((value, gap, ""))
        except StatisticsError as error:
            found.append((value, None, str(error)))
    adjusted = Holm().adjust([result.p if result else None for _, result, _ in found])
    gaps = []
    for (value, result, why), holm_p in zip(found, adjusted, strict=True):
        verdict, reason = judge(result, holm_p, design.alpha)
        other = values[1] if len(values) == 2 else OTHERS
        own = Gap(
            trait=trait, value=value, other=other, model=model, result=result, holm_p=holm_p, verdict=verdict,
            reason=why or reason,
        )  # fmt: skip
        gaps.append(own)
    return gaps
