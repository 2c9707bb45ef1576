"""What is shown of disturbances and costs: one figure, and the rows of two tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, WARM, Drawing, Figure, finish
from reports.evidence import CHANCE
from reports.results import Results
from reports.robustness import NOISE, REMOVED, Cost, Disturbed
from reports.selection import listed, worth_a_matrix
from reports.words import NAMES, NONE, labels_of, percent

METRIC = "macro_f1"
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, WARM)


def noise_figure(results: Results) -> list[Figure]:
    """Return the scores of the reference and its best rivals against the level of noise, if they were disturbed."""
    names, curves = labels_of(results), _noise_curves(results)
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


def _noise_curves(results: Results) -> dict[str, list[tuple[float, float]]]:
    """Return (level, mean) by model, from level 0, as it is, upwards."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for model in worth_a_matrix(results):
        own = [d for d in results.robustness if (d.model, d.condition, d.metric) == (model, NOISE, METRIC)]
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


def removed_rows(results: Results) -> list[RemovedRow]:
    """Return the rows of the models worth a curve, the reference first; cells are in the study's modalities."""
    found = {(d.model, d.modality): d for d in results.robustness if (d.condition, d.metric) == (REMOVED, METRIC)}
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


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """What one model costs, as text: median and 95th percentile in µs for each batch size, then what it holds."""

    model: str
    times: tuple[str, ...]
    parameters: str
    input_width: str
    flops: str
    device: str


def batches(costs: Sequence[Cost]) -> list[int]:
    """Return the batch sizes that were timed."""
    return sorted({cost.batch for cost in costs})


def cost_rows(results: Results) -> list[CostRow]:
    """Return the rows of the models listed first, best first; operations are those of the smallest batch."""
    found = {(cost.model, cost.batch): cost for cost in results.costs}
    rows = []
    for model in (score.model for score in results.ranking()):
        own = [found.get((model, batch)) for batch in batches(results.costs)]
        known = [cost for cost in own if cost]
        if not known or model not in listed(results):
            continue
        times = (f"{value:,.0f}" for cost in own if cost for value in (cost.median_us, cost.p95_us))
        rows.append(
            CostRow(
                model=model,
                times=tuple(times) if len(known) == len(own) else (NONE,) * 2 * len(own),
                parameters=f"{known[0].parameters:,}",
                input_width=f"{known[0].input_width:,}",
                flops=f"{known[0].flops:,}",
                device=" and ".join(dict.fromkeys(cost.device for cost in known)),
            )
        )
    return rows
