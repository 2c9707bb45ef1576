"""Scores of all models: which are shown first, and every repeat."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import BLUE, INK, MUTED, ROW, Drawing, Figure, finish, whisker
from reports.evidence import CHANCE
from reports.metrics import METRICS
from reports.results import Results, Score
from reports.selection import shown_first, side_by_side
from reports.words import NAMES, labels_of, listed, percent, span


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The scores there are, in the order of the tables."""

    names: tuple[str, ...]


class Scores(Chapter[Metrics]):
    """Every model on every metric."""

    title = "Scores"

    def compute(self, case: Case) -> Metrics:
        return Metrics(names=METRICS)

    def figures(self, value: Metrics, results: Results) -> Iterable[Figure]:
        return [_scores(results), *_joined(results)]

    def tables(self, value: Metrics, results: Results) -> Mapping[str, Rows]:
        repeats = [
            {"model": s.model, "metric": s.metric, "position": i, "value": value}
            for s in results.scores
            for i, value in enumerate(s.repeats)
        ]
        return {"scores": results.score_rows(), "repeats": repeats}

    def context(self, value: Metrics, results: Results) -> Mapping[str, Any]:
        rows, shown = results.score_rows(), shown_first(results)
        return {
            "first": [row for row in rows if row["model"] in shown],
            "rest": [row for row in rows if row["model"] not in shown],
        }


def _scores(results: Results) -> Figure:
    names, metric, shown = labels_of(results), results.method.primary_metric, shown_first(results)
    ranking = [score for score in results.ranking() if score.model in shown]
    title = f"{NAMES[metric]} of models in percent, with {_level(results)} intervals"
    with Drawing("scores", width=4.7, height=0.8 + ROW * len(ranking)) as drawing:
        ax = drawing.axes
        for y, score in enumerate(reversed(ranking)):
            colour = INK if score.model == results.reference else MUTED if score.model == CHANCE else BLUE
            _dots(drawing, score.repeats, y)
            marker = "D" if score.model == results.reference else "o"
            whisker(drawing, score.estimate, score.low, score.high, y, colour, marker=marker)
        ax.set_yticks(range(len(ranking)), [names[score.model] for score in reversed(ranking)])
        ax.set_xlabel(f"{NAMES[metric]}, %")
        return finish(drawing, "scores", title, told=_told(results, ranking))


def _joined(results: Results) -> list[Figure]:
    """Return every repeat as a dot, joined from model to model; nothing if there is one model to show."""
    names, metric = labels_of(results), results.method.primary_metric
    shown = [results.score(model, metric) for model in side_by_side(results)]
    scores = [score for score in shown if score.repeats]
    if len(scores) < 2:
        return []
    values = 100 * np.array([score.repeats for score in scores])
    title = f"{NAMES[metric]} of every repeat, joined across models, in percent"
    with Drawing("joined", width=max(4.2, 0.68 * len(scores) + 0.6), height=3.4) as drawing:
        ax, x = drawing.axes, np.arange(len(scores))
        lines = [np.column_stack([x, repeat]) for repeat in values.T]
        ax.add_collection(LineCollection(lines, colors=BLUE, linewidths=0.8, alpha=0.45))
        ax.plot(np.tile(x, values.shape[1]), values.T.ravel(), "o", color=BLUE, markersize=3, alpha=0.6, linewidth=0)
        for i, score in enumerate(scores):
            if score.low is not None and score.high is not None:
                ax.plot([i, i], [100 * score.low, 100 * score.high], color=INK, linewidth=2, solid_capstyle="butt")
            ax.plot([i], [100 * (score.estimate or 0)], "D", color=INK, markersize=5.5)
        ax.set_xticks(x, [names[score.model] for score in scores], rotation=35, ha="right", rotation_mode="anchor")
        ax.set_xlim(-0.4, len(scores) - 0.6)
        ax.set_ylabel(f"{NAMES[metric]}, %")
        return [finish(drawing, "joined", title, axis="y", told=_told(results, scores))]


def _told(results: Results, scores: Sequence[Score]) -> str:
    names = labels_of(results)
    parts = (f"{names[s.model]} {percent(s.estimate)} ({span(s.low, s.high)})" for s in scores)
    return f"In percent, with intervals: {listed(parts)}."


def _dots(drawing: Drawing, values: Sequence[float], y: float) -> None:
    shares = 100 * np.array(values)
    drawing.axes.scatter(shares, np.full(len(values), y - 0.28), s=8, color=MUTED, alpha=0.5, linewidths=0)


def _level(results: Results) -> str:
    return f"{100 * (1 - results.method.alpha):.0f} %"
