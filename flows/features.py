"""The expensive half of a study: extract features, training the encoders they need on the way."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from extractors.extractor import Extractor, Runtime
from extractors.run import MapBlocks, extract
from extractors.training import Diverged, train
from flows.candidates import Cast
from flows.encoder_plans import (
    Alternatives,
    EncoderPlan,
    Grids,
    Trained,
    best,
    chosen,
    extractor_of,
    grid_points,
    plan_all,
    points_of,
    upstream_store,
)
from flows.feature_plan import PER_REPEAT, FeaturePlan, in_words
from flows.study_config import StudyConfig
from stores.errors import MostFailed
from stores.features import FeatureStore
from stores.manifest import Manifest
from stores.progress import Progress
from stores.receipt import Books
from stores.root import Root
from stores.samples import Sample


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """Where and how a run works: nothing in here is part of an identity."""

    root: Root
    runtime: Runtime
    report: Progress
    map_blocks: MapBlocks | None = None
    retry: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A feature of a study: one store, or one a repeat; the encoders behind them; the books of this run; its views.

    `grids` are those of `Trained`.
    """

    plan: FeaturePlan
    stores: tuple[FeatureStore, ...]
    encoders: tuple[str, ...]
    books: Books
    weights_note: str
    is_random: bool
    views: tuple["Feature", ...] = ()
    grids: Grids = ()

    def as_json(self) -> dict[str, Any]:
        ids = [store.id for store in self.stores]
        named: dict[str, Any] = {"id": ids[0]} if len(ids) == 1 else {"ids": ids}
        views = {"views": [view.as_json() for view in self.views]} if self.views else {}
        grids = {"grids": points_of(self.grids)} if self.grids else {}
        receipt = self.books.receipt
        return {**named, **self.books.as_dict(), "receipt": receipt and receipt.as_json(), **grids, **views}


def find_features(
    config: StudyConfig, manifest: Manifest, cast: Cast | None, root: Root
) -> dict[str, tuple[Extractor[Any], ...]]:
    """Return what makes the features a study means, by modality and upstream name (`acoustic`): one, or one a repeat.

    Nothing is extracted, trained or written: its store may hold no row yet, and its encoder need not be trained.
    `cast` may be None unless encoders are trained per repeat. Raises ConfigError if an encoder cannot be planned, for
    instance because the upstream rows it would be trained on are not there, and GridNotTrained.
    """
    found: dict[str, tuple[Extractor[Any], ...]] = {}
    for name, plan in _frozen(config).items():
        found[name] = (extractor_of(plan, root),)
    for modality, tried in plan_all(config, manifest, cast, root).items():
        used = [chosen(own, root) for own in tried]
        found[modality] = tuple(extractor_of(own.plan, root, encoder=own.id) for own in used)
    return found


def extract_frozen(config: StudyConfig, manifest: Manifest, bench: Workbench) -> dict[str, Feature]:
    """Extract every feature that needs no trained encoder, upstream features (`acoustic`) included, by name."""
    for plan in feature_plans(config).values():
        extractor_of(plan, bench.root).check()  # before anything is extracted
    return {
        name: extract_feature(plan, [manifest.samples], [extractor_of(plan, bench.root)], bench)
        for name, plan in _frozen(config).items()
    }


def extract_trained(
    config: StudyConfig, manifest: Manifest, cast: Cast | None, trained: Mapping[str, Trained], bench: Workbench
) -> dict[str, Feature]:
    """Extract the features of trained encoders. Per-repeat encoders read the samples of their repeat only."""
    found: dict[str, Feature] = {}
    for modality, own in trained.items():
        extractors = [extractor_of(own.plan, bench.root, encoder=name) for name in own.encoders]
        feature = extract_feature(own.plan, read_by(own.plan, manifest, cast), extractors, bench, own.encoders)
        found[modality] = replace(feature, grids=own.grids)
    return found


def demand_most(features: Mapping[str, Feature]) -> None:
    """Raise MostFailed, after all was kept, if most samples of a feature failed for one reason."""
    if told := [f"{name}: {feature.books.failure}" for name, feature in features.items() if feature.books.failure]:
        raise MostFailed(f"{'; '.join(told)}. The rest is kept: mend this, then the same command goes on.")


def read_by(plan: FeaturePlan, manifest: Manifest, cast: Cast | None) -> list[Sequence[Sample]]:
    """Return whom each store of a feature holds rows of: every sample, or those of each repeat."""
    if plan.train_on != PER_REPEAT:
        return [manifest.samples]
    assert cast is not None
    members = [np.unique(np.concatenate([split.train, split.val, split.test])) for split in cast.splits]
    return [[cast.candidates.samples[i] for i in own] for own in members]


def feature_plans(config: StudyConfig) -> dict[str, FeaturePlan]:
    """Return every plan of a study by name: its modalities, and what they read."""
    return _frozen(config) | _trained(config)


def _frozen(config: StudyConfig) -> dict[str, FeaturePlan]:
    """Return the plans that need no trained encoder, by name; what is read comes before what reads it."""
    found = {}
    for modality, plan in config.features.items():
        if plan.upstream is not None:
            found[plan.upstream.name] = plan.upstream
        if plan.train is None:
            found[modality] = plan
    return found


def _trained(config: StudyConfig) -> dict[str, FeaturePlan]:
    return {modality: plan for modality, plan in config.features.items() if plan.train is not None}


def extract_feature(
    plan: FeaturePlan,
    crowds: Sequence[Sequence[Sample]],
    extractors: Sequence[Extractor[Any]],
    bench: Workbench,
    encoders: tuple[str, ...] = (),
) -> Feature:
    """Extract one feature a crowd; the books of several are added up, row by row asked for."""
    books = [
        extract(
            extractor,
            samples,
            bench.root,
            bench.runtime,
            report=bench.report,
            map_blocks=bench.map_blocks,
            retry=bench.retry,
        )
        for extractor, samples in zip(extractors, crowds, strict=True)
    ]
    return Feature(
        plan=plan,
        stores=tuple(FeatureStore.create(bench.root, extractor.identity) for extractor in extractors),
        encoders=encoders,
        books=Books.total(books),
        weights_note=extractors[0].weights_note(),
        is_random=extractors[0].is_random,
    )


def train_encoders(
    planned: Mapping[str, Sequence[Alternatives]], manifest: Manifest, bench: Workbench
) -> dict[str, Trained]:
    """Train what is not trained yet, and choose among the encoders of a grid.

    The views some are fitted on must be there.
    """
    found = {}
    for modality, repeats in planned.items():
        used = [_train_each(tried, manifest, bench) for tried in repeats]
        grids = tuple(grid_points(tried, bench.root) for tried in repeats if tried[0].plan.tried)
        plan = used[0].plan  # repeats choose among settings of the training, which do not show in a row's own
        found[modality] = Trained(plan=plan, encoders=tuple(own.id for own in used), grids=grids)
        for line in _choices(modality, grids):
            bench.report.note(line)
    return found


def _train_each(tried: Alternatives, manifest: Manifest, bench: Workbench) -> EncoderPlan:
    """Train each and return the best. One that diverges is told and left out. Raises Diverged if all do."""
    lost = []
    for own in tried:
        try:
            _train(own, manifest, bench)
        except Diverged as error:
            lost.append(error)
            if len(lost) == len(tried):
                raise
            bench.report.note(f"left out, {in_words(own.plan.tried)}: {error}")
    return best(tried, bench.root)


def _train(own: EncoderPlan, manifest: Manifest, bench: Workbench) -> None:
    plan = own.plan
    views = [plan.of_view(view) for view in plan.encoder_views]
    train(
        plan.extractor,
        own.recipe,
        manifest.samples,
        bench.root,
        bench.runtime,
        config=plan.config,
        report=bench.report,
        views=plan.encoder_views,
        view_upstreams=[store for view in views if (store := upstream_store(view, bench.root))],
    )


def _choices(modality: str, grids: Grids) -> list[str]:
    """Return what a terminal says of the grids of a modality: which settings were chosen, and how often."""
    used = [point for grid in grids for point in grid if point.chosen]
    losses: dict[str, list[float]] = defaultdict(list)
    for point in used:
        losses[in_words(point.settings)].append(point.val_loss)
    return [
        f"{modality}: {words}, chosen"
        + (f" in {len(own)} of {len(used)} repeats" if len(used) > 1 else f" among {len(grids[0])}")
        + f" at a loss of {sum(own) / len(own):.4g} on the encoder's own held-back groups"
        for words, own in losses.items()
    ]
