"""Which report is meant by a study file, the name or id of a study, or the id of a report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.pipeline import latest_runs
from flows.study_config import load_study
from reports.config import ReportConfig
from reports.report import evaluate, report_folder, report_id
from reports.results import SCHEMA_VERSION
from reports.side_by_side.flips import Side, read_side
from stores.errors import ConfigError, DamagedError, NotFound
from stores.identity import canonical
from stores.root import Root
from stores.studies import StudyStore

JSON = dict[str, Any]


def side_of(root: Root, wanted: str) -> Side:
    """Return the report that is meant: the one that is written, else it is computed and not written.

    Raises NotFound if there is nothing of that name, ConfigError if several reports could be meant.
    """
    root.demand()
    if wanted.endswith(".toml") or Path(wanted).is_file():
        config = load_study(wanted)
        latest = latest_runs(config, root)
        name = report_id(latest.study, latest.runs, config.report)
        written = _current(_read(root, name))
        return read_side(root, config.name, written or _computed(root, latest.study, latest.runs, config.report))
    if found := _read(root, wanted):
        return read_side(root, wanted, found)
    if root.exists("studies", f"{wanted}.latest.json"):
        latest_json = root.read_json("studies", f"{wanted}.latest.json")
        return _only(root, wanted, latest_json["study"], latest_json["runs"])
    if root.exists("studies", wanted, "study.json"):
        return _only(root, wanted, wanted, None)
    raise NotFound(
        f"{wanted!r} is no study file, no study and no report under {root.address}; `affuse store ls --json` lists them"
    )


def _only(root: Root, wanted: str, study: str, runs: Sequence[str] | None) -> Side:
    """Return the one report of a study, of these runs if given; computed as by default if none is written."""
    own = [
        results
        for name in root.names("reports")
        if (results := _current(_read(root, name)))
        and results["study"] == study
        and (runs is None or results["runs"] == sorted(runs))
    ]
    if len(own) > 1:
        names = ", ".join(results["id"] for results in own)
        raise ConfigError(f"{wanted} has {len(own)} reports: name one of {names}, or the study file")
    if own:
        return read_side(root, wanted, own[0])
    every = sorted(StudyStore.open(root, study).run_ids()) if runs is None else runs
    return read_side(root, wanted, _computed(root, study, every, ReportConfig()))


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


def _computed(root: Root, study: str, runs: Sequence[str], config: ReportConfig) -> JSON:
    results: Any = canonical(evaluate(root, study, runs, config))
    return dict(results)
