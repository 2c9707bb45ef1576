"""What `affuse report --check`, `--open` and `compare` do."""

import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.pipeline import check_latest
from flows.progress import console
from flows.report_sides import latest_of, side_of
from flows.terminal import printable, show_table
from reports.check import Checked
from reports.side_by_side.flips import SideBySide, compare_sides
from reports.side_by_side.page import write_comparison
from stores.root import Root

JSON = dict[str, Any]
_MOST = 20  # mismatches, and flips, that a terminal is shown


def check_job(study: str, *, root: str | None, quiet: bool) -> JSON:
    """Return what of a study's report does not follow from its predictions; `ok` if nothing."""
    store = Root(root)
    found = check_latest(latest_of(study, store), store)
    if not quiet:
        _show_check(found)
    return {"ok": found.ok, **asdict(found)}


def _show_check(found: Checked) -> None:
    counts = f"{found.fields:,} fields, {found.files} files, {found.scores:,} scores by scikit-learn"
    if found.ok:
        console.print(f"{found.report} follows from its predictions: {counts}", highlight=False, style="bold")
        return
    for mismatch in found.mismatches[:_MOST]:
        line = f"{mismatch.where}: {mismatch.stored} is written, {mismatch.recomputed} is recomputed"
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
    more = len(found.mismatches) - _MOST
    tail = f", of which {more:,} are not shown (--json has all)" if more > 0 else ""
    line = f"{found.report}: {len(found.mismatches):,} differences{tail}; compared: {counts}"
    console.print(line, highlight=False, style="bold red")


def show_page(index: str) -> None:
    """Open a page in the browser, or say why not."""
    if "://" in index:
        console.print(f"The page is not on this machine, so it was not opened: {index}", highlight=False)
    elif not webbrowser.open(Path(index).resolve().as_uri()):
        console.print(f"No browser was found. Open this file: {index}", highlight=False)


def compare_job(a: str, b: str, *, root: str | None, quiet: bool) -> JSON:
    """Set two studies side by side and write the page; return what it says, and where it is."""
    store = Root(root)
    found = compare_sides(side_of(store, a), side_of(store, b))
    index, results = write_comparison(store, found)
    if not quiet:
        _show_comparison(found)
        console.print(f"Comparison: {index}", highlight=False, style="bold")
    return {
        "report": index,
        "results": results,
        "flips": [asdict(flip) for flip in found.flips],
        "kept": found.kept,
        "changes": [asdict(change) for change in found.changes],
        "remarks": list(found.remarks),
    }


def _show_comparison(found: SideBySide) -> None:
    for remark in found.remarks:
        console.print(printable(remark), highlight=False, markup=False)
    if found.flips:
        _show_flips(found)
    elif found.kept:
        console.print(f"None of {found.kept:,} verdicts flips.", highlight=False)
    if found.changes:
        _show_changes(found)
    else:
        console.print("Nothing that is written down differs between A and B.", highlight=False)


def _show_flips(found: SideBySide) -> None:
    label = found.labels
    rows = [
        (f"{label[flip.a]} v {label[flip.b]}", flip.metric, flip.first.verdict, flip.second.verdict, flip.how)
        for flip in found.flips[:_MOST]
    ]
    more = len(found.flips) - len(rows)
    caption = f"A: {found.first.title}; B: {found.second.title}; {found.kept:,} verdicts are the same in both"
    caption += f"; {more:,} more flips on the page" if more > 0 else ""
    show_table("Verdicts that flip", ("pair", "metric", "A", "B", "how"), rows, caption=caption, optional_last=True)


def _show_changes(found: SideBySide) -> None:
    changes = [(change.kind, change.words) for change in found.changes[:_MOST]]
    unshown = len(found.changes) - len(changes)
    show_table(
        "What differs between A and B",
        ("kind", "what"),
        changes,
        caption=f"{unshown:,} more on the page" if unshown > 0 else "",
        optional_last=False,
    )
