"""The stages of a study as plain functions; the command line and the Prefect flows call these and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from flows.candidates import Cast, choose
from flows.encoder_plans import Trained, extractor_of, plan_all
from flows.facts import promise_splits
from flows.feature_plan import in_words
from flows.features import Feature, Workbench, demand_most, extract_frozen, extract_trained, train_encoders
from flows.snapshot import take_snapshot
from flows.study_config import StudyConfig
from flows.views import with_upstream_views, with_views
from fusion.balance import check_views
from fusion.development import deal_whole
from fusion.heads._head import FusionHead, Head
from fusion.latency import measure_latency
from fusion.plans import HeadPlan, check_plans, subsets
from fusion.robustness import RobustnessBooks, run_robustness
from fusion.stack import member_seed
from fusion.study import RunBooks, study_of
from reports.comparisons import choose_reference
from reports.config import ReportConfig
from reports.evidence import Model
from stores.errors import ConfigError, DamagedError, NotFound, RowsDamaged
from stores.identity import canonical
from stores.inventory import latest_path, losses, put_latest, take_stock
from stores.manifest import Manifest
from stores.openings import Openings, count_openings
from stores.plans import RUN, note_plan
from stores.plugins import find_plugin, nearest
from stores.progress import Progress
from stores.root import Root
from stores.settings import build
from stores.studies import StudyStore

Done = TypeVar("Done")
_MENDINGS = 4  # each finds all that is damaged in what it reads; what is derived in turn is read by the next


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """A corpus with its features; `features` is keyed by modality, and `acoustic` for frames."""

    manifest: Manifest
    features: Mapping[str, Feature]
    trained: Mapping[str, Trained]


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """A study whose heads have all run; `openings` are those of all its test parts, ever.

    `robustness` is None unless the study asks for it.
    """

    study: str
    runs: RunBooks
    robustness: RobustnessBooks | None
    openings: Openings


@dataclass(frozen=True, kw_only=True)
class Latest:
    """The study and the runs that a study's name means, and the report that is asked for.

    `origin` is that of the study file that ran; those of earlier versions are not known.
    """

    name: str
    study: str
    runs: tuple[str, ...]
    report: ReportConfig
    origin: Mapping[str, str]


def mended(work: Callable[[], Done], report: Progress) -> Done:
    """Do the work again from where it got to, as often as it finds damaged rows that count as missing from then on.

    Raises RowsDamaged if there is no end of them: then something is wrong with the disk.
    """
    for _ in range(_MENDINGS):
        try:
            return work()
        except RowsDamaged as error:
            report.note(f"{error}: made again now")
    return work()


def make_manifest(config: StudyConfig, root: Root) -> Manifest:
    """Build the manifest from the corpus on disk and save it."""
    manifest = config.corpus.build(root, base=config.base)
    manifest.save(root)
    return manifest


def cast_study(config: StudyConfig, manifest: Manifest) -> Cast:
    """Return who takes part and in which part of which repeat. Raises ConfigError if that cannot be."""
    candidates = choose(manifest, config)
    return Cast(candidates=candidates, splits=tuple(candidates.splits(config)))


def check_folds(config: StudyConfig, cast: Cast) -> None:
    """Raise SplitError if the development samples of a repeat cannot be dealt into the folds of the study's search."""
    search, who = config.search, cast.candidates
    if search is None or search.on != "k-fold":
        return
    for split in cast.splits if search.scope == "repeat" else cast.splits[:1]:
        own = np.sort(np.concatenate([split.train, split.val]))
        seed = member_seed(config.seed, split.repeat)
        deal_whole(who.labels[own], who.groups[own], who.classes, search.folds, seed)


def train(config: StudyConfig, manifest: Manifest, cast: Cast | None, bench: Workbench) -> Extracted:
    """Extract the frozen features and train the encoders; their own features are not extracted yet.

    `cast` may be None unless the study needs one; its splits are written down before anything else.
    """
    if cast is not None:
        promise_splits(config.name, cast, bench.root)
    frozen = extract_frozen(config, manifest, bench)
    demand_most(frozen)
    frozen = with_views(frozen, cast, bench)
    planned = plan_all(config, manifest, cast, bench.root)
    frozen = with_upstream_views(frozen, config, manifest, planned, cast, bench)
    return Extracted(manifest=manifest, features=frozen, trained=train_encoders(planned, manifest, bench))


def extract(config: StudyConfig, manifest: Manifest, cast: Cast | None, bench: Workbench) -> Extracted:
    """Extract every feature of the study, training the encoders that are not trained yet."""
    ready = train(config, manifest, cast, bench)
    more = extract_trained(config, manifest, cast, ready.trained, bench)
    demand_most(more)
    return replace(ready, features={**ready.features, **with_views(more, cast, bench)})


def run_study(config: StudyConfig, extracted: Extracted, cast: Cast, bench: Workbench) -> StudyRun:
    """Train and score every head that has not run yet on this snapshot, and note what the study's name means now.

    Then, with all results in place, time the models and, if the study asks for it, score them under disturbances.
    """
    snapshot = take_snapshot(config, extracted.manifest, cast, extracted.features, bench.root)
    study = study_of(
        snapshot.block,
        snapshot.splits,
        head_plans(config),
        snapshot.store,
        seed=config.seed,
        device=bench.runtime.device,
        report=bench.report,
    )
    for path, why in losses(snapshot.store, config.name).items():
        bench.report.note(f"{path}: {why}; what runs can make again is made again")
    specs = [spec for _, own in study.planned for spec, _ in own]
    models = {s.id: Model(name=s.model, head=s.head, modalities=s.modalities, variant=s.variant) for s in specs}
    ask(snapshot.store, config.name, config.report, config.origin, RUN, models)
    runs = study.run()
    latest = {"runs": list(runs.run_ids), "report": canonical(config.report), **config.origin}
    put_latest(bench.root, config.name, snapshot.store, latest)
    measure_latency(study)
    robustness = None if config.robustness is None else run_robustness(study, config.robustness)
    take_stock(snapshot.store, config.name)
    openings = count_openings(snapshot.store)
    return StudyRun(study=snapshot.store.id, runs=runs, robustness=robustness, openings=openings)


def ask(
    store: StudyStore, name: str, report: ReportConfig, origin: Mapping[str, str], kind: str, of: Mapping[str, Model]
) -> list[str]:
    """Note what is asked of a study before it is answered, the models `of` its runs; return where, if it is new."""
    return note_plan(
        store,
        models={run: model.name for run, model in of.items()},
        name=name,
        file=origin.get("text", ""),
        kind=kind,
        reference=choose_reference([*of.values()], report.reference).name,
        by_default=report.reference is None,
        primary_metric=report.primary_metric,
    )


def check_study(config: StudyConfig, root: Root) -> None:
    """Raise ConfigError before any work is done: for a head or a reference that cannot be, or an unreadable feature."""
    viewed = {m for m, plan in config.features.items() if plan.head_views}
    plans = head_plans(config)
    names, wanted = [plan.model(subset) for plan in plans for subset in plan.subsets], config.report.reference
    if wanted is not None and wanted not in names:
        raise ConfigError(
            f"[report] reference {wanted!r} will not be run{nearest(wanted, names)}; there are: {', '.join(names)}"
        )
    for plan in plans:
        for subset in plan.subsets if plan.training.balance == "views" and not plan.combines else ():
            check_views(subset, viewed)
    for modality, feature in config.features.items():
        for own in feature.grid or (feature,):
            if (layout := extractor_of(own, root).spec().layout) != "vector":
                with_these = f" with {in_words(own.tried)}" if own.tried else ""
                raise ConfigError(
                    f"[features.{modality}] {feature.name} rows{with_these} are {layout}; "
                    "heads read one vector a sample"
                )


def head_plans(config: StudyConfig) -> list[HeadPlan]:
    """Return what is to run: each head on its subsets of modalities. Raises ConfigError."""
    plans = []
    for name, table in config.heads.items():
        chosen = table.subsets or subsets(config.modalities, name)
        if not chosen:
            raise ConfigError(
                f"[heads.{name}] needs more modalities, or others, than the study has: {', '.join(config.modalities)}"
            )
        trained = issubclass(find_plugin("fusion.heads", name, Head), FusionHead)
        plans += [
            HeadPlan(
                head=name,
                config=table.config,
                subsets=chosen,
                training=training,
                variant=variant,
                search=config.search_of(name, variant) if trained or table.space else None,
            )
            for variant, training in {"": config.training, **config.variants}.items()
        ]
        if stray := sorted(set(plans[-1].settings.named) - set(config.modalities)):
            raise ConfigError(
                f"[heads.{name}] names {stray[0]!r}, which is no modality of the study"
                f"{nearest(stray[0], list(config.modalities))}; there are: {', '.join(config.modalities)}"
            )
    check_plans(plans)
    return plans


def latest_runs(config: StudyConfig, root: Root) -> Latest:
    """Return what a study's name means now, with the report its file asks for.

    Raises NotFound if it has not run, or if the name means the study of another file or of another corpus.
    """
    latest, own = latest_named(config.name, root), config.origin
    if own and latest.origin and latest.origin["file"] != own["file"]:
        raise NotFound(
            f"{latest_path(config.name)} is of another study file ({latest.origin['file']}), not of {own['file']}: "
            "give the study a `name` of its own, or run it again (what is stored is used again); "
            f"`affuse report {config.name}` reports the other"
        )
    if own and latest.origin and latest.origin["corpus"] != own["corpus"]:
        raise NotFound(f"the [corpus] of {own['file']} is another than when study {config.name!r} ran: run it again")
    return replace(latest, report=config.report, origin={**latest.origin, **own})


def latest_named(name: str, root: Root) -> Latest:
    """Return what a study's name means now, with the report its file asked for when it ran.

    Raises NotFound if it has not run.
    """
    if not root.exists(latest_path(name)):
        raise NotFound(f"study {name!r} has not run under {root.address}: run `affuse run` or `affuse study` first")
    try:
        latest = root.read_json(latest_path(name))
    except DamagedError as error:
        raise DamagedError(f"{error}: `affuse study` writes it anew") from None
    return Latest(
        name=name,
        study=StudyStore.open(root, latest["study"]).id,
        runs=tuple(latest["runs"]),
        report=build(ReportConfig, latest.get("report", {}), where="report"),
        origin={key: latest[key] for key in ("file", "text", "corpus") if key in latest},
    )
