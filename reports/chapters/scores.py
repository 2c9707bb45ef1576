"""Scores of all models: which are shown first, and every repeat."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import BLUE, INK, MUTED, ROW, Drawing, Figure, finish, whisker
from reports.evidence import CHANCE
from reports.metrics import METRICS
from reports.results import Results
from reports.selection import listed
from reports.words import NAMES, labels_of


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
        return [_scores(results)]

    def tables(self, value: Metrics, results: Results) -> Mapping[str, Rows]:
        repeats = [
            {"model": s.model, "metric": s.metric, "position": i, "value": value}
            for s in results.scores
            for i, value in enumerate(s.repeats)
        ]
        return {"scores": results.score_rows(), "repeats": repeats}

    def context(self, value: Metrics, results: Results) -> Mapping[str, Any]:
        rows, shown = results.score_rows(), listed(results)
        return {
            "first": [row for row in rows if row["model"] in shown],
            "rest": [row for row in rows if row["model"] not in shown],
        }


def _scores(results: Results) -> Figure:
    names, metric, shown = labels_of(results), results.method.primary_metric, listed(results)
    ranking = [score for score in results.ranking() if score.model in shown]
    title = f"{NAMES[metric]} of models in percent, with {_level(results)} intervals"
    with Drawing("scores", height=0.8 + ROW * len(ranking)) as drawing:
        ax = drawing.axes
        for y, score in enumerate(reversed(ranking)):
            colour = INK if score.model == results.reference else MUTED if score.model == CHANCE else BLUE
            _dots(drawing, score.repeats, y)
            whisker(drawing, score.estimate, score.low, score.high, y, colour)
        ax.set_yticks(range(len(ranking)), [names[score.model] for score in reversed(ranking)])
        ax.set_xlabel(f"{NAMES[metric]}, %")
        return finish(drawing, "scores", title)


def _dots(drawing: Drawing, values: Sequence[float], y: float) -> None:
    shares = 100 * np.array(values)
    drawing.axes.scatter(shares, np.full(len(values), y - 0.28), s=8, color=MUTED, alpha=0.5, linewidths=0)


def _level(results: Results) -> str:
    return f"{100 * (1 - results.method.alpha):.0f} %"
