"""Emotion by emotion: recalls, which modality reads which emotion, what is lost without a modality."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.comparisons import UNTOLD
from reports.drawing import HEAT, LINE, MARKERS, MODALITY, MUTED, PURPLE, Drawing, Figure, finish, grid
from reports.evidence import CHANCE, Evidence
from reports.findings.gains import (
    DropOne,
    Lead,
    Planted,
    Winner,
    check_planted,
    check_silent,
    drop_one,
    find_leads,
    find_winners,
)
from reports.measures import Measures, interval_of, recall_of
from reports.metrics import class_scores
from reports.results import Results
from reports.selection import shown_first
from reports.statistics._statistic import PairResult
from reports.words import labels_of, percent


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
class ByEmotion:
    """Recalls of all models, who reads what best, what is lost without a modality, and what the corpus planted.

    `nulls` are of modalities that were made to tell nothing.
    """

    class_scores: tuple[ClassScore, ...]
    winners: tuple[Winner, ...]
    leads: tuple[Lead, ...]
    dropped: tuple[DropOne, ...]
    planted: tuple[Planted, ...]
    nulls: tuple[Planted, ...]


class Emotions(Chapter[ByEmotion]):
    """Emotion by emotion, for single modalities and fusions."""

    title = "Emotion by emotion"

    def compute(self, case: Case) -> ByEmotion:
        evidence, measures = case.evidence, case.measures
        winners = find_winners(evidence, measures)
        return ByEmotion(
            class_scores=score_classes(evidence, measures),
            winners=winners,
            leads=find_leads(evidence, measures),
            dropped=drop_one(evidence, measures, case.reference),
            planted=check_planted(evidence, winners, case.comparisons, measures.design.alpha),
            nulls=check_silent(evidence, measures, case.primary_metric),
        )

    def figures(self, value: ByEmotion, results: Results) -> Iterable[Figure]:
        return [_recalls(value, results), *_gains(value, results)]

    def tables(self, value: ByEmotion, results: Results) -> Mapping[str, Rows]:
        return {"recalls": [vars(score) for score in value.class_scores], "gains_by_emotion": _gain_rows(value)}


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


def _recalls(found: ByEmotion, results: Results) -> Figure:
    names, shown = labels_of(results), shown_first(results) - {CHANCE}
    order = [score.model for score in results.ranking() if score.model in shown]
    recall = {(score.model, score.label): score.recall for score in found.class_scores}
    labels = results.labels
    values = [[recall[model, label] for label in labels] for model in order]
    cells = [[(HEAT, value or 0.0, percent(value), False) for value in row] for row in values]
    title = "Recall of models on every emotion, in percent"
    return grid("recalls", "recalls", title, [names[model] for model in order], labels, cells)


def _gain_rows(found: ByEmotion) -> Rows:
    told = {(w.modality, w.label): w.holm_p for w in found.winners}
    alone = [
        {"gain": "alone", **_gain_row(x.modality, x.label, x.over, x.result, told.get((x.modality, x.label)))}
        for x in found.leads
    ]
    within = [
        {"gain": "in the reference", **_gain_row(d.modality, d.label, d.without, d.result, d.holm_p)}
        for d in found.dropped
    ]
    return [*alone, *within]


def _gain_row(modality: str, label: str, over: str, result: PairResult | None, holm_p: float | None) -> dict[str, Any]:
    figures = {name: getattr(result, name, None) for name in ("difference", "low", "high", "p", "n")}
    return {"modality": modality, "emotion": label, "over": over, **figures, "holm_p": holm_p}


Mark = tuple[PairResult | None, bool]  # a gain, and whether it is told


def _gains(found: ByEmotion, results: Results) -> Iterable[Figure]:
    """Draw what a modality is worth for every emotion: alone, and within the reference."""
    told = {(w.modality, w.label) for w in found.winners if w.told}
    alone = {(x.modality, x.label): (x.result, (x.modality, x.label) in told) for x in found.leads}
    within = {(d.modality, d.label): (d.result, d.verdict != UNTOLD) for d in found.dropped}
    if alone:
        title = "Recall of each modality alone over the best other one alone, by emotion"
        yield _by_emotion("leads", title, results.labels, alone)
    if within:
        title = "Recall lost by emotion when one modality is taken away"
        yield _by_emotion("dropped", title, results.labels, within)


def _by_emotion(name: str, title: str, labels: Sequence[str], marks: Mapping[tuple[str, str], Mark]) -> Figure:
    modalities = list(dict.fromkeys(modality for modality, _ in marks))
    step = 1 / (len(modalities) + 1)
    with Drawing(name, height=0.9 + 0.2 * (len(modalities) + 1) * len(labels)) as drawing:
        ax = drawing.axes
        ax.axvline(0, color=MUTED, linewidth=1)
        for row, label in enumerate(labels):
            if row:
                ax.axhline(row - 0.5, color=LINE, linewidth=0.7)
            for i, modality in enumerate(modalities):
                colour, y = MODALITY.get(modality, PURPLE), row - 0.5 + (i + 1) * step
                _mark(drawing, marks.get((modality, label)), y, colour, MARKERS[i])
        for modality, marker in zip(modalities, MARKERS, strict=False):
            ax.plot([], [], marker, color=MODALITY.get(modality, PURPLE), markersize=6, label=modality)
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(modalities), borderpad=0, handletextpad=0.2)
        ax.set_yticks(range(len(labels)), labels)
        ax.set(ylim=(len(labels) - 0.5, -0.5), xlabel="difference in recall, percentage points")
        return finish(drawing, "gains", title)


def _mark(drawing: Drawing, mark: Mark | None, y: float, colour: str, marker: str) -> None:
    """Draw a gain with its interval: filled if it is told, hollow if not."""
    result, told = mark or (None, False)
    if result is None:
        return
    if result.low is not None and result.high is not None:
        drawing.axes.plot([100 * result.low, 100 * result.high], [y, y], color=colour, linewidth=1.6)
    face = colour if told else "none"
    drawing.axes.plot([100 * result.difference], [y], marker, color=colour, markerfacecolor=face, markersize=6)
