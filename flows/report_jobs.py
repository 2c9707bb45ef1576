"""What `affuse report --check`, `--open` and `compare` do, and which report is meant by what they are given."""

import json
import webbrowser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.pipeline import Latest, ask, latest_named, latest_runs
from flows.progress import console
from flows.study_config import load_study
from flows.terminal import printable, show_table
from reports.check import Checked, check_report
from reports.config import ReportConfig
from reports.evidence import models_of
from reports.report import evaluate, report_folder, report_id
from reports.results import SCHEMA_VERSION
from reports.side_by_side.flips import Side, SideBySide, compare_sides, read_side
from reports.side_by_side.page import write_comparison
from stores.errors import ConfigError, DamagedError, NotFound
from stores.identity import canonical
from stores.inventory import latest_path, take_stock
from stores.plans import REPORT
from stores.root import Root
from stores.settings import is_name
from stores.studies import StudyStore

JSON = dict[str, Any]
_MOST = 20  # mismatches, and flips, that a terminal is shown


def check_job(study: str, *, root: str | None, quiet: bool) -> JSON:
    """Return what of a study's report does not follow from its predictions; `ok` if nothing."""
    store = Root(root)
    latest = latest_of(study, store)
    found = check_report(store, latest.study, latest.runs, latest.report, name=latest.name)
    if not quiet:
        _show_check(found)
    return {"ok": found.ok, **asdict(found)}


def _show_check(found: Checked) -> None:
    counts = f"{found.fields:,} fields, {found.files} files"
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


def latest_of(study: str, root: Root) -> Latest:
    """Return what a study file or the name of a study means now.

    A name has the [report] settings its file had when the study ran. Raises ConfigError, NotFound.
    """
    named = not _is_file(study) and is_name(study) and root.exists(latest_path(study))
    return latest_named(study, root) if named else latest_runs(load_study(study), root)


def ask_report(latest: Latest, root: Root) -> None:
    """Note what a report asks for, unless that is what was asked for last."""
    store = StudyStore.open(root, latest.study)
    runs = store.runs()
    if runs is None:
        return
    named = {model.name: model for model in models_of(runs)}
    of = dict(zip(runs["run_id"].to_pylist(), runs["model"].to_pylist(), strict=True))
    models = {run: named[of[run]] for run in latest.runs if run in of}
    if ask(store, latest.name, latest.report, latest.origin, REPORT, models):
        take_stock(store, latest.name)


def side_of(root: Root, wanted: str) -> Side:
    """Return the report that is meant: the one that is written, else it is computed and not written.

    Raises NotFound if there is nothing of that name, ConfigError if several reports could be meant.
    """
    root.demand()
    if _is_file(wanted):
        latest = latest_runs(load_study(wanted), root)
        written = _current(_read(root, report_id(latest.study, latest.runs, latest.report, latest.name)))
        return read_side(root, written or _of_latest(root, latest))
    known = is_name(wanted)
    if known and (found := _read(root, wanted)):
        return read_side(root, found)
    if known and root.exists(latest_path(wanted)):
        latest = latest_named(wanted, root)
        return read_side(root, _only(root, wanted, latest.study, latest) or _of_latest(root, latest))
    if known and root.exists("studies", wanted, "study.json"):
        every = StudyStore.open(root, wanted).run_ids()
        found = _only(root, wanted, wanted, None) or _computed(root, wanted, sorted(every), ReportConfig(), None)
        return read_side(root, found)
    raise NotFound(
        f"{wanted!r} is no study file, no study and no report under {root.address}; `affuse store ls --json` lists them"
    )


def _is_file(wanted: str) -> bool:
    return wanted.endswith(".toml") or Path(wanted).is_file()


def _only(root: Root, wanted: str, study: str, latest: Latest | None) -> JSON | None:
    """Return the one report of a study that is written, of the runs and the name of `latest` if given."""
    own = [
        results
        for name in root.names("reports")
        if (results := _current(_read(root, name)))
        and results["study"] == study
        and (latest is None or (results["name"], results["runs"]) == (latest.name, sorted(latest.runs)))
    ]
    if len(own) > 1:
        names = ", ".join(results["id"] for results in own)
        raise ConfigError(f"{wanted} has {len(own)} reports: name one of {names}, or the study file")
    return own[0] if own else None


def _read(root: Root, report: str) -> JSON | None:
    """Return the results.json of a report of one study; None if there is none."""
    if not root.exists(report_folder(report), "results.json"):
        return None
    try:
        results: JSON = json.loads(root.read(report_folder(report), "results.json"))
    except ValueError:
        raise DamagedError(f"results.json of {report} is no JSON: write the report again") from None
    return results if "study" in results else None


def _current(results: JSON | None) -> JSON | None:
    """Return what was read if this version has written it."""
    return results if results and results["schema_version"] == SCHEMA_VERSION else None


def _of_latest(root: Root, latest: Latest) -> JSON:
    return _computed(root, latest.study, latest.runs, latest.report, latest.name)


def _computed(root: Root, study: str, runs: Sequence[str], config: ReportConfig, name: str | None) -> JSON:
    results: Any = canonical(evaluate(root, study, runs, config, name=name))
    return dict(results)
