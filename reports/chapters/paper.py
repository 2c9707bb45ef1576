"""The reference paper's figures as printed, beside ours: for display only."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.chapters.costs import Costs
from reports.evidence import CHANCE, Model
from reports.metrics import chance_corrected, counted_scores, f1_of_macro_means
from reports.results import Results
from reports.words import NAMES, NONE, percent

ACTUAL, PREDICTED = "actual", "predicted"


@dataclass(frozen=True, kw_only=True)
class MatrixReading:
    """The scores of a matrix whose rows are `rows`, all of them shares but kappa and MCC.

    `kappa_error` is the asymptotic standard error of kappa (Fleiss, Cohen & Everitt 1969). The intervals of accuracy
    are 95 %: Wilson's, and what a percentile bootstrap over samples tends to. `one_vs_rest` is the mean over classes of
    the accuracy of each against the rest, which is no accuracy of the classifier.
    """

    rows: str
    n: int
    correct: int
    scores: Mapping[str, float]
    kappa_error: float
    wilson: tuple[float, float]
    bootstrap: tuple[float, float]
    one_vs_rest: float


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A model of the paper and its printed scores in percent; `ours` is this study's in its place, or None."""

    model: str
    values: tuple[float, ...]
    ours: str | None


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the paper prints, and what an audit of it found.

    `scores` are on `columns`; `others` (accuracy, F1) stand in another table; `confusion` has counts and `readings`
    what they say; `predicted` says which emotions each modality should tell; `latencies` are (what, value).
    """

    title: str
    unit: str
    columns: tuple[str, ...]
    scores: tuple[Printed, ...]
    others: tuple[Printed, ...]
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    readings: tuple[MatrixReading, ...]
    orientation: str
    recalls: Mapping[str, float]
    hypotheses: Mapping[str, str]
    predicted: Mapping[str, tuple[str, ...]]
    latencies: tuple[tuple[str, str], ...]
    tests: str
    contradictions: tuple[str, ...]


class Paper(Chapter[Published]):
    """Published figures; never a target."""

    title = "The reference paper"

    def compute(self, case: Case) -> Published:
        return read_paper(case.evidence.models)

    def tables(self, value: Published, results: Results) -> Mapping[str, Rows]:
        keys = [f"{side}_{metric}" for metric in value.columns for side in ("printed", "ours")]
        return {
            "paper": [
                {
                    "model": row.model,
                    "our_model": row.ours,
                    **dict(zip(keys, _cells(row, value.columns, results), strict=True)),
                }
                for row in value.scores
            ]
        }

    def context(self, value: Published, results: Results) -> Mapping[str, Any]:
        return {
            "columns": [NAMES[metric].removeprefix("macro ") for metric in value.columns],
            "beside": [(row, _cells(row, value.columns, results)) for row in value.scores],
            "beside_others": [(row, _cells(row, ("accuracy", "macro_f1"), results)) for row in value.others],
            "diagonal": sum(row[i] for i, row in enumerate(value.confusion)),
            "counted": sum(map(sum, value.confusion)),
            "ours_timed": _timed(value, results),
        }


def read_paper(models: Sequence[Model] = ()) -> Published:
    """Return what the paper prints; `models` are those of ours that may stand beside its own."""
    printed: Any = json.loads(files("reports.chapters").joinpath("paper.json").read_text(encoding="utf-8"))
    others = [{**row, "modality": None, "values": (row["accuracy"], row["f1"])} for row in printed["others"]]
    return Published(
        **{name: printed[name] for name in ("title", "unit", "recalls", "tests")},
        columns=tuple(printed["columns"]),
        scores=tuple(_printed(row, models) for row in printed["rows"]),
        others=tuple(_printed(row, models) for row in others),
        labels=tuple(printed["confusion"]["labels"]),
        confusion=tuple(map(tuple, printed["confusion"]["rows"])),
        readings=readings(printed["confusion"]["rows"]),
        orientation=printed["confusion"]["orientation"],
        hypotheses={row["id"]: row["gist"] for row in printed["hypotheses"]},
        predicted={modality: tuple(labels) for modality, labels in printed["predicted_strength"].items()},
        latencies=tuple((row["what"], row["value"]) for row in printed["latencies"]),
        contradictions=tuple(printed["contradictions"]),
    )


def _printed(row: Mapping[str, Any], models: Sequence[Model]) -> Printed:
    full = max((model.modalities for model in models if model.name != CHANCE), key=len, default=())
    wanted = full if row["modality"] is None else (row["modality"],)
    same = [m.name for m in models if (m.head, m.modalities, m.variant) == (row["head"], wanted, "")]
    return Printed(model=row["model"], values=tuple(row["values"]), ours=same[0] if same else None)


def _cells(row: Printed, metrics: Sequence[str], results: Results) -> list[str]:
    """Return the printed and our score of each metric, in percent as text, in turn."""
    ours = [percent(results.score(row.ours, metric).estimate) if row.ours else NONE for metric in metrics]
    return [cell for pair in zip((f"{value:.1f}" for value in row.values), ours, strict=True) for cell in pair]


def _timed(value: Published, results: Results) -> str:
    """Return what a call of our model in the place of the paper's takes, as text; empty if nothing was timed."""
    timed, ours = results.value(Costs), value.scores[-1].ours
    for cost in timed.costs if timed else ():
        if cost.model == ours:
            samples = f"{cost.batch} sample{'s' * (cost.batch > 1)}"
            return f"{cost.median_us / 1000:.2f} ms a call of {samples}, extraction not in it ({cost.device})"
    return ""


def readings(matrix: Sequence[Sequence[int]]) -> tuple[MatrixReading, ...]:
    """Return what counts (K, K) say if rows are predictions, as labelled, and if they are the actual classes."""
    counts = np.array(matrix, dtype=np.int64)
    return tuple(_reading(rows, own) for rows, own in ((PREDICTED, counts.T), (ACTUAL, counts)))


def _reading(rows: str, matrix: np.ndarray) -> MatrixReading:
    n, correct = int(matrix.sum()), int(np.trace(matrix))
    found = counted_scores(matrix) | chance_corrected(matrix) | {"f1_of_macro_means": f1_of_macro_means(matrix)}
    wilson = stats.binomtest(correct, n).proportion_ci(method="wilson")
    tails = stats.binom.ppf([0.025, 0.975], n, correct / n) / n
    return MatrixReading(
        rows=rows,
        n=n,
        correct=correct,
        scores={name: float(value) for name, value in found.items()},
        kappa_error=float(cohens_kappa(matrix).std_kappa),
        wilson=(float(wilson.low), float(wilson.high)),
        bootstrap=(float(tails[0]), float(tails[1])),
        one_vs_rest=1 - 2 * (n - correct) / (n * len(matrix)),
    )
