"""The stages of a study as plain functions; the command line and the Prefect flows call these and nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from flows.candidates import Candidates, choose
from flows.features import Feature, Workbench, extract_frozen, extract_trained, train_encoders
from flows.snapshot import take_snapshot
from flows.study_config import StudyConfig
from fusion.splits import Split
from fusion.study import HeadPlan, RunBooks, run_heads, subsets
from reports.report import ReportPaths, write_report
from stores.errors import ConfigError, NotFound
from stores.manifest import Manifest
from stores.root import Root
from stores.studies import StudyStore


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A study with all its features extracted; `features` is keyed by modality, and `acoustic` for frames."""

    manifest: Manifest
    candidates: Candidates
    splits: tuple[Split, ...]
    features: Mapping[str, Feature]
    encoders: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """A study whose heads have all run."""

    study: str
    runs: RunBooks


def make_manifest(config: StudyConfig, root: Root) -> Manifest:
    """Build the manifest from the corpus on disk and save it."""
    manifest = config.corpus.build(root, base=config.base)
    manifest.save(root)
    return manifest


def prepare(config: StudyConfig, bench: Workbench, *, manifest: Manifest | None = None) -> Prepared:
    """Extract every feature of the study, training the encoders that are not trained yet."""
    trained = train(config, bench, manifest=manifest)
    more = extract_trained(
        config, trained.manifest, trained.candidates, trained.splits, trained.features, trained.encoders, bench
    )
    return Prepared(**{**vars(trained), "features": {**trained.features, **more}})


def train(config: StudyConfig, bench: Workbench, *, manifest: Manifest | None = None) -> Prepared:
    """Extract the frozen features and train the encoders; their own features are not extracted yet."""
    manifest = manifest or make_manifest(config, bench.root)
    candidates = choose(manifest, config)
    splits = tuple(candidates.splits(config))
    frozen = extract_frozen(config, manifest, bench)
    encoders = train_encoders(config, manifest, candidates, splits, frozen, bench)
    return Prepared(manifest=manifest, candidates=candidates, splits=splits, features=frozen, encoders=encoders)


def run_study(config: StudyConfig, prepared: Prepared, bench: Workbench) -> StudyRun:
    """Train and score every head that has not run yet on this snapshot, and note what the study's name means now."""
    snapshot = take_snapshot(
        config, prepared.manifest, prepared.candidates, prepared.splits, prepared.features, bench.root
    )
    runs = run_heads(
        snapshot.block,
        snapshot.splits,
        head_plans(config),
        config.training,
        snapshot.store,
        seed=config.seed,
        device=bench.runtime.device,
        report=bench.report,
    )
    latest = {"study": snapshot.store.id, "runs": list(runs.run_ids)}
    bench.root.put(json.dumps(latest).encode(), "studies", f"{config.name}.latest.json")
    return StudyRun(study=snapshot.store.id, runs=runs)


def head_plans(config: StudyConfig) -> list[HeadPlan]:
    """Return what is to run: each head on its subsets of modalities. Raises ConfigError, before any work is done."""
    plans = []
    for name, table in config.heads.items():
        chosen = table.subsets or subsets(config.modalities, name)
        if not chosen:
            raise ConfigError(
                f"[heads.{name}] needs more modalities than the study has: {', '.join(config.modalities)}"
            )
        plans.append(HeadPlan(head=name, config=table.config, subsets=chosen))
    return plans


def report_latest(config: StudyConfig, root: Root) -> ReportPaths:
    """Write the report of what a study's name means now. Raises NotFound if it has not run."""
    if not root.exists("studies", f"{config.name}.latest.json"):
        raise NotFound(
            f"study {config.name!r} has not run under {root.address}: run `affuse run` or `affuse study` first"
        )
    latest = json.loads(root.read("studies", f"{config.name}.latest.json"))
    return write_report(root, StudyStore.open(root, latest["study"]).id, latest["runs"], config.report)
