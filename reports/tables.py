"""Results as plain tables: CSV files, and LaTeX with booktabs."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from reports.metrics import PAPER_METRICS
from reports.results import Results
from reports.statistics._statistic import PairResult
from reports.weights import FittedWeight, SampleWeight
from reports.words import NAMES, NONE, labels_of, percent

_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
}


def csv_tables(results: Results) -> dict[str, str]:
    """Return the CSV text of every table by its file name, without the suffix."""
    return {
        "scores": _csv(results.score_rows()),
        "repeats": _csv(
            {"model": s.model, "metric": s.metric, "position": i, "value": value}
            for s in results.scores
            for i, value in enumerate(s.repeats)
        ),
        "comparisons": _csv(_comparison_rows(results)),
        "recalls": _csv(map(vars, results.class_scores)),
        "weights": _csv(map(vars, results.weights)),
        "sample_weights": _csv(map(vars, results.sample_weights)),
        "confusions": _csv(
            {"model": c.model, "actual": actual.label, "predicted": predicted.label, "count": count}
            for c in results.confusions
            for actual, row in zip(results.classes, c.rows, strict=True)
            for predicted, count in zip(results.classes, row, strict=True)
        ),
        **({"robustness": _csv(map(vars, results.robustness))} if results.robustness else {}),
        **({"latency": _csv(map(vars, results.costs))} if results.costs else {}),
    }


@dataclass(frozen=True, kw_only=True)
class EmotionWeights:
    """The weights of a model by emotion: `cells[i]` of `modalities[i]` as mean ± deviation, and how many of `unit`.

    An emotion without any has a dash, and n 0.
    """

    model: str
    unit: str
    modalities: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    n: tuple[int, ...]


def weights_by_emotion(results: Results) -> list[EmotionWeights]:
    """Return the models that learn weights by emotion, then those that weigh each sample by itself."""
    learned = {(w.model, w.modality, w.label): w for w in results.weights if w.label is not None}
    own = {(w.model, w.modality, w.label): w for w in results.sample_weights}
    return [*_emotion_weights(results, learned, "repeats"), *_emotion_weights(results, own, "test predictions")]


def _emotion_weights(
    results: Results, weights: Mapping[tuple[str, str, str], FittedWeight | SampleWeight], unit: str
) -> Iterable[EmotionWeights]:
    labels = [count.label for count in results.classes]
    for model in dict.fromkeys(name for name, _, _ in weights):
        modalities = tuple(dict.fromkeys(modality for name, modality, _ in weights if name == model))
        found = [[weights.get((model, modality, label)) for label in labels] for modality in modalities]
        yield EmotionWeights(
            model=model,
            unit=unit,
            modalities=modalities,
            cells=tuple(tuple(_spread(weight) for weight in row) for row in found),
            n=tuple(weight.n if weight else 0 for weight in found[0]),
        )


def _spread(weight: FittedWeight | SampleWeight | None) -> str:
    if weight is None:
        return NONE
    return f"{weight.mean:.2f}" + ("" if weight.sd is None else f" ± {weight.sd:.2f}")


def _comparison_rows(results: Results) -> Iterable[dict[str, Any]]:
    for c in results.comparisons:
        row = {name: getattr(c, name) for name in ("family", "metric", "a", "b", "verdict", "reason", "holm_p")}
        for prefix, result in (("primary", c.primary), ("naive", c.naive)):
            for field in fields(PairResult):
                row[f"{prefix}_{field.name}"] = getattr(result, field.name) if result else None
        yield row


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    out, listed = io.StringIO(), list(rows)
    if listed:
        writer = csv.DictWriter(out, fieldnames=list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
    return out.getvalue()


def latex_scores(results: Results) -> str:
    """Return the scores as a LaTeX table (booktabs), percent, the interval of the primary metric last."""
    names, primary = labels_of(results), results.method.primary_metric
    heads = " & ".join(_tex(NAMES[metric]) for metric in PAPER_METRICS)
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * len(PAPER_METRICS)}c}}",
        r"\toprule",
        rf"Model & {heads} & interval of {_tex(NAMES[primary])} \\",
        r"\midrule",
    ]
    for row in results.score_rows():
        cells = " & ".join(percent(row[metric]) for metric in PAPER_METRICS)
        span = "--" if row["low"] is None else f"[{percent(row['low'])}, {percent(row['high'])}]"
        lines.append(rf"{_tex(names[row['model']])} & {cells} & {span} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
