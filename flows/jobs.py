"""What one command does, from a study file to a JSON object; the same for the terminal and for Prefect."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from extractors.extractor import Runtime, decode_threads
from extractors.run import MapBlocks
from flows.candidates import stumbling_blocks
from flows.encoder_plans import points_of
from flows.facts import PARTS, design_warnings
from flows.features import Workbench
from flows.pipeline import (
    Extracted,
    StudyRun,
    cast_study,
    check_folds,
    check_study,
    extract,
    make_manifest,
    mended,
    run_study,
    train,
)
from flows.progress import console, progress
from flows.report_jobs import ask_report, latest_of
from flows.study_config import StudyConfig, load_study
from flows.terminal import show_books, show_receipts, show_robustness, show_scores
from fusion.splits import tested
from reports.findings.searches import opened
from reports.report import write_report
from stores.digests import forget, load_digests, save_digests
from stores.errors import ConfigError, RootError
from stores.manifest import Manifest
from stores.plugins import nearest
from stores.progress import Progress
from stores.quarantine import REASONS
from stores.root import Root

JSON = dict[str, Any]
MOST_WORKERS = 1024


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a command is run; nothing in here changes a result.

    `root` is where everything is written; `batch_size` items are embedded at once and `decode_workers` threads decode
    (both found out by default); `workers` processes of this machine extract, or those of the scheduler at `dask`;
    `quiet` keeps stderr empty; `reason` limits what `retry_quarantined` tries again; `rehash` reads every file instead
    of trusting its time; `pdf` writes the figures of a report as PDF too.
    """

    root: str | None = None
    device: str = "auto"
    batch_size: int | None = None
    decode_workers: int | None = None
    time_limit: float = 120.0
    workers: int | None = None
    dask: str | None = None
    retry_quarantined: bool = False
    reason: tuple[str, ...] = ()
    rehash: bool = False
    quiet: bool = False
    pdf: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers should be at least 1, got {self.workers}: leave it out to use this process")
        for name, count in {"--workers": self.workers, "--decode-workers": self.decode_workers}.items():
            if (count or 0) > MOST_WORKERS:
                raise ConfigError(f"{name} should be {MOST_WORKERS} at most, got {count:,}")
        if self.workers is not None and self.dask is not None:
            raise ConfigError("--workers starts processes here, --dask uses a cluster that runs: give one of them")
        if self.dask is not None and self.dask.startswith("local:"):
            raise ConfigError(
                f"--dask should be an address such as tcp://host:8786, got {self.dask!r}; --workers N is local"
            )


Mapper = Callable[[Options, Progress], AbstractContextManager[MapBlocks]]


def dask_mapper(options: Options, report: Progress) -> AbstractContextManager[MapBlocks]:
    """Return how blocks are mapped over other processes; importing Dask waits until it is needed."""
    from flows.dask_blocks import block_mapper

    return block_mapper(options.dask, options.workers, report)


def manifest_job(study: str, options: Options) -> JSON:
    """Build and save the manifest of a study's corpus, and tell what the study would stumble over."""
    config, root = load_study(study), Root(options.root)
    manifest = make_manifest(config, root)
    warnings = list(stumbling_blocks(config, manifest))
    return {
        "manifest": manifest.name,
        "samples": len(manifest.samples),
        "labels": {scheme: manifest.counts(scheme) for scheme in manifest.labels},
        "dropped": dict(manifest.dropped),
        "pairing": manifest.pairing,
        "warnings": warnings,
    }


def splits_job(study: str, options: Options) -> JSON:
    """Draw the splits of a study, train nothing, and tell how large parts are and how often each group is tested."""
    config = load_study(study)
    cast = cast_study(config, make_manifest(config, Root(options.root)))
    names, samples = np.unique(cast.candidates.groups, return_counts=True)
    found = tested(cast.splits, cast.candidates.labels, cast.candidates.groups)
    return {
        "repeats": [{part: len(getattr(split, part)) for part in PARTS} for split in cast.splits],
        "groups": [
            {"group": name, "samples": n, "tested": found["times"][name]}
            for name, n in zip(names.tolist(), samples.tolist(), strict=True)
        ],
        "class_shares_off": found["off"],
        "warnings": [*design_warnings(config, cast)],
    }


def extract_job(study: str, options: Options, mapper: Mapper = dask_mapper) -> JSON:
    """Rebuild the manifest and extract every feature of a study."""
    config = load_study(study)
    with _bench(options, mapper) as bench, _corpus(config, bench, options) as manifest:
        cast = cast_study(config, manifest) if config.needs_cast else None
        extracted = mended(lambda: extract(config, manifest, cast, bench), bench.report)
    return _features(extracted, options)


def train_job(study: str, options: Options, mapper: Mapper = dask_mapper) -> JSON:
    """Train the encoders of a study."""
    config = load_study(study)
    with _bench(options, mapper) as bench, _corpus(config, bench, options) as manifest:
        cast = cast_study(config, manifest) if config.needs_cast else None
        extracted = mended(lambda: train(config, manifest, cast, bench), bench.report)
    encoders = {modality: list(dict.fromkeys(own.encoders)) for modality, own in extracted.trained.items()}
    grids = {modality: points_of(own.grids) for modality, own in extracted.trained.items() if own.grids}
    return _features(extracted, options) | {"encoders": encoders, "grids": grids}


def study_job(study: str, options: Options, mapper: Mapper = dask_mapper) -> JSON:
    """Extract what is missing, then train and score every head of a study."""
    config = load_study(study)
    check_study(config, Root(options.root))  # what cannot be is told now, not after hours of extraction
    with _bench(options, mapper) as bench, _corpus(config, bench, options) as manifest:
        cast = cast_study(config, manifest)
        check_folds(config, cast)

        def work() -> tuple[Extracted, StudyRun]:
            extracted = extract(config, manifest, cast, bench)
            return extracted, run_study(config, extracted, cast, bench)

        extracted, outcome = mended(work, bench.report)
    runs = {"cached": outcome.runs.cached, "trained": outcome.runs.trained}
    told = _features(extracted, options)
    if not options.quiet:
        console.print(f"Test parts opened in this study: {opened(outcome.openings)}", highlight=False)
        show_robustness(outcome.robustness)
    robustness = {} if outcome.robustness is None else {"robustness": asdict(outcome.robustness)}
    return told | {"study": outcome.study, "runs": runs, **robustness, "test_openings": outcome.openings.as_dict()}


def report_job(study: str, options: Options) -> JSON:
    """Write the report of a study that has run."""
    root = Root(options.root)
    started = time.monotonic()
    latest = latest_of(study, root)
    ask_report(latest, root)
    paths = write_report(root, latest.study, latest.runs, latest.report, name=latest.name, pdf=options.pdf)
    if not options.quiet:
        show_scores(paths.content.name, paths.content)
        console.print(f"Report: {paths.index}", highlight=False, style="bold")
    return {"report": paths.index, "results": paths.results, "seconds": round(time.monotonic() - started, 2)}


def run_job(study: str, options: Options, mapper: Mapper = dask_mapper) -> JSON:
    """Do the whole way: manifest, features, encoders, heads, report."""
    started = time.monotonic()
    outcome = study_job(study, options, mapper)
    reported = report_job(study, options)
    return {**outcome, **reported, "seconds": round(time.monotonic() - started, 2)}


@contextmanager
def _corpus(config: StudyConfig, bench: Workbench, options: Options) -> Iterator[Manifest]:
    """Yield the manifest; what is learned of its files meanwhile is remembered for the next run."""
    work = f"corpus {config.name}"
    bench.report.start(work, 1, "manifest")
    manifest = make_manifest(config, bench.root)
    bench.report.advance(work)
    bench.report.finish(work)
    if options.rehash:
        forget()
    else:
        load_digests(bench.root, manifest.name)
    try:
        yield manifest
    finally:
        with suppress(RootError):  # a memory only saves a reading; what ended the run is told instead
            save_digests(bench.root, manifest.name, manifest.media())


@contextmanager
def _bench(options: Options, mapper: Mapper) -> Iterator[Workbench]:
    share = max(1, decode_threads() // (options.workers or 1))  # the processes share the cores
    runtime = Runtime(
        device=options.device,
        batch_size=options.batch_size,
        decode_workers=share if options.decode_workers is None else options.decode_workers,
        time_limit=options.time_limit,
    )
    if options.reason and not options.retry_quarantined:
        raise ConfigError("--reason says which failures to try again: give --retry-quarantined too")
    if unknown := [reason for reason in options.reason if reason not in REASONS]:
        hint = nearest(unknown[0], list(REASONS))
        raise ConfigError(f"unknown reason {unknown[0]!r}{hint}; there are: {', '.join(REASONS)}")
    retry = frozenset(options.reason or REASONS) if options.retry_quarantined else frozenset()
    root = Root(options.root)
    spread = options.dask is not None or options.workers is not None
    with progress(quiet=options.quiet) as report, mapper(options, report) if spread else nullcontext() as map_blocks:
        yield Workbench(root=root, runtime=runtime, report=report, map_blocks=map_blocks, retry=retry)


def _features(extracted: Extracted, options: Options) -> JSON:
    if not options.quiet:
        show_books(extracted.features)
        show_receipts(extracted.features)
    return {"features": {name: feature.as_json() for name, feature in extracted.features.items()}}
