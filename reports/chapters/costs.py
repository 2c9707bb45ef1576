"""What a model costs: extracting what it reads, training it, and one prediction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import BLUE, INK, MUTED, Drawing, Figure, finish
from reports.evidence import CHANCE, Evidence
from reports.results import Results, Score
from reports.selection import shown_first, side_by_side
from reports.words import NAMES, NONE, labels_of, listed, number, percent
from stores.studies import StudyStore

SIZES = ("parameters", "input_width", "flops")
Expense = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a call of one model takes for `batch` samples, in microseconds, measured on `device`.

    `flops` are those of the matrix products of the call.
    """

    model: str
    batch: int
    median_us: float
    p95_us: float
    parameters: int
    input_width: int
    flops: int
    device: str


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a model took before it could predict.

    `training_s`: median seconds of one run, its share of the heads trained with it; None if it trains nothing.
    `extraction_ms`: milliseconds a sample for all modalities it reads, by their receipts; None if one has none.
    """

    model: str
    training_s: float | None
    extraction_ms: float | None


@dataclass(frozen=True, kw_only=True)
class Expenses:
    """What a prediction of every model costs, by batch, and what was spent before."""

    costs: tuple[Cost, ...]
    spent: tuple[Spent, ...]


class Costs(Chapter[Expenses]):
    """Extraction, training, time and size of a prediction."""

    title = "What it costs"

    def compute(self, case: Case) -> Expenses:
        return Expenses(costs=read_costs(case.store, case.evidence), spent=read_spent(case.evidence))

    def figures(self, value: Expenses, results: Results) -> Iterable[Figure]:
        single = {cost.model: cost.median_us for cost in value.costs if cost.batch == min(batches(value.costs))}
        training = {spent.model: spent.training_s for spent in value.spent}
        extraction = {spent.model: spent.extraction_ms for spent in value.spent}
        return cost_figures(results, latency=single, training=training, extraction=extraction)

    def tables(self, value: Expenses, results: Results) -> Mapping[str, Rows]:
        return {"latency": [vars(cost) for cost in value.costs], "spent": [vars(spent) for spent in value.spent]}

    def context(self, value: Expenses, results: Results) -> Mapping[str, Any]:
        return {"batches": batches(value.costs), "cost_rows": cost_rows(value, results)}


def read_costs(store: StudyStore, evidence: Evidence) -> tuple[Cost, ...]:
    """Return what the models of a report cost, by model and batch; empty if the study has not timed them.

    Rows of other settings of a model are left out; those of before rows named their run are taken for want of better.
    """
    run_ids = set(evidence.runs["run_id"].to_pylist())
    models = {model.name for model in evidence.models} - {CHANCE}
    rows = [row for row in store.log("latency").to_pylist() if row["run_id"] in run_ids or row["run_id"] is None]
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["run_id"] is None, row["median_us"], row["p95_us"])):
        if row["model"] in models:
            best.setdefault((row["model"], row["batch"]), row)
    rows = [{name: value for name, value in best[key].items() if name != "run_id"} for key in sorted(best)]
    return tuple(Cost(**row) for row in rows)


def read_spent(evidence: Evidence) -> tuple[Spent, ...]:
    """Return what every model took, by name: seconds as stored with its runs, extraction as sealed with the rows."""
    seconds: dict[str, list[float]] = {}
    for row in evidence.runs.select(["model", "seconds", "curves"]).to_pylist():
        seconds.setdefault(row["model"], []).extend([row["seconds"]] if json.loads(row["curves"]) else [])
    extraction = {m: _extraction_ms(evidence.facts, m) for m in evidence.facts["modalities"]}
    found = []
    for model in sorted(evidence.models, key=lambda model: model.name):
        own = [extraction[m] for m in model.modalities]
        known = [ms for ms in own if ms is not None]
        trained = seconds.get(model.name)
        found.append(
            Spent(
                model=model.name,
                training_s=float(np.median(trained)) if trained else None,
                extraction_ms=sum(known) if own and len(known) == len(own) else None,
            )
        )
    return tuple(spent for spent in found if spent.model != CHANCE)


def _extraction_ms(facts: Mapping[str, Any], modality: str) -> float | None:
    """Return milliseconds a row of a modality, with those of the feature it is read from, such as `acoustic`."""
    receipts = facts.get("extraction") or {}
    upstream = (facts["features"][modality].get("identity") or {}).get("upstream")
    names = [modality, *([upstream.rpartition("-")[0]] if upstream else [])]
    own = [receipts[name] for name in names if receipts.get(name, {}).get("rows")]
    return sum(1000 * it["seconds"] / it["rows"] for it in own) if len(own) == len(names) else None


def batches(costs: Sequence[Cost]) -> list[int]:
    """Return the batch sizes that were timed."""
    return sorted({cost.batch for cost in costs})


def cost_rows(value: Expenses, results: Results) -> list[dict[str, Any]]:
    """Return the rows of the models listed first, best first, as text; operations are those of the smallest batch.

    `times` are median and 95th percentile in µs for each batch size.
    """
    found = {(cost.model, cost.batch): cost for cost in value.costs}
    spent, rows = {it.model: it for it in value.spent}, []
    for model in (score.model for score in results.ranking()):
        own = [found.get((model, batch)) for batch in batches(value.costs)]
        known = [cost for cost in own if cost]
        if model not in spent or model not in shown_first(results):
            continue
        times = (f"{value:,.0f}" for cost in own if cost for value in (cost.median_us, cost.p95_us))
        sizes = {name: f"{getattr(known[0], name):,}" if known else NONE for name in SIZES}
        rows.append(
            {
                "model": model,
                "extraction": number(spent[model].extraction_ms),
                "training": number(spent[model].training_s),
                "times": tuple(times) if len(known) == len(own) else (NONE,) * 2 * len(own),
                "device": " and ".join(dict.fromkeys(cost.device for cost in known)),
                **sizes,
            }
        )
    return rows


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
