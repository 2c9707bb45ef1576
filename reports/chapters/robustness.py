"""Scores under disturbances: a modality taken away, and noise on all features."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, WARM, Drawing, Figure, finish
from reports.evidence import CHANCE, Evidence
from reports.measures import Measures
from reports.results import Results
from reports.selection import worth_a_matrix
from reports.words import NAMES, NONE, labels_of, percent
from stores.studies import StudyStore

REMOVED, NOISE = "removed", "noise"
METRIC = "macro_f1"
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, WARM)


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """One model on one metric under one condition: mean and standard deviation over `n` repeats.

    `undisturbed` is the mean of the same repeats as they are; None where the metric is undefined there. `sd` is None
    of a single repeat. `level` of noise is in standard deviations.
    """

    model: str
    condition: str
    modality: str | None
    level: float | None
    metric: str
    mean: float
    sd: float | None
    n: int
    undisturbed: float | None


@dataclass(frozen=True, kw_only=True)
class Disturbances:
    """All models under all conditions."""

    scores: tuple[Disturbed, ...]


class Robustness(Chapter[Disturbances]):
    """What is left of a score when features are disturbed."""

    title = "Robustness"

    def compute(self, case: Case) -> Disturbances | None:
        found = read_robustness(case.store, case.evidence, case.measures)
        return Disturbances(scores=found) if found else None

    def figures(self, value: Disturbances, results: Results) -> Iterable[Figure]:
        return _noise(value, results)

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
    return tuple(_disturbed(key, found[key], measures) for key in sorted(found, key=_order))


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    model, condition, modality, level, metric = key
    return model, condition != REMOVED, modality or "", level or 0.0, metric


def _disturbed(key: tuple[Any, ...], by_repeat: dict[int, float], measures: Measures) -> Disturbed:
    model, condition, modality, level, metric = key
    order = sorted(by_repeat)
    values, clean = np.array([by_repeat[i] for i in order]), measures.table[model].get(metric)
    return Disturbed(
        model=model,
        condition=condition,
        modality=modality,
        level=level,
        metric=metric,
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        n=len(values),
        undisturbed=None if clean is None else float(np.asarray(clean.repeats)[order].mean()),
    )


def _noise(found: Disturbances, results: Results) -> list[Figure]:
    names, curves = labels_of(results), _noise_curves(found, results)
    if not curves:
        return []
    title = f"{NAMES[METRIC]} in percent against noise on all features: the reference, the best strategies, one alone"
    colours = iter(_COLOURS)
    with Drawing("noise", height=3.4) as drawing:
        ax = drawing.axes
        for model, points in curves.items():
            own = model == results.reference
            levels, means = zip(*points, strict=True)
            ax.plot(
                levels,
                [100 * mean for mean in means],
                marker="o",
                markersize=4,
                color=INK if own else next(colours),
                linewidth=2.4 if own else 1.5,
                linestyle="-" if results.model(model).fused else "--",
                label=names[model],
            )
        chance = results.score(CHANCE, METRIC).repeats
        if chance:
            ax.axhline(100 * sum(chance) / len(chance), color=MUTED, linewidth=1, linestyle=":", label=CHANCE)
        ax.set(xlabel="standard deviation of the noise", ylabel=f"{NAMES[METRIC]}, %")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderpad=0)
        return [finish(drawing, "noise", title, axis="y")]


def _noise_curves(found: Disturbances, results: Results) -> dict[str, list[tuple[float, float]]]:
    """Return (level, mean) by model, from level 0, as it is, upwards."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for model in worth_a_matrix(results):
        own = [d for d in found.scores if (d.model, d.condition, d.metric) == (model, NOISE, METRIC)]
        points = {d.level or 0.0: d.mean for d in own}
        if own and own[0].undisturbed is not None:
            points.setdefault(0.0, own[0].undisturbed)
        if points:
            curves[model] = sorted(points.items())
    return curves


@dataclass(frozen=True, kw_only=True)
class RemovedRow:
    """The macro F1 of one model as it is, and without each modality of the study, as text in percent."""

    model: str
    undisturbed: str
    cells: tuple[str, ...]


def removed_rows(value: Disturbances, results: Results) -> list[RemovedRow]:
    """Return the rows of the models worth a curve, the reference first; cells are in the study's modalities."""
    found = {(d.model, d.modality): d for d in value.scores if (d.condition, d.metric) == (REMOVED, METRIC)}
    rows = []
    for model in worth_a_matrix(results):
        own = [found.get((model, modality)) for modality in sorted(results.facts["modalities"])]
        if known := [d for d in own if d]:
            rows.append(
                RemovedRow(
                    model=model,
                    undisturbed=percent(known[0].undisturbed),
                    cells=tuple(_spread(d) for d in own),
                )
            )
    return rows


def _spread(disturbed: Disturbed | None) -> str:
    if disturbed is None:
        return NONE
    return percent(disturbed.mean) + ("" if disturbed.sd is None else f" ± {percent(disturbed.sd)}")
