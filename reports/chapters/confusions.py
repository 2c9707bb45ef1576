"""Confusion matrices: which emotion is taken for which."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import HEAT, WARM, Cell, Figure, grid
from reports.evidence import CHANCE
from reports.results import Results
from reports.selection import worth_a_matrix
from reports.words import labels_of


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts summed over all repeats, rows actual, columns predicted."""

    model: str
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """The matrix of every model."""

    matrices: tuple[Confusion, ...]


class Confusions(Chapter[Matrices]):
    """Confusion matrices of all models; shown are those worth a look."""

    title = "Confusion matrices"

    def compute(self, case: Case) -> Matrices:
        return Matrices(
            matrices=tuple(
                Confusion(model=name, rows=tuple(tuple(int(count) for count in row) for row in matrix))
                for name, matrix in case.measures.confusions.items()
                if name != CHANCE
            )
        )

    def figures(self, value: Matrices, results: Results) -> Iterable[Figure]:
        rows = {confusion.model: confusion.rows for confusion in value.matrices}
        return [_confusion(results, rows[name], name, i) for i, name in enumerate(worth_a_matrix(results))]

    def tables(self, value: Matrices, results: Results) -> Mapping[str, Rows]:
        rows = [
            {"model": c.model, "actual": actual, "predicted": predicted, "count": count}
            for c in value.matrices
            for actual, row in zip(results.labels, c.rows, strict=True)
            for predicted, count in zip(results.labels, row, strict=True)
        ]
        return {"confusions": rows}


def _confusion(results: Results, rows: tuple[tuple[int, ...], ...], model: str, index: int) -> Figure:
    labels = results.labels
    shares = [[count / max(sum(row), 1) for count in row] for row in rows]
    cells: list[list[Cell]] = [
        [(HEAT if i == j else WARM, share, f"{100 * share:.0f}", i == j) for j, share in enumerate(row)]
        for i, row in enumerate(shares)
    ]
    title = f"Confusion matrix of {labels_of(results)[model]}: percent of each actual emotion"
    name = f"confusion-{index + 1}"
    return grid(name, "confusions", title, labels, labels, cells, margin=1.0, axis_names=("actual", "predicted"))
