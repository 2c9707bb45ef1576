"""Scores against noise."""

from collections.abc import Mapping

import numpy as np

from reports.drawing import BLUE, GREEN, INK, MARKERS, MUTED, ORANGE, PURPLE, WARM, Drawing, Figure, finish
from reports.evidence import CHANCE
from reports.results import Results
from reports.words import NAMES, labels_of, listed, percent

Point = tuple[float, float, float | None, float | None]  # level, mean, low, high


def noise_figure(results: Results, curves: Mapping[str, list[Point]], metric: str, chance: float | None) -> Figure:
    """Return the curves of models, the reference first, with bands where low and high are known, and `chance`."""
    names = labels_of(results)
    title = f"{NAMES[metric]} in percent against noise on all features: the reference, the best strategies, one alone"
    looks = zip((INK, BLUE, ORANGE, GREEN, PURPLE, WARM), MARKERS, strict=False)
    with Drawing("noise", height=3.4) as drawing:
        ax = drawing.axes
        for (model, points), (colour, marker) in zip(curves.items(), looks, strict=False):
            _curve(drawing, points, colour, marker, names[model], fused=results.model(model).fused)
        if chance is not None:
            ax.axhline(100 * chance, color=MUTED, linewidth=1, linestyle=":", label=CHANCE)
        ax.set(xlabel="standard deviation of the noise", ylabel=f"{NAMES[metric]}, %")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderpad=0)
        told = listed(
            f"{names[model]} goes from {percent(points[0][1])} at {points[0][0]:g} to {percent(points[-1][1])} "
            f"at {points[-1][0]:g}"
            for model, points in curves.items()
        )
        return finish(drawing, "noise", title, axis="y", told=f"{told}.")


def _curve(drawing: Drawing, points: list[Point], colour: str, marker: str, label: str, *, fused: bool) -> None:
    levels, means = [point[0] for point in points], [100 * point[1] for point in points]
    style = "-" if fused else "--"
    drawing.axes.plot(levels, means, marker=marker, markersize=4.5, color=colour, linestyle=style, label=label)
    known = [(level, 100 * low, 100 * high) for level, _, low, high in points if low is not None and high is not None]
    if known:
        drawing.axes.fill_between(*np.transpose(known), color=colour, alpha=0.13, linewidth=0)
