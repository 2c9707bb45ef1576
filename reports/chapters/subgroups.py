"""Scores by gender, age and culture, and the gaps between them, where the corpus says who is what."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.comparisons import ABOVE, BELOW, BY_LABEL, UNTOLD, judge
from reports.drawing import BLUE, MUTED, ROW, Drawing, Figure, finish, whisker
from reports.errors import StatisticsError
from reports.findings.rescoring import FEWEST_SAMPLES
from reports.findings.traits import BANDS, PooledTests, Trait, bands, divide
from reports.results import Results
from reports.statistics._statistic import Measured, PairResult
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
    try:
        found = ClusteredBootstrap(tests.n_groups(mask)).interval(own, tests.case.measures.design)
    except StatisticsError:  # no draw has all emotions
        found = None
    low, high = (None, None) if found is None or found.low is None or found.high is None else (found.low, found.high)
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
        test = ClusteredBootstrap(min(tests.n_groups(told[value]), tests.n_groups(rest)))
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
    by_label = case.evidence.pairing == "composed" and case.reference.fused
    judged = []
    for gap in gaps:
        if gap.model == case.reference.name:
            holm_p = next(adjusted)
            verdict, reason = judge(gap.result, holm_p, case.measures.design.alpha)
            if by_label:
                verdict, reason = UNTOLD, BY_LABEL
            gap = replace(gap, holm_p=holm_p, verdict=verdict, reason=gap.reason or reason)
        judged.append(gap)
    return tuple(judged)
