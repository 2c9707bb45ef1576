"""What a person reads in the terminal: the books, the scores, what is in the store."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.features import Feature
from flows.progress import console
from fusion.robustness import RobustnessBooks
from reports.results import Results
from reports.selection import shown_first
from reports.words import groups_of, sentence
from stores.receipt import COUNTS, STAGES, RunReceipt

_SCORES = ("macro_f1", "accuracy", "auc_macro_ovr", "balanced_accuracy")
_GROUPS = 60  # lines
_WIDE = 100  # characters; a narrower terminal is shown less, not cut words


def show_books(features: Mapping[str, Feature]) -> None:
    """Print the books of each feature: samples = absent + cached + extracted + quarantined."""
    views = {f"{name} view {n}": v for name, own in features.items() for n, v in enumerate(own.views, 1)}
    rows = []
    for name, feature in sorted({**features, **views}.items()):
        ids = [store.id for store in feature.stores]
        shown = ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"
        counts = feature.books.as_dict()
        rows.append((name, *(f"{count:,}" for count in counts.values()), shown))
    columns = ("feature", *COUNTS, "id")
    caption = "samples = absent + cached + extracted + quarantined; distinct: different recordings"
    if any(feature.books.quarantined for feature in (*features.values(), *views.values())):
        caption += "; `affuse store ls --quarantine` names who failed"
    show_table("Features", columns, rows, caption=caption)


def show_splits(found: Mapping[str, Any]) -> None:
    """Print how often each group is tested, the least often first, and the least and largest size of each part."""
    parts = {part: [repeat[part] for repeat in found["repeats"]] for part in found["repeats"][0]}
    sizes = ", ".join(f"{part} {min(own):,} to {max(own):,}" for part, own in parts.items() if max(own))
    median, most = (f"{100 * off:.1f}" for off in found["class_shares_off"])
    order = sorted(found["groups"], key=lambda row: row["tested"])
    rows = [(row["group"], f"{row['samples']:,}", str(row["tested"])) for row in order[:_GROUPS]]
    more = f"{len(order) - _GROUPS:,} more groups are not shown; " if len(order) > _GROUPS else ""
    caption = (
        f"{more}samples of a part: {sizes}; the share of a class in a test part is off by {median} points in the "
        f"median repeat and {most} at most"
    )
    columns = ("group", "samples", "times tested")
    show_table(f"{len(found['repeats'])} repeats", columns, rows, caption=caption, optional_last=False)
    for warning in found["warnings"]:
        console.print(f"  warning: {warning}", highlight=False, markup=False, style="yellow")


def show_receipts(features: Mapping[str, Feature]) -> None:
    """Print what the extractions of this run took: one row a stage, one column a feature with its views.

    Nothing is printed if all was cached.
    """
    receipts = {}
    for name, feature in sorted(features.items()):
        own = [made.books.receipt for made in (feature, *feature.views) if made.books.receipt is not None]
        if any(receipt.samples for receipt in own):
            receipts[name] = RunReceipt.total(own)
    if not receipts:
        return
    every = list(receipts.values())
    rows = [
        ("samples", *(f"{receipt.samples:,}" for receipt in every)),
        ("seconds", *(f"{receipt.seconds:,.1f}" for receipt in every)),
        ("samples/s", *(_number(receipt.rate) for receipt in every)),
        *((stage, *(_stage(receipt, stage) for receipt in every)) for stage in STAGES),
        ("device busy", *("-" if (busy := receipt.busy_share) is None else f"{100 * busy:.0f} %" for receipt in every)),
    ]
    caption = "share: of the seconds with the model open (read and open come before); stages overlap; decode: a thread"
    show_table("What extraction took", ("", *receipts), rows, caption=caption, optional_last=False)


def _stage(receipt: RunReceipt, stage: str) -> str:
    share = receipt.share(stage)
    return f"{receipt.stages.get(stage, 0.0):,.1f} s {'-' if share is None else f'{100 * share:.0f} %':>5}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def show_robustness(books: RobustnessBooks | None) -> None:
    """Print one line on the scores under disturbances, if the study asks for any."""
    if books is not None:
        said = (
            f"robustness: {books.cached + books.scored:,} scores of {books.runs:,} runs under up to {books.conditions} "
            f"conditions ({books.cached:,} cached), {books.openings:,} openings of test parts counted apart"
        )
        console.print(said, highlight=False)


def show_scores(name: str, results: Results) -> None:
    """Print one row a model, best first: the primary metric with its interval, then the other scores.

    Of many models those are shown that the page lists first.
    """
    primary = results.method.primary_metric
    others = [metric for metric in _SCORES if metric != primary]
    every, shown = results.score_rows(), shown_first(results)
    rows = []
    for row in every:
        if row["model"] not in shown:
            continue
        interval = "-" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
        model = f"{row['model']}{' *' * (row['model'] == results.reference)}"
        rows.append((model, _score(row[primary]), interval, *(_score(row[metric]) for metric in others)))
    columns = ("model", primary, f"{1 - results.method.alpha:.0%} CI", *others)
    caption = "* the reference, which the others are compared with"
    if more := len(every) - len(rows):
        caption += f"; {more} more in tables/scores.csv"
    leaks = [f"Warning: {it.title}." for it in results.banners if it.kind == "leaks"]
    for line in (sentence(groups_of(results.facts)), *leaks):
        console.print(printable(line), highlight=False, markup=False)
    show_table(f"Study {name}", columns, rows, caption=caption)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def printable(text: str) -> str:
    """Return text without control characters: a file's name may hold line breaks, or tell a terminal what to do."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    optional_last: bool = True,
    on: Console = console,
) -> None:
    """Print a table: the first column is text, the others numbers; an optional last one only where there is room."""
    shown = len(columns) - (optional_last and on.width < _WIDE)
    table = Table(
        title=Text(title, style="bold"),
        caption=caption or None,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.title_justify = table.caption_justify = "left"
    for i, column in enumerate(columns[:shown]):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row[:shown]))
    on.print(table)
