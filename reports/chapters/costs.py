"""What a prediction costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.evidence import CHANCE, Evidence
from reports.results import Results
from reports.selection import listed
from reports.words import NONE
from stores.studies import StudyStore


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
class Latencies:
    """What every model costs, by batch."""

    costs: tuple[Cost, ...]


class Costs(Chapter[Latencies]):
    """Time and size of a prediction."""

    title = "What a prediction costs"

    def compute(self, case: Case) -> Latencies | None:
        found = read_costs(case.store, case.evidence)
        return Latencies(costs=found) if found else None

    def tables(self, value: Latencies, results: Results) -> Mapping[str, Rows]:
        return {"latency": [vars(cost) for cost in value.costs]}

    def context(self, value: Latencies, results: Results) -> Mapping[str, Any]:
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
    return tuple(_cost(best[key]) for key in sorted(best))


def _cost(row: dict[str, Any]) -> Cost:
    return Cost(**{name: value for name, value in row.items() if name != "run_id"})


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


def cost_rows(value: Latencies, results: Results) -> list[CostRow]:
    """Return the rows of the models listed first, best first; operations are those of the smallest batch."""
    found = {(cost.model, cost.batch): cost for cost in value.costs}
    rows = []
    for model in (score.model for score in results.ranking()):
        own = [found.get((model, batch)) for batch in batches(value.costs)]
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
