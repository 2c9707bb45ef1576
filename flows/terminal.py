"""What a person reads in the terminal: the books, the scores, what is in the store."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from flows.features import Feature
from flows.progress import console

_BOOKS = ("samples", "absent", "cached", "extracted", "quarantined", "distinct")


def show_books(features: Mapping[str, Feature]) -> None:
    """Print the books of each feature: samples = absent + cached + extracted + quarantined."""
    table = Table(title="Features", title_justify="left", caption="distinct: different recordings among them")
    table.add_column("feature")
    table.add_column("id", style="dim", overflow="fold")
    for name in _BOOKS:
        table.add_column(name, justify="right")
    for name, feature in sorted(features.items()):
        ids = [store.id for store in feature.stores]
        shown = ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"
        counts = feature.books.as_dict()
        table.add_row(name, shown, *(f"{counts[column]:,}" for column in _BOOKS))
    console.print(table)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> None:
    """Print a table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", caption=caption or None, caption_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
