"""Posteriors taken at their word: calibration, and what every threshold on them gives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import BLUE, INK, LINE, MARKERS, MUTED, ORANGE, PURPLE, Drawing, Figure
from reports.evidence import CHANCE
from reports.findings.posteriors import (
    GRID,
    POOLED,
    Calibration,
    Curve,
    Ranking,
    Reliability,
    average_curves,
    calibrate,
    rank_classes,
    sweeps_of,
)
from reports.findings.tallies import Tallies
from reports.metrics import BINS, CLIP, RANKED
from reports.results import Results
from reports.selection import foremost, shown_first
from reports.words import labels_of, number, percent

MOST_LINES = 4  # models whose curves one figure can show and still be read
_STYLES: Any = (
    (INK, "-", MARKERS[0]),
    (BLUE, (0, (5, 2)), MARKERS[1]),
    (ORANGE, (0, (1, 1.2)), MARKERS[2]),
    (PURPLE, (0, (6, 2, 1, 2)), MARKERS[3]),
)


@dataclass(frozen=True, kw_only=True)
class Posteriors:
    """Calibration and ranking of all models; reliability and curves of those worth a look.

    `pooled`: the curves are of all test parts together.
    """

    calibration: tuple[Calibration, ...]
    ranking: tuple[Ranking, ...]
    reliability: tuple[Reliability, ...]
    grid: tuple[float, ...]
    curves: tuple[Curve, ...]
    pooled: bool


class Probabilities(Chapter[Posteriors]):
    """Calibration, ROC and precision-recall."""

    title = "Calibration and ROC"

    def compute(self, case: Case) -> Posteriors:
        tallies, shown = Tallies(case), foremost(case.evidence.models, case.reference, case.ranking())
        calibration, reliability = [], {}
        for name in case.evidence.posteriors:
            own, bins = calibrate(case.evidence, tallies, name)
            calibration.append(own)
            reliability[name] = bins
        ranking, found = [], []
        for name in case.evidence.posteriors:
            sweeps = sweeps_of(case.evidence, name)
            ranking += rank_classes(case, name, sweeps)
            found += average_curves(case.evidence, name, sweeps) if name in shown else []
        return Posteriors(
            calibration=tuple(calibration),
            ranking=tuple(ranking),
            reliability=tuple(reliability[name] for name in shown),
            grid=GRID,
            curves=tuple(sorted(found, key=lambda curve: shown.index(curve.model))),
            pooled=case.evidence.protocol == POOLED,
        )

    def figures(self, value: Posteriors, results: Results) -> Iterable[Figure]:
        drawn = [_class(value, results, label, i) for i, label in enumerate(results.labels)]
        return [_reliability(value, results), *(figure for figure in drawn if figure)]

    def tables(self, value: Posteriors, results: Results) -> Mapping[str, Rows]:
        calibration = [
            {
                "model": c.model,
                **c.ece.row("ece"),
                **c.brier.row("brier"),
                **c.log_loss.row("log_loss"),
                "clipped": c.clipped,
            }
            for c in value.calibration
        ]
        ranking = [
            {"model": r.model, "label": r.label, **r.auc.row("auc"), **r.average_precision.row("average_precision"),
             "share": r.share}
            for r in value.ranking
        ]  # fmt: skip
        reliability = [
            {"model": own.model, "bin": i + 1, **vars(one)}
            for own in value.reliability
            for i, one in enumerate(own.bins)
        ]
        return {"calibration": calibration, "average_precision": ranking, "reliability": reliability}

    def context(self, value: Posteriors, results: Results) -> Mapping[str, Any]:
        order = [score.model for score in results.ranking() if score.model in shown_first(results)]
        calibration = {own.model: own for own in value.calibration}
        ranking: dict[str, list[Ranking]] = {}
        for own in value.ranking:
            ranking.setdefault(own.model, []).append(own)
        return {
            "calibration": [calibration[name] for name in order],
            "ranked": [(name, [results.score(name, auc) for auc in RANKED], ranking[name]) for name in order],
            "ranked_names": RANKED,
            "bins": BINS,
            "clip": f"{CLIP:.8f}",
            "chance": CHANCE,
        }


def _shown(value: Posteriors) -> list[str]:
    """Return the reference, its best rivals and the best single modality, as many as one figure can show."""
    models = [own.model for own in value.reliability]
    return models if len(models) <= MOST_LINES else [*models[: MOST_LINES - 1], models[-1]]


def _reliability(value: Posteriors, results: Results) -> Figure:
    names, found = labels_of(results), {own.model: own.bins for own in value.reliability}
    title = "Reliability: how often models are right, by how sure they are"
    with Drawing("reliability", height=3.6) as drawing:
        ax = drawing.axes
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
        for model, (colour, line, marker) in zip(_shown(value), _STYLES, strict=False):
            bins = [(one.confidence, one.accuracy, one.count) for one in found[model] if one.count]
            x, y, counts = zip(*bins, strict=True)
            sizes = [(2.5 + 9 * (count / sum(counts)) ** 0.5) ** 2 for count in counts]
            ax.plot(x, y, color=colour, linestyle=line, linewidth=1.2, label=names[model])
            ax.scatter(x, y, s=sizes, marker=marker, color=colour, linewidths=0)
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="mean confidence of a bin", ylabel="share right")
        ax.legend(loc="upper left")
        error = {own.model: number(own.ece.estimate, 3) for own in value.calibration}
        told = ", ".join(f"{names[model]} {error[model]}" for model in _shown(value))
        return _framed(drawing, "reliability", title, f"Expected calibration error: {told}.")


def _class(value: Posteriors, results: Results, label: str, index: int) -> Figure | None:
    names = labels_of(results)
    curves = {curve.model: curve for curve in value.curves if curve.label == label}
    share = next(own.share for own in value.ranking if own.label == label)
    if not curves:
        return None
    title = f"{label} against the rest: ROC (left) and precision-recall (right)"
    with Drawing(f"thresholds-{index + 1}", width=4.4, height=2.7, panels=2) as drawing:
        left, right = drawing.panels
        left.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
        right.plot([0, 1], [share, share], color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
        for model, (colour, line, _) in zip(_shown(value), _STYLES, strict=False):
            for ax, band in ((left, curves[model].roc), (right, curves[model].precision)):
                ax.plot(value.grid, band.mean, color=colour, linestyle=line, linewidth=1.6, label=names[model])
                if model == results.reference and curves[model].parts > 1:
                    ax.fill_between(value.grid, band.lower, band.upper, color=colour, alpha=0.15, linewidth=0)
        left.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="false positive rate", ylabel="recall (left), precision (right)")
        right.set(xlim=(0, 1), xlabel="recall")
        for ax in drawing.panels:
            ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        drawing.figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        areas = {own.model: own for own in value.ranking if own.label == label}
        told = "; ".join(
            f"{names[model]} AUC {percent(areas[model].auc.estimate)} %, "
            f"average precision {percent(areas[model].average_precision.estimate)} %"
            for model in _shown(value)
        )
        return _framed(drawing, "thresholds", title, f"{told}.")


def _framed(drawing: Drawing, group: str, title: str, told: str) -> Figure:
    for ax in drawing.panels:
        ax.grid(color=LINE)
        ax.tick_params(length=0)
    return Figure(name=drawing.name, group=group, title=title, svg=drawing.svg(title, told))
