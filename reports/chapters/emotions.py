"""Emotion by emotion: recalls, which modality reads which emotion, what is lost without a modality."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.comparisons import ABOVE, BY_LABEL, OTHERS, STRATEGIES, UNTOLD, Comparison, compare_pair, judge
from reports.drawing import HEAT, WARM, Figure, grid
from reports.evidence import CHANCE, Evidence, Model
from reports.measures import Measures, interval_of, recall_of
from reports.metrics import class_scores
from reports.results import Results
from reports.selection import listed
from reports.statistics._statistic import PairResult
from reports.statistics.holm import Holm
from reports.words import labels_of, percent, points

RECOVERED, MISSED = "recovered", "missed"
_CHECKED = ("weighted", "concat")  # the fusions that planted effects are looked for in


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One model on one emotion. Recall is the mean the intervals belong to; precision and F1 are of summed counts.

    `support` counts test predictions over all repeats.
    """

    model: str
    label: str
    recall: float | None
    low: float | None
    high: float | None
    precision: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The modality that alone recalls an emotion best, against the nearest other one.

    `p` is the largest p against any other modality, `holm_p` corrected over the emotions.
    """

    label: str
    modality: str
    recall: float
    runner_up: str
    margin: PairResult | None
    p: float | None
    holm_p: float | None
    told: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DropOne:
    """How much recall of an emotion the reference has over the same head without one modality."""

    modality: str
    label: str
    without: str
    result: PairResult | None


@dataclass(frozen=True, kw_only=True)
class Planted:
    """An effect the corpus says it holds, and whether this study found it."""

    effect: str
    verdict: str
    why: str


@dataclass(frozen=True, kw_only=True)
class ByEmotion:
    """Recalls of all models, who reads what best, what is lost without a modality, and what the corpus planted."""

    class_scores: tuple[ClassScore, ...]
    winners: tuple[Winner, ...]
    dropped: tuple[DropOne, ...]
    planted: tuple[Planted, ...]


class Emotions(Chapter[ByEmotion]):
    """Emotion by emotion, for single modalities and fusions."""

    title = "Emotion by emotion"

    def compute(self, case: Case) -> ByEmotion:
        evidence, measures = case.evidence, case.measures
        winners = find_winners(evidence, measures)
        planted = check_planted(evidence, winners, case.comparisons)
        return ByEmotion(
            class_scores=score_classes(evidence, measures),
            winners=winners,
            dropped=drop_one(evidence, measures, case.reference),
            planted=(*planted, *check_silent(evidence, measures, case.primary_metric)),
        )

    def figures(self, value: ByEmotion, results: Results) -> Iterable[Figure]:
        return [_recalls(value, results), *([_lost(value, results)] if value.dropped else [])]

    def tables(self, value: ByEmotion, results: Results) -> Mapping[str, Rows]:
        return {"recalls": [vars(score) for score in value.class_scores]}


def score_classes(evidence: Evidence, measures: Measures) -> tuple[ClassScore, ...]:
    """Return one entry a model and emotion."""
    rows = []
    for model in evidence.models:
        summed = class_scores(measures.confusions[model.name])
        for k, label in enumerate(evidence.classes):
            measured = measures.table[model.name].get(recall_of(label))
            low, high = interval_of(measures, model.name, recall_of(label))
            rows.append(
                ClassScore(
                    model=model.name,
                    label=label,
                    recall=measured.estimate if measured else None,
                    low=low,
                    high=high,
                    precision=float(summed["precision"][k]),
                    f1=float(summed["f1"][k]),
                    support=int(summed["support"][k]),
                )
            )
    return tuple(rows)


def find_winners(evidence: Evidence, measures: Measures) -> tuple[Winner, ...]:
    """Say for every emotion which single modality recalls it best, and whether that can be told."""
    single = [model for model in evidence.models if len(model.modalities) == 1 and not model.variant]
    labels = (
        [label for label in evidence.classes if recall_of(label) in measures.table[single[0].name]] if single else []
    )
    if len(single) < 2:
        return ()
    found = [_winner(measures, single, label) for label in labels]
    adjusted = Holm().adjust([winner.p for winner in found])
    told = tuple(_told(winner, p, measures.design.alpha) for winner, p in zip(found, adjusted, strict=True))
    if evidence.pairing != "composed":
        return told
    return tuple(replace(winner, told=False, reason=BY_LABEL) for winner in told)


def _winner(measures: Measures, single: Sequence[Model], label: str) -> Winner:
    score = recall_of(label)
    order = sorted(single, key=lambda model: -measures.table[model.name][score].estimate)
    best, others = order[0], order[1:]
    tested = [compare_pair(measures, score, best.name, other.name)[0] for other in others]
    p = [result.p for result in tested if result and result.p is not None]
    return Winner(
        label=label,
        modality=best.modalities[0],
        recall=measures.table[best.name][score].estimate,
        runner_up=others[0].modalities[0],
        margin=tested[0],
        p=max(p) if len(p) == len(tested) else None,
        holm_p=None,
        told=False,
    )


def _told(winner: Winner, holm_p: float | None, alpha: float) -> Winner:
    verdict, reason = judge(winner.margin, holm_p, alpha)
    return replace(winner, holm_p=holm_p, told=verdict == ABOVE, reason=reason)


def drop_one(evidence: Evidence, measures: Measures, reference: Model) -> tuple[DropOne, ...]:
    """Compare the reference with the same head, or the single modality, that is left without each modality."""
    rows = []
    for modality in reference.modalities if reference.fused else ():
        left = tuple(m for m in reference.modalities if m != modality)
        head = reference.head if len(left) > 1 else "unimodal"
        for model in evidence.models:
            if (model.modalities, model.head, model.variant) == (left, head, reference.variant):
                rows += [_dropped(measures, reference, model, modality, label) for label in evidence.classes]
    return tuple(rows)


def _dropped(measures: Measures, reference: Model, left: Model, modality: str, label: str) -> DropOne:
    result, _ = compare_pair(measures, recall_of(label), reference.name, left.name)
    return DropOne(modality=modality, label=label, without=left.name, result=result)


def planted_in(facts: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return the emotions each modality was made to tell, none for one that tells nothing; {} if nobody planted any."""
    planted: Mapping[str, Sequence[str]] = facts["corpus"].get("notes", {}).get("planted") or {}
    return planted


def check_planted(
    evidence: Evidence, winners: Sequence[Winner], comparisons: Sequence[Comparison]
) -> tuple[Planted, ...]:
    """Hold what was found against the effects the corpus says were planted in the modalities of this study.

    () if it says nothing. That fusing helps is one of them where two or more modalities tell something.
    """
    planted = {m: labels for m, labels in planted_in(evidence.facts).items() if labels and m in _modalities(evidence)}
    by_label = {winner.label: winner for winner in winners}
    rows = [
        _recovered(modality, by_label[label])
        for modality, labels in sorted(planted.items())
        for label in labels
        if label in by_label
    ]
    return (*rows, *_above_every_modality(evidence, comparisons)) if rows and len(planted) > 1 else tuple(rows)


def _modalities(evidence: Evidence) -> tuple[str, ...]:
    return tuple(sorted({m for model in evidence.models for m in model.modalities}))


def _recovered(modality: str, winner: Winner) -> Planted:
    right = winner.modality == modality
    why = f"{winner.modality} recalls it best" + ("" if winner.told else f", but it cannot be told: {winner.reason}")
    verdict = RECOVERED if right and winner.told else MISSED
    return Planted(effect=f"{modality} alone reads {winner.label} best", verdict=verdict, why=why)


def _above_every_modality(evidence: Evidence, comparisons: Sequence[Comparison]) -> list[Planted]:
    head_of = {model.name: model for model in evidence.models}
    pairs: dict[str, list[Comparison]] = {}
    for c in comparisons:
        if c.metric == comparisons[0].metric and c.family in (STRATEGIES, OTHERS) and not head_of[c.b].fused:
            pairs.setdefault(c.a, []).append(c)
    rows = []
    for name, own in pairs.items():
        if head_of[name].head not in _CHECKED:
            continue
        not_above = [c.b for c in own if c.verdict != ABOVE]
        why = f"{UNTOLD} from {', '.join(not_above)}" if not_above else "every difference is above 0 after Holm"
        verdict = MISSED if not_above else RECOVERED
        effect = f"{head_of[name].head} fusion is above every single modality"
        rows.append(Planted(effect=effect, verdict=verdict, why=why))
    return rows


def check_silent(evidence: Evidence, measures: Measures, metric: str) -> tuple[Planted, ...]:
    """Say of each modality that was made to tell nothing whether a fusion is found to gain by it all the same.

    The null is recovered unless the fusion of all modalities is above the same head without this one, or above the
    single modality that is left; Holm over all these comparisons.
    """
    models = {(model.head, model.modalities): model.name for model in evidence.models if not model.variant}
    everything = _modalities(evidence)
    cases = []
    for modality in (m for m, labels in sorted(planted_in(evidence.facts).items()) if not labels and m in everything):
        left = tuple(m for m in everything if m != modality)
        for head in _CHECKED:
            pair = models.get((head, everything)), models.get((head if len(left) > 1 else "unimodal", left))
            if pair[0] and pair[1]:
                cases.append((modality, head, compare_pair(measures, metric, pair[0], pair[1])))
    adjusted = Holm().adjust([result.p if result else None for _, _, (result, _) in cases])
    return tuple(
        _null(modality, head, judge(result, p, measures.design.alpha), refused)
        for (modality, head, (result, refused)), p in zip(cases, adjusted, strict=True)
    )


def _null(modality: str, head: str, judged: tuple[str, str], refused: str) -> Planted:
    verdict, reason = judged
    gains = verdict == ABOVE
    why = "the gain is above 0 after Holm" if gains else refused or reason or "it is found to harm"
    effect = f"{modality}, which tells nothing, is not found to help {head} fusion"
    return Planted(effect=effect, verdict=MISSED if gains else RECOVERED, why=why)


def _recalls(found: ByEmotion, results: Results) -> Figure:
    names, shown = labels_of(results), listed(results) - {CHANCE}
    order = [score.model for score in results.ranking() if score.model in shown]
    recall = {(score.model, score.label): score.recall for score in found.class_scores}
    labels = results.labels
    values = [[recall[model, label] for label in labels] for model in order]
    cells = [[(HEAT, value or 0.0, percent(value), False) for value in row] for row in values]
    title = "Recall of models on every emotion, in percent"
    return grid("recalls", "recalls", title, [names[model] for model in order], labels, cells)


def _lost(found: ByEmotion, results: Results) -> Figure:
    result = {(d.modality, d.label): d.result for d in found.dropped}
    modalities = list(dict.fromkeys(d.modality for d in found.dropped))
    labels = results.labels
    largest = max((abs(r.difference) for r in result.values() if r), default=0.0) or 1.0
    cells = []
    for label in labels:
        row = []
        for modality in modalities:
            r = result[modality, label]
            gain = r.difference if r else 0.0
            told = bool(r and r.low is not None and r.high is not None and r.low * r.high > 0)
            row.append((HEAT if gain > 0 else WARM, abs(gain) / largest, points(gain) if r else "–", told))
        cells.append(row)
    title = "Recall lost by emotion when one modality is taken away, in percentage points"
    return grid("dropped", "dropped", title, labels, [f"without {modality}" for modality in modalities], cells)
