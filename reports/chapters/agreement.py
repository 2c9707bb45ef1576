"""Where single modalities agree and where they do not: what fusions make of it, and whose errors coincide."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import BLUE, GREEN, INK, MARKERS, MUTED, ORANGE, PURPLE, Drawing, Figure, finish, whisker
from reports.findings.tallies import Rate
from reports.findings.votes import ALL, ORACLE, Overlap, Stratified, Votes, single_heads
from reports.heads import LATE
from reports.results import Results
from reports.selection import shown_first, worth_a_matrix
from reports.words import labels_of, percent

_COLOURS = (INK, BLUE, ORANGE, GREEN, PURPLE, MUTED)


@dataclass(frozen=True, kw_only=True)
class Agreements:
    """Scores by pattern for every set of modalities that is fused, the reference's first; and overlaps of errors."""

    strata: tuple[Stratified, ...]
    overlaps: tuple[Overlap, ...]


class Agreement(Chapter[Agreements]):
    """Conflict and complementarity of modalities."""

    title = "Where modalities agree"

    def compute(self, case: Case) -> Agreements | None:
        singles = single_heads(case.evidence.models, case.reference.variant)
        models = [m for m in case.evidence.models if m.fused and set(m.modalities) <= set(singles)]
        if not models:
            return None
        votes = Votes(case, singles)
        sets = sorted(
            {m.modalities for m in models}, key=lambda own: (own != case.reference.modalities, -len(own), own)
        )
        return Agreements(
            strata=tuple(votes.stratified(own, [m.name for m in models if m.modalities == own]) for own in sets),
            overlaps=votes.overlaps(case.reference),
        )

    def figures(self, value: Agreements, results: Results) -> Iterable[Figure]:
        return [_by_pattern(value.strata[0], results)]

    def tables(self, value: Agreements, results: Results) -> Mapping[str, Rows]:
        scores = [
            {"modalities": "+".join(own.modalities), "pattern": pattern.name, "absent": pattern.absent,
             "count": pattern.count, "share": pattern.share, "model": score.model, **score.accuracy.row("accuracy")}
            for own in value.strata for pattern in own.patterns for score in own.scores if score.pattern == pattern.name
        ]  # fmt: skip
        overlaps = [
            {"a": o.a, "b": o.b, "n": o.n, **o.double_fault.row("double_fault"),
             **o.disagreement.row("disagreement"), **o.q.row("yules_q")}
            for o in value.overlaps
        ]  # fmt: skip
        return {"agreement": scores, "error_overlap": overlaps}

    def context(self, value: Agreements, results: Results) -> Mapping[str, Any]:
        ranked = [score.model for score in results.ranking()]
        first = [name for name in ranked if name in shown_first(results)]
        tables = [(own, _rows(own, [*(ranked if i else first), ORACLE])) for i, own in enumerate(value.strata)]
        return {"first": tables[0], "rest": tables[1:], "oracle": ORACLE, "bound": _overall(value.strata[0], results)}


def _rows(found: Stratified, order: Sequence[str]) -> list[tuple[str, list[Rate]]]:
    """Return the accuracies by pattern of the models in `order` that are there."""
    own: dict[str, list[Rate]] = {}
    for score in found.scores:
        own.setdefault(score.model, []).append(score.accuracy)
    return [(name, own[name]) for name in order if name in own]


def _overall(found: Stratified, results: Results) -> dict[str, Any] | None:
    """Return the accuracies on all samples: of the reference, of the best single modality, and where any is right.

    None if the reference is no fusion of these modalities.
    """
    overall = {score.model: score.accuracy for score in found.scores if score.pattern == ALL}
    if results.reference not in overall or not results.model(results.reference).fused:
        return None
    single = max((name for name in overall if name != ORACLE and not results.model(name).fused),
                 key=lambda name: overall[name].estimate or 0.0)  # fmt: skip
    clear = next((p for p in found.patterns if len(p.votes) == 1 and p.right is None and not p.absent), None)
    oracle = {score.pattern: score.accuracy for score in found.scores if score.model == ORACLE}
    right = oracle[clear.name] if clear else None
    bound = {"reference": overall[results.reference], "single": single, "best": overall[single]}
    return bound | {"oracle": overall[ORACLE], "unanimous": clear, "unanimous_right": right}


def _by_pattern(found: Stratified, results: Results) -> Figure:
    names, order = labels_of(results), [score.model for score in results.ranking()]
    there = {score.model for score in found.scores}
    vote = [m.name for m in results.models if m.head == LATE and m.name in there and not m.variant]
    shown, bound = [name for name in worth_a_matrix(results) if name in there], _overall(found, results)
    shown = (
        list(dict.fromkeys([*shown[:3], *vote, *([bound["single"]] if bound else shown[-1:])]))
        or sorted(there - {ORACLE})[:4]
    )
    patterns = [p for p in found.patterns if p.votes and not p.absent and p.right is None]
    rates = {(score.model, score.pattern): score.accuracy for score in found.scores}
    title = f"Accuracy by how many of {len(found.modalities)} single modalities agree, in percent, with intervals"
    height = 0.9 + len(patterns) * (0.2 + 0.22 * len(shown)) + 0.2 * len(shown)
    with Drawing("agreement", height=height) as drawing:
        ax, ticks, step = drawing.axes, [], len(shown) + 1.0
        for row, pattern in enumerate(patterns):
            for i, name in enumerate(sorted(shown, key=order.index)):
                rate, y = rates[name, pattern.name], row * step + i
                style = shown.index(name)
                whisker(drawing, rate.estimate, rate.low, rate.high, y, _COLOURS[style], marker=MARKERS[style])
            ticks.append((row * step + (len(shown) - 1) / 2, f"{pattern.name} ({100 * pattern.share:.0f} %)"))
        for style, name in enumerate(shown):
            ax.plot([], [], MARKERS[style], color=_COLOURS[style], label=names[name])
        ax.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        ax.set(ylim=(len(patterns) * step - 0.5, -1.0), xlabel="accuracy, %")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        told = "; ".join(
            f"{p.name}: {', '.join(f'{names[name]} {percent(rates[name, p.name].estimate)} %' for name in shown)}"
            for p in patterns
        )
        return finish(drawing, "agreement", title, told=f"Accuracy by pattern: {told}.")
