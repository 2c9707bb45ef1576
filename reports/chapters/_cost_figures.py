"""Scores against what they cost."""

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.drawing import BLUE, INK, MUTED, Drawing, Figure, finish
from reports.results import Results, Score
from reports.selection import side_by_side
from reports.words import NAMES, labels_of, listed, percent

Expense = Mapping[str, float | None]


def cost_figures(results: Results, *, latency: Expense, training: Expense, extraction: Expense) -> list[Figure]:
    """Return one figure for each expense at least two of the models shown have; times of 0 are left out."""
    kinds = (
        ("cost-latency", "microseconds a prediction, median", latency),
        ("cost-training", "seconds to train one run, median", training),
        ("cost-extraction", "milliseconds to extract a sample", extraction),
    )
    drawn = (_against(results, name, axis, expense) for name, axis, expense in kinds)
    return [figure for figure in drawn if figure]


def _against(results: Results, name: str, axis: str, expense: Expense) -> Figure | None:
    metric, names = results.method.primary_metric, labels_of(results)
    scores = [results.score(model, metric) for model in side_by_side(results)]
    found = [(expense.get(score.model) or 0.0, score) for score in scores if score.estimate is not None]
    points = [(cost, score) for cost, score in found if cost > 0]
    if len(points) < 2:
        return None
    title = f"{NAMES[metric]} against {axis}"
    with Drawing(name, width=4.2, height=2.9) as drawing:
        ax = drawing.axes
        for cost, score in points:
            _point(drawing, cost, score, own=score.model == results.reference)
        ax.set_xscale("log")
        costs = [cost for cost, _ in points]
        ax.set_xlim(min(costs) / 1.5, max(costs) * 1.5)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel=f"{axis} (logarithmic)", ylabel=f"{NAMES[metric]}, %")
        _label(drawing, [(cost, 100 * (score.estimate or 0.0), names[score.model]) for cost, score in points])
        told = listed(f"{names[s.model]}: {cost:.3g}, {percent(s.estimate)} %" for cost, s in points)
        return finish(drawing, "costs", title, axis="y", told=f"Cost and score: {told}.")


def _point(drawing: Drawing, cost: float, score: Score, *, own: bool) -> None:
    colour, marker = (INK, "D") if own else (BLUE, "o")
    if score.low is not None and score.high is not None:
        drawing.axes.plot([cost, cost], [100 * score.low, 100 * score.high], color=colour, linewidth=1.6)
    drawing.axes.plot([cost], [100 * (score.estimate or 0.0)], marker, color=colour, markersize=5.5)


def _label(drawing: Drawing, points: list[tuple[float, float, str]]) -> None:
    """Name the points in the right margin, each on a line of its own, joined to its point."""
    low, high = drawing.axes.get_ylim()
    gap = (high - low) / 13
    rows = sorted(points, key=lambda point: point[1])
    lines = np.array([y for _, y, _ in rows])
    for i in range(1, len(lines)):
        lines[i] = max(lines[i], lines[i - 1] + gap)
    lines -= max(0.0, lines[-1] - high)
    for i in range(len(lines) - 2, -1, -1):
        lines[i] = min(lines[i], lines[i + 1] - gap)
    for (x, y, label), line in zip(rows, lines, strict=True):
        drawing.axes.annotate(
            label, (x, y), xytext=(1.03, line), textcoords=drawing.axes.get_yaxis_transform(), va="center",
            fontsize=8.5, arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkB": 4},
        )  # fmt: skip
