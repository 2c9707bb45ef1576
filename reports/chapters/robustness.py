"""Scores under disturbances: a modality taken away, and noise on all features."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import BLUE, GREEN, INK, MARKERS, MUTED, ORANGE, PURPLE, WARM, Drawing, Figure, finish
from reports.evidence import CHANCE, Evidence
from reports.measures import RESAMPLED, Measures
from reports.results import Results
from reports.selection import worth_a_matrix
from reports.statistics._statistic import Measured
from reports.words import NAMES, NONE, labels_of, listed, percent, span
from stores.studies import StudyStore

Point = tuple[float, float, float | None, float | None]  # level, mean, low, high
REMOVED, NOISE = "removed", "noise"
INTERVALS, QUARTILES = "intervals", "quartiles"
METRIC = "macro_f1"


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """One model on one metric under one condition: mean and standard deviation over `n` repeats.

    `low` and `high` are the interval of the mean, or the quartiles of the repeats: see `Disturbances`. `undisturbed`
    is the mean of the same repeats as they are; None where the metric is undefined there. `sd` is None of a single
    repeat. `level` of noise is in standard deviations.
    """

    model: str
    condition: str
    modality: str | None
    level: float | None
    metric: str
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int
    undisturbed: float | None


@dataclass(frozen=True, kw_only=True)
class Disturbances:
    """All models under all conditions.

    `spread` says what `low` and `high` are: INTERVALS of the primary test where repeats are resampled, corrected for
    the samples they share; QUARTILES over repeats where it resamples groups, which disturbed scores do not name.
    `chance` is METRIC of the majority class, the mean over repeats; None where it is undefined.
    """

    spread: str
    chance: float | None
    scores: tuple[Disturbed, ...]


class Robustness(Chapter[Disturbances]):
    """What is left of a score when features are disturbed."""

    title = "Robustness"

    def compute(self, case: Case) -> Disturbances | None:
        case = case.whole or case  # as the stored scores under disturbances are
        found = read_robustness(case.store, case.evidence, case.measures)
        spread = INTERVALS if case.evidence.protocol in RESAMPLED else QUARTILES
        guessed = case.measures.table[CHANCE].get(METRIC)
        chance = None if guessed is None else float(np.mean(guessed.repeats))
        return Disturbances(spread=spread, chance=chance, scores=found) if found else None

    def figures(self, value: Disturbances, results: Results) -> Iterable[Figure]:
        curves = _noise_curves(value, results)
        return [noise_figure(results, curves, METRIC, value.chance)] if curves else []

    def tables(self, value: Disturbances, results: Results) -> Mapping[str, Rows]:
        return {"robustness": [vars(score) for score in value.scores]}

    def context(self, value: Disturbances, results: Results) -> Mapping[str, Any]:
        return {"removed": removed_rows(value, results)}


def read_robustness(store: StudyStore, evidence: Evidence, measures: Measures) -> tuple[Disturbed, ...]:
    """Return the scores under disturbances of the runs of a report; empty if the study has none."""
    position = {part.repeat: i for i, part in enumerate(evidence.held_out)}
    runs = evidence.runs.select(["run_id", "model", "repeat"]).to_pylist()
    place = {row["run_id"]: (row["model"], position[row["repeat"]]) for row in runs}
    found: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
    for row in store.log("robustness").to_pylist():
        if row["run_id"] in place:
            model, where = place[row["run_id"]]
            found[model, row["condition"], row["modality"], row["level"], row["metric"]][where] = row["value"]
    resampled = evidence.protocol in RESAMPLED
    return tuple(_disturbed(key, found[key], measures, resampled) for key in sorted(found, key=_order))


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    model, condition, modality, level, metric = key
    return model, condition != REMOVED, modality or "", level or 0.0, metric


def _disturbed(key: tuple[Any, ...], by_repeat: dict[int, float], measures: Measures, resampled: bool) -> Disturbed:
    model, condition, modality, level, metric = key
    order = sorted(by_repeat)
    values, clean = np.array([by_repeat[i] for i in order]), measures.table[model].get(metric)
    low, high = measures.primary.limits(Measured(repeats=values), measures.design) if resampled else _quartiles(values)
    return Disturbed(
        model=model,
        condition=condition,
        modality=modality,
        level=level,
        metric=metric,
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        low=low,
        high=high,
        n=len(values),
        undisturbed=None if clean is None else float(np.asarray(clean.repeats)[order].mean()),
    )


def _quartiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.25, 0.75])
    return float(low), float(high)


def _noise_curves(found: Disturbances, results: Results) -> dict[str, list[Point]]:
    """Return the points of a curve by model, the reference first, from level 0, as it is, upwards."""
    curves: dict[str, list[Point]] = {}
    for model in worth_a_matrix(results):
        own = [d for d in found.scores if (d.model, d.condition, d.metric) == (model, NOISE, METRIC)]
        points: dict[float, Point] = {d.level or 0.0: (d.level or 0.0, d.mean, d.low, d.high) for d in own}
        clean = results.score(model, METRIC)
        if own and own[0].undisturbed is not None and 0.0 not in points:
            same = own[0].n == len(clean.repeats)  # else the interval is of other repeats
            points[0.0] = (0.0, own[0].undisturbed, *((clean.low, clean.high) if same else (None, None)))
        if points:
            curves[model] = [points[level] for level in sorted(points)]
    return curves


def removed_rows(value: Disturbances, results: Results) -> list[dict[str, Any]]:
    """Return macro F1 as text, as it is and without each modality, of the models worth a curve, the reference first."""
    found = {(d.model, d.modality): d for d in value.scores if (d.condition, d.metric) == (REMOVED, METRIC)}
    rows = []
    for model in worth_a_matrix(results):
        own = [found.get((model, modality)) for modality in sorted(results.facts["modalities"])]
        if known := [d for d in own if d]:
            cells = [_spread(d) for d in own]
            rows.append({"model": model, "undisturbed": percent(known[0].undisturbed), "cells": cells})
    return rows


def _spread(disturbed: Disturbed | None) -> str:
    if disturbed is None:
        return NONE
    if disturbed.low is None or disturbed.high is None:
        return percent(disturbed.mean)
    return f"{percent(disturbed.mean)} ({span(disturbed.low, disturbed.high)})"


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
