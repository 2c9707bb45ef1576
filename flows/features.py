"""The expensive half of a study: extract features, training the encoders they need on the way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from extractors.extractor import Extractor, Inputs, Runtime
from extractors.run import MapBlocks, extract
from extractors.training import plan_recipe, train
from flows.candidates import ENCODER, Candidates, Cast
from flows.feature_plan import PER_REPEAT, FeaturePlan
from flows.grids import GridPoint, alternative_of, grid_points
from flows.study_config import StudyConfig
from fusion.splits import Split
from stores.books import Books
from stores.encoders import EncoderRecipe
from stores.errors import ConfigError
from stores.features import FeatureStore
from stores.manifest import Manifest
from stores.progress import Progress
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

    `grids` says what became of each encoder that was tried, once, or in each repeat.
    """

    plan: FeaturePlan
    stores: tuple[FeatureStore, ...]
    encoders: tuple[str, ...]
    books: Books
    weights_note: str
    is_random: bool
    views: tuple["Feature", ...] = ()
    grids: tuple[Sequence[GridPoint], ...] = ()

    def as_json(self) -> dict[str, Any]:
        ids = [store.id for store in self.stores]
        named: dict[str, Any] = {"id": ids[0]} if len(ids) == 1 else {"ids": ids}
        views = {"views": [view.as_json() for view in self.views]} if self.views else {}
        receipt = self.books.receipt
        return {**named, **self.books.as_dict(), "receipt": receipt and receipt.as_json(), **views}


def find_features(
    config: StudyConfig, manifest: Manifest, cast: Cast | None, root: Root
) -> dict[str, tuple[FeatureStore, ...]]:
    """Return the stores a study means, by modality and by upstream name (`acoustic`): one, or one a repeat.

    Nothing is extracted, trained or written: a store may hold no row yet, and its encoder need not be trained. `cast`
    may be None unless encoders are trained per repeat. Raises ConfigError if an encoder cannot be planned, for
    instance because the upstream rows it would be trained on are not there.
    """
    found: dict[str, tuple[FeatureStore, ...]] = {}
    for name, plan in _frozen(config).items():
        found[name] = (FeatureStore(root, extractor_of(plan, root).identity),)
    for modality, plan in _trained(config).items():
        upstream = upstream_store(plan, root)
        recipes = plan_encoders(plan, config, manifest, cast, root, upstream)
        extractors = [extractor_of(plan, root, upstream=upstream, encoder=recipe.id) for recipe in recipes]
        found[modality] = tuple(FeatureStore(root, extractor.identity) for extractor in extractors)
    return found


def extract_frozen(config: StudyConfig, manifest: Manifest, bench: Workbench) -> dict[str, Feature]:
    """Extract every feature that needs no trained encoder, upstream features (`acoustic`) included, by name."""
    return {
        name: extract_feature(plan, [manifest.samples], [extractor_of(plan, bench.root)], bench)
        for name, plan in _frozen(config).items()
    }


def train_encoders(
    config: StudyConfig, manifest: Manifest, cast: Cast | None, bench: Workbench
) -> dict[str, tuple[str, ...]]:
    """Train what is not trained yet; return the encoder ids by modality: one, or one a repeat.

    What an encoder reads must be there: its upstream rows, and their views if it is fitted on some.
    """
    found: dict[str, tuple[str, ...]] = {}
    for modality, plan in _trained(config).items():
        upstream = upstream_store(plan, bench.root)
        for tried in plan.grid or (plan,):
            for recipe in recipes_of(tried, config, manifest, cast, upstream):
                _train(tried, recipe, manifest, bench)
        found[modality] = tuple(r.id for r in plan_encoders(plan, config, manifest, cast, bench.root, upstream))
    return found


def extract_trained(
    config: StudyConfig,
    manifest: Manifest,
    cast: Cast | None,
    encoders: Mapping[str, Sequence[str]],
    bench: Workbench,
) -> dict[str, Feature]:
    """Extract the features of trained encoders. Per-repeat encoders read the samples of their repeat only."""
    found: dict[str, Feature] = {}
    for modality, ids in encoders.items():
        plan = config.features[modality]
        upstream = upstream_store(plan, bench.root)
        extractors = [extractor_of(plan, bench.root, upstream=upstream, encoder=encoder) for encoder in ids]
        feature = extract_feature(plan, read_by(plan, manifest, cast), extractors, bench, encoders=tuple(ids))
        tried = grid_recipes(plan, config, manifest, cast, upstream) if plan.grid else ()
        grids = tuple(grid_points(plan, recipes, bench.root) for recipes in tried)
        found[modality] = replace(feature, grids=grids)
    return found


def extractor_of(
    plan: FeaturePlan, root: Root, *, upstream: FeatureStore | None = None, encoder: str | None = None
) -> Extractor[Any]:
    """Return the extractor a plan names; no model is loaded. Several that share `upstream` read its index once.

    Of a plan with a grid it is the one whose settings `encoder` was trained with.
    """
    plan = alternative_of(plan, encoder, root)
    upstream = upstream or upstream_store(plan, root)
    inputs = Inputs(root=root, numerics=plan.numerics, upstream=upstream, encoder=encoder, view=plan.view)
    return plan.extractor(plan.config, inputs)


def upstream_store(plan: FeaturePlan, root: Root) -> FeatureStore | None:
    """Return the store of the feature a plan reads, whether or not it holds rows yet; None if it reads media."""
    return FeatureStore(root, extractor_of(plan.upstream, root).identity) if plan.upstream else None


def plan_encoders(
    plan: FeaturePlan,
    config: StudyConfig,
    manifest: Manifest,
    cast: Cast | None,
    root: Root,
    upstream: FeatureStore | None,
) -> Iterator[EncoderRecipe]:
    """Yield the recipe of the encoder of a plan, or one a repeat; nothing is trained.

    Of a grid it is the chosen one's. Raises ConfigError if a grid is not trained yet.
    """
    if not plan.grid:
        yield from recipes_of(plan, config, manifest, cast, upstream)
        return
    for recipes in grid_recipes(plan, config, manifest, cast, upstream):
        points = grid_points(plan, recipes, root)
        yield next(recipe for recipe, point in zip(recipes, points, strict=True) if point.chosen)


def grid_recipes(
    plan: FeaturePlan, config: StudyConfig, manifest: Manifest, cast: Cast | None, upstream: FeatureStore | None
) -> Iterator[tuple[EncoderRecipe, ...]]:
    """Yield the recipes of all alternatives of a grid, together, or those of each repeat."""
    alternatives = [recipes_of(other, config, manifest, cast, upstream) for other in plan.grid]
    return zip(*alternatives, strict=True)


def recipes_of(
    plan: FeaturePlan, config: StudyConfig, manifest: Manifest, cast: Cast | None, upstream: FeatureStore | None
) -> Iterator[EncoderRecipe]:
    """Yield the recipe of a plan as it stands, whatever its grid, or one a repeat."""
    assert plan.train is not None
    for samples in _trainees(plan, manifest, cast):
        yield plan_recipe(
            plan.extractor,
            plan.config,
            plan.train,
            samples,
            scheme=config.study.scheme,
            classes=manifest.labels[config.study.scheme],
            groups=config.study.groups,
            upstream=upstream,
            views=plan.encoder_views,
        )


def read_by(plan: FeaturePlan, manifest: Manifest, cast: Cast | None) -> list[Sequence[Sample]]:
    """Return whom each store of a feature holds rows of: every sample, or those of each repeat."""
    if plan.train_on != PER_REPEAT:
        return [manifest.samples]
    assert cast is not None
    return [_members(cast.candidates, split) for split in cast.splits]


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


def _trainees(plan: FeaturePlan, manifest: Manifest, cast: Cast | None) -> Iterator[list[Sample]]:
    if plan.train_on == PER_REPEAT:
        assert cast is not None
        yield from ([cast.candidates.samples[i] for i in split.encoder] for split in cast.splits)
        return
    reserved = [sample for sample in manifest.samples if sample.split == ENCODER]
    if not reserved:
        raise ConfigError(
            f'[features.{plan.modality}.train] samples = "reserved", but no sample of {manifest.name} has the split '
            f"'encoder': reserve whole groups in the corpus, or set samples = \"per-repeat\""
        )
    yield reserved


def _members(candidates: Candidates, split: Split) -> list[Sample]:
    positions = sorted({int(i) for part in (split.train, split.val, split.test) for i in part})
    return [candidates.samples[i] for i in positions]


def _train(plan: FeaturePlan, recipe: EncoderRecipe, manifest: Manifest, bench: Workbench) -> str:
    views = [plan.of_view(view) for view in plan.encoder_views]
    return train(
        plan.extractor,
        recipe,
        manifest.samples,
        bench.root,
        bench.runtime,
        config=plan.config,
        report=bench.report,
        views=plan.encoder_views,
        view_upstreams=[store for view in views if (store := upstream_store(view, bench.root))],
    )


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
