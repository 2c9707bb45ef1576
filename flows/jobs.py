"""What one command does, from a study file to a JSON object; the same for the terminal and for Prefect."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from extractors.extractor import Runtime
from flows.dask_blocks import block_mapper
from flows.features import Feature, Workbench
from flows.pipeline import Extracted, cast_study, extract, head_plans, make_manifest, report_latest, run_study, train
from flows.progress import console, progress
from flows.study_config import StudyConfig, load_study
from flows.terminal import show_books, show_scores
from reports.report import ReportPaths
from stores.manifest import Manifest
from stores.progress import Silent
from stores.root import Root

JSON = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a command is run; nothing in here changes a result.

    `root` is where everything is written; `dask` a scheduler address or `local:N`; `quiet` keeps stderr empty.
    """

    root: str | None = None
    device: str = "auto"
    batch_size: int = 32
    workers: int = 2
    dask: str | None = None
    retry_quarantined: bool = False
    quiet: bool = False


def manifest_job(study: str, options: Options) -> JSON:
    """Build and save the manifest of a study's corpus."""
    config, root = load_study(study), Root(options.root)
    manifest = make_manifest(config, root)
    return {
        "manifest": manifest.name,
        "samples": len(manifest.samples),
        "labels": {scheme: manifest.counts(scheme) for scheme in manifest.labels},
        "dropped": dict(manifest.dropped),
        "pairing": manifest.pairing,
    }


def extract_job(study: str, options: Options) -> JSON:
    """Rebuild the manifest and extract every feature of a study."""
    config = load_study(study)
    with _bench(options) as bench:
        extracted = extract(config, _manifest(config, bench), bench)
    return _features(extracted, options)


def train_job(study: str, options: Options) -> JSON:
    """Train the encoders of a study."""
    config = load_study(study)
    with _bench(options) as bench:
        extracted = train(config, _manifest(config, bench), bench)
    encoders = {modality: list(dict.fromkeys(ids)) for modality, ids in extracted.encoders.items()}
    return _features(extracted, options) | {"encoders": encoders}


def study_job(study: str, options: Options) -> JSON:
    """Extract what is missing, then train and score every head of a study."""
    config = load_study(study)
    with _bench(options) as bench:
        head_plans(config)  # a wrong head, or splits that cannot be, are told now, not after hours of extraction
        manifest = _manifest(config, bench)
        cast_study(config, manifest)
        extracted = extract(config, manifest, bench)
        outcome = run_study(config, extracted, bench)
    runs = {"cached": outcome.runs.cached, "trained": outcome.runs.trained}
    return _features(extracted, options) | {"study": outcome.study, "runs": runs}


def report_job(study: str, options: Options) -> JSON:
    """Write the report of a study that has run."""
    config, root = load_study(study), Root(options.root)
    started = time.monotonic()
    paths = report_latest(config, root)
    _say(config, paths, options)
    return {**_paths(paths), "seconds": round(time.monotonic() - started, 2)}


def run_job(study: str, options: Options) -> JSON:
    """Do the whole way: manifest, features, encoders, heads, report."""
    started = time.monotonic()
    outcome = study_job(study, options)
    reported = report_job(study, options)
    return {**outcome, **reported, "seconds": round(time.monotonic() - started, 2)}


def _manifest(config: StudyConfig, bench: Workbench) -> Manifest:
    work = f"corpus {config.name}"
    bench.report.start(work, 1, "manifest")
    manifest = make_manifest(config, bench.root)
    bench.report.advance(work)
    bench.report.finish(work)
    return manifest


@contextmanager
def _bench(options: Options) -> Iterator[Workbench]:
    runtime = Runtime(device=options.device, batch_size=options.batch_size, workers=options.workers)
    bench = Workbench(
        root=Root(options.root), runtime=runtime, report=Silent(), retry_quarantined=options.retry_quarantined
    )
    with progress(quiet=options.quiet) as report, block_mapper(options.dask) as map_blocks:
        yield replace(bench, report=report, map_blocks=map_blocks)


def _features(extracted: Extracted, options: Options) -> JSON:
    features: dict[str, Feature] = dict(extracted.features)
    if not options.quiet:
        show_books(features)
    return {"features": {name: feature.as_json() for name, feature in features.items()}}


def _paths(paths: ReportPaths) -> JSON:
    return {"report": paths.index, "results": paths.results}


def _say(config: StudyConfig, paths: ReportPaths, options: Options) -> None:
    if not options.quiet:
        show_scores(config.name, paths.content)
        console.print(f"Report: {paths.index}", highlight=False, style="bold")
