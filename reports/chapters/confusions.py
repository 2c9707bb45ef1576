"""Confusion matrices: which emotion is taken for which, how models differ in it, and agreement beyond chance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.chapters.weights import Weights
from reports.drawing import HEAT, WARM, Cell, Figure, grid
from reports.evidence import CHANCE, Evidence, Model
from reports.findings.tallies import SIGNED, Rate, Tallies
from reports.findings.votes import single_heads
from reports.metrics import chance_corrected, f1_of_macro_means, ratio, weighted_modality_recall
from reports.results import Results
from reports.selection import foremost, shown_first, worth_a_matrix
from reports.words import isolated, labels_of, points

EVERY = "all emotions"
_ROW = 0.5  # inches a row of percent and count takes
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class ModalityRecall:
    """Eq. 11 of the reference paper on an emotion, or on EVERY: it never looks at a fused prediction.

    `value` weighs the `recalls` of `modalities` alone by the fitted `weights`; `fused` is the recall of the fusion
    `model` that has these weights. None where a class is absent.
    """

    model: str
    label: str
    modalities: tuple[str, ...]
    weights: tuple[float, ...]
    recalls: tuple[float, ...] | None
    value: float | None
    fused: float | None

    def row(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        recalls = self.recalls or (None,) * len(self.modalities)
        return {
            "model": self.model,
            "label": self.label,
            **{f"weight_{m}": weight for m, weight in zip(self.modalities, self.weights, strict=True)},
            **{f"recall_{m}": recall for m, recall in zip(self.modalities, recalls, strict=True)},
            "weighted_modality_recall": self.value,
            "recall_of_fusion": self.fused,
        }


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts summed over all repeats, rows actual, columns predicted; `shares` are those of each row."""

    model: str
    rows: tuple[tuple[int, ...], ...]
    shares: Matrix


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Row shares of `a` minus those of `b`; on the diagonal more is better, elsewhere it is more of that confusion."""

    a: str
    b: str
    rows: Matrix


@dataclass(frozen=True, kw_only=True)
class BeyondChance:
    """Agreement of a model with the labels beyond chance; `f1_of_macro_means` is not macro F1 (see the metric)."""

    model: str
    kappa: Rate
    mcc: Rate
    f1_of_macro_means: float


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """The matrix of every model, the reference against its best rival and best single modality, and what follows."""

    matrices: tuple[Confusion, ...]
    differences: tuple[Difference, ...]
    beyond_chance: tuple[BeyondChance, ...]
    weighted_modality_recall: tuple[ModalityRecall, ...]


class Confusions(Chapter[Matrices]):
    """Confusion matrices of all models; shown are those worth a look."""

    title = "Confusion matrices"

    def compute(self, case: Case) -> Matrices:
        counts, tallies = case.measures.confusions, Tallies(case)
        matrices = {name: _confusion(name, matrix) for name, matrix in counts.items() if name != CHANCE}
        _, *rivals = foremost(case.evidence.models, case.reference, case.ranking())
        wanted = dict.fromkeys([*rivals[:1], *rivals[-1:]])
        return Matrices(
            matrices=tuple(matrices.values()),
            differences=tuple(_difference(matrices[case.reference.name], matrices[name]) for name in wanted),
            beyond_chance=tuple(
                _beyond_chance(case.evidence, tallies, name, matrix) for name, matrix in counts.items()
            ),
            weighted_modality_recall=modality_recalls(case),
        )

    def figures(self, value: Matrices, results: Results) -> Iterable[Figure]:
        found = {confusion.model: confusion for confusion in value.matrices}
        drawn = [_matrix(results, found[name], i) for i, name in enumerate(worth_a_matrix(results))]
        return [*drawn, *(_differences(results, own, i) for i, own in enumerate(value.differences))]

    def tables(self, value: Matrices, results: Results) -> Mapping[str, Rows]:
        labels = results.labels
        places = [(i, j) for i in range(len(labels)) for j in range(len(labels))]
        counts = [
            {"model": c.model, "actual": labels[i], "predicted": labels[j], "count": c.rows[i][j],
             "share": c.shares[i][j]}
            for c in value.matrices for i, j in places
        ]  # fmt: skip
        differences = [
            {"a": d.a, "b": d.b, "actual": labels[i], "predicted": labels[j], "difference": d.rows[i][j]}
            for d in value.differences for i, j in places
        ]  # fmt: skip
        beyond = [
            {"model": b.model, **b.kappa.row("kappa"), **b.mcc.row("mcc"), "f1_of_macro_means": b.f1_of_macro_means}
            for b in value.beyond_chance
        ]
        return {
            "confusions": counts,
            "confusion_differences": differences,
            "beyond_chance": beyond,
            "weighted_modality_recall": [own.row() for own in value.weighted_modality_recall],
        }

    def context(self, value: Matrices, results: Results) -> Mapping[str, Any]:
        beyond = {own.model: own for own in value.beyond_chance}
        order = [score.model for score in results.ranking() if score.model in shown_first(results)]
        return {"beyond": [(beyond[name], results.score(name, "accuracy")) for name in order]}


def _confusion(model: str, matrix: np.ndarray) -> Confusion:
    shares = np.nan_to_num(ratio(matrix.astype(np.float64), matrix.sum(axis=1, keepdims=True)))
    return Confusion(model=model, rows=_rows(matrix), shares=_rows(shares))


def _difference(a: Confusion, b: Confusion) -> Difference:
    return Difference(a=a.model, b=b.model, rows=_rows(np.array(a.shares) - np.array(b.shares)))


def _rows(matrix: np.ndarray) -> Any:
    return tuple(map(tuple, matrix.tolist()))


def _beyond_chance(evidence: Evidence, tallies: Tallies, model: str, matrix: np.ndarray) -> BeyondChance:
    classes = len(evidence.classes)
    labels, predicted = evidence.labels, evidence.predicted(model)

    def corrected(sums: np.ndarray) -> np.ndarray:
        return np.stack(list(chance_corrected(sums.reshape(*sums.shape[:-2], classes, classes)).values()), axis=-1)

    kappa, mcc = tallies.rates(classes * labels + predicted, classes**2, [None], corrected, SIGNED)
    return BeyondChance(model=model, kappa=kappa, mcc=mcc, f1_of_macro_means=float(f1_of_macro_means(matrix)))


def _matrix(results: Results, found: Confusion, index: int) -> Figure:
    labels = results.labels
    cells: list[list[Cell]] = [
        [
            (HEAT if i == j else WARM, share, f"{100 * share:.1f}\n({count:,})", i == j)
            for j, (share, count) in enumerate(zip(shares, counts, strict=True))
        ]
        for i, (shares, counts) in enumerate(zip(found.shares, found.rows, strict=True))
    ]
    title = f"Confusion matrix of {labels_of(results)[found.model]}: percent of each actual emotion, and counts"
    told = _told("Recalls in percent", labels, [f"{100 * row[i]:.1f}" for i, row in enumerate(found.shares)])
    return _grid(f"confusion-{index + 1}", "confusions", title, labels, cells, told)


def _differences(results: Results, found: Difference, index: int) -> Figure:
    names = labels_of(results)
    largest = max(abs(value) for row in found.rows for value in row) or 1.0
    cells: list[list[Cell]] = [
        [(HEAT if value > 0 else WARM, abs(value) / largest, points(value), i == j) for j, value in enumerate(row)]
        for i, row in enumerate(found.rows)
    ]
    title = f"{names[found.a]} minus {names[found.b]}: points of the percentages of each actual emotion"
    told = _told("Differences in recall, points", results.labels, [points(row[i]) for i, row in enumerate(found.rows)])
    return _grid(f"confusion-difference-{index + 1}", "differences", title, results.labels, cells, told)


def _told(what: str, labels: Sequence[str], values: Sequence[str]) -> str:
    return f"{what}: {', '.join(f'{isolated(label)} {value}' for label, value in zip(labels, values, strict=True))}."


def _grid(
    name: str, group: str, title: str, labels: Sequence[str], cells: Sequence[Sequence[Cell]], told: str
) -> Figure:
    names = ("actual", "predicted")
    return grid(name, group, title, labels, labels, cells, margin=1.0, axis_names=names, row_height=_ROW, told=told)


def modality_recalls(case: Case) -> tuple[ModalityRecall, ...]:
    """Return Eq. 11 by emotion and over all, for the widest fusion that fits one weight a modality; () if none does.

    Weights are means over repeats, recalls those of counts summed over repeats.
    """
    singles = single_heads(case.evidence.models, "")
    fitted = _fitted(case)
    fusions = [m for m in case.evidence.models if m.name in fitted and set(m.modalities) <= set(singles)]
    if not fusions:
        return ()
    fusion = max(fusions, key=lambda m: (m.name == case.reference.name, len(m.modalities)))
    return tuple(_by_emotion(case, fusion, singles, fitted[fusion.name]))


def _fitted(case: Case) -> dict[str, dict[str, float]]:
    """Return the fitted weights by modality of every fusion that weighs all samples alike."""
    weights, found = case.value(Weights), dict[str, dict[str, float]]()
    fused = {m.name for m in case.evidence.models if m.fused and not m.variant}
    for own in weights.fitted if weights else ():
        if own.label is None and not own.given and own.model in fused:
            found.setdefault(own.model, {})[own.modality] = own.mean
    return found


def _by_emotion(
    case: Case, fusion: Model, singles: dict[str, str], fitted: dict[str, float]
) -> Iterable[ModalityRecall]:
    modalities, counts = tuple(sorted(fitted)), case.measures.confusions
    weights = tuple(fitted[m] for m in modalities)
    matrices = np.stack([*(counts[singles[m]] for m in modalities), counts[fusion.name]])
    hits, support = np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(axis=2)  # (M + 1, K), the fusion last
    for k, label in enumerate((*case.evidence.classes, EVERY)):
        own = slice(None) if label == EVERY else slice(k, k + 1)
        tp, n = hits[:, own].sum(axis=1), support[:, own].sum(axis=1)
        recalls = (tp / n).tolist() if n.all() else None
        yield ModalityRecall(
            model=fusion.name,
            label=label,
            modalities=modalities,
            weights=weights,
            recalls=tuple(recalls[:-1]) if recalls else None,
            value=float(weighted_modality_recall(np.array(weights), tp[:-1], (n - tp)[:-1])) if recalls else None,
            fused=recalls[-1] if recalls else None,
        )
