"""Which report is meant by a study file, the name or id of a study, or the id of a report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.pipeline import Latest, latest_named, latest_runs
from flows.study_config import load_study
from reports.config import ReportConfig
from reports.report import evaluate, report_folder, report_id
from reports.results import SCHEMA_VERSION
from reports.side_by_side.flips import Side, read_side
from stores.errors import ConfigError, DamagedError, NotFound
from stores.identity import canonical
from stores.inventory import latest_path
from stores.root import Root
from stores.settings import is_name
from stores.studies import StudyStore

JSON = dict[str, Any]


def latest_of(study: str, root: Root) -> Latest:
    """Return what a study file or the name of a study means now.

    A name has the [report] settings its file had when the study ran. Raises ConfigError, NotFound.
    """
    named = not _is_file(study) and is_name(study) and root.exists(latest_path(study))
    return latest_named(study, root) if named else latest_runs(load_study(study), root)


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
