"""What a person reads in the terminal: the books, the scores, what is in the store."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from flows.features import Feature
from flows.progress import console
from reports.results import Results

_SCORES = ("macro_f1", "accuracy", "balanced_accuracy", "auc_macro_ovr")
_BOOKS = ("samples", "absent", "cached", "extracted", "quarantined", "distinct")


def show_books(features: Mapping[str, Feature]) -> None:
    """Print the books of each feature: samples = absent + cached + extracted + quarantined."""
    table = Table(title="Features", title_justify="left", caption="distinct: different recordings among them")
    table.add_column("feature")
    table.add_column("id", style="dim", no_wrap=True)
    for name in _BOOKS:
        table.add_column(name, justify="right")
    for name, feature in sorted(features.items()):
        ids = [store.id for store in feature.stores]
        shown = ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"
        counts = feature.books.as_dict()
        table.add_row(name, shown, *(f"{counts[column]:,}" for column in _BOOKS))
    console.print(table)


def show_scores(name: str, results: Results) -> None:
    """Print one row a model, best first: the primary metric with its interval, then the other scores."""
    primary = results.method.primary_metric
    others = [metric for metric in _SCORES if metric != primary]
    rows = []
    for row in results.score_rows():
        interval = "-" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
        rows.append((row["model"], _score(row[primary]), interval, *(_score(row[metric]) for metric in others)))
    columns = ("model", primary, f"{1 - results.method.alpha:.0%} CI", *others)
    show_table(f"Study {name}", columns, rows)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> None:
    """Print a table whose first column is text and whose others are numbers."""
    table = Table(title=Text(title), title_justify="left", caption=caption or None, caption_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
