"""Which encoders a study means: whom each is trained on, with which settings, and of a grid which one is used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from extractors.extractor import Extractor, Inputs
from extractors.trainable import Trainable
from extractors.training import plan_recipe, recipe_config
from flows.candidates import ENCODER, Cast
from flows.feature_plan import PER_REPEAT, FeaturePlan
from flows.study_config import StudyConfig
from stores.encoders import EncoderRecipe, EncoderStore
from stores.errors import ConfigError
from stores.features import FeatureStore
from stores.manifest import Manifest
from stores.root import Root
from stores.samples import Sample


class GridNotTrained(ConfigError):
    """A grid some of whose encoders are not there, so that none can be chosen."""


@dataclass(frozen=True, kw_only=True)
class EncoderPlan:
    """One encoder: the plan it is trained by, which may be one of a grid, and its recipe."""

    plan: FeaturePlan
    recipe: EncoderRecipe

    @cached_property
    def id(self) -> str:
        return self.recipe.id


Alternatives = tuple[EncoderPlan, ...]


@dataclass(frozen=True, kw_only=True)
class GridPoint:
    """One encoder of a grid: its settings, and the loss and accuracy of its best epoch on its held-back groups."""

    encoder: str
    settings: Mapping[str, Any]
    val_loss: float
    val_accuracy: float
    best_epoch: int
    chosen: bool


Grids = tuple[Sequence[GridPoint], ...]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The encoders of a modality, one or one a repeat, and the plan of their rows, which has no grid any more.

    `grids` says what became of each encoder that was tried, once, or in each repeat.
    """

    plan: FeaturePlan
    encoders: tuple[str, ...]
    grids: Grids = ()


def extractor_of(
    plan: FeaturePlan, root: Root, *, upstream: FeatureStore | None = None, encoder: str | None = None
) -> Extractor[Any]:
    """Return the extractor a plan names; no model is loaded. `upstream` may be other than the store of its rows."""
    upstream = upstream or upstream_store(plan, root)
    inputs = Inputs(root=root, numerics=plan.numerics, upstream=upstream, encoder=encoder, view=plan.view)
    return plan.extractor(plan.config, inputs)


def upstream_store(plan: FeaturePlan, root: Root) -> FeatureStore | None:
    """Return the store of the feature a plan reads, whether or not it holds rows yet; None if it reads media."""
    return FeatureStore(root, extractor_of(plan.upstream, root).identity) if plan.upstream else None


def plan_all(
    config: StudyConfig, manifest: Manifest, cast: Cast | None, root: Root
) -> dict[str, Sequence[Alternatives]]:
    """Return the encoders of a study by modality, once or in each repeat. What they read must have its rows."""
    return {
        modality: plan_encoders(plan, config, manifest, cast, root)
        for modality, plan in config.features.items()
        if plan.train is not None
    }


def plan_encoders(
    plan: FeaturePlan,
    config: StudyConfig,
    manifest: Manifest,
    cast: Cast | None,
    root: Root,
    upstream: FeatureStore | None = None,
) -> list[Alternatives]:
    """Return what is tried, once or in each repeat: one encoder, or those of the plan's grid. Nothing is trained.

    Raises ConfigError if an encoder cannot be planned.
    """
    first, *others = plan.grid or (plan,)
    upstream = upstream or upstream_store(plan, root)
    own = [_own_part(other, root, upstream) for other in others]
    found = []
    for samples in _trainees(plan, manifest, cast):
        assert first.train is not None
        recipe = plan_recipe(
            first.extractor,
            first.config,
            first.train,
            samples,
            scheme=config.study.scheme,
            classes=manifest.labels[config.study.scheme],
            groups=config.study.groups,
            upstream=upstream,
            views=first.encoder_views,
        )
        recipes = [recipe, *(replace(recipe, config=part, initial=start) for part, start in own)]
        tried = zip((first, *others), recipes, strict=True)
        found.append(tuple(EncoderPlan(plan=one, recipe=recipe) for one, recipe in tried))
    return found


def chosen(alternatives: Alternatives, root: Root) -> EncoderPlan:
    """Return the encoder that is used: the only one, or the best of a grid. Raises GridNotTrained unless all are there.

    An encoder whose training diverged is never there: a grid with one in it cannot be told from an unfinished one.
    """
    missing = [own.id for own in alternatives if own.id not in EncoderStore(root)]
    if len(alternatives) > 1 and missing:
        raise GridNotTrained(
            f"[features.{alternatives[0].plan.modality}.train] {len(missing)} of {len(alternatives)} encoders of the "
            "grid are not trained, so none can be chosen: run `affuse train`, and take out settings that diverge"
        )
    return best(alternatives, root)


def best(alternatives: Alternatives, root: Root) -> EncoderPlan:
    """Return the only encoder, or of those of a grid that are there the one with the lowest loss on its own groups."""
    if len(alternatives) == 1:
        return alternatives[0]
    used = next(point.encoder for point in grid_points(alternatives, root) if point.chosen)
    return next(own for own in alternatives if own.id == used)


def grid_points(alternatives: Alternatives, root: Root) -> list[GridPoint]:
    """Return what became of the encoders of a grid, in its order; those that diverged left nothing to tell."""
    encoders = EncoderStore(root)
    trained = [own for own in alternatives if own.id in encoders]
    epochs = [encoders.curves(own.id)[encoders.describe(own.id)["best_epoch"] - 1] for own in trained]
    winner = min(range(len(epochs)), key=lambda i: epochs[i].val_loss)  # of equals the first
    return [
        GridPoint(
            encoder=own.id,
            settings=own.plan.tried,
            val_loss=epoch.val_loss,
            val_accuracy=epoch.val_accuracy,
            best_epoch=epoch.epoch,
            chosen=i == winner,
        )
        for i, (own, epoch) in enumerate(zip(trained, epochs, strict=True))
    ]


def points_of(grids: Grids) -> list[list[dict[str, Any]]]:
    """Return grids as JSON, for `study.json` and for who asked."""
    return [[asdict(point) for point in grid] for grid in grids]


def _own_part(plan: FeaturePlan, root: Root, upstream: FeatureStore | None) -> tuple[Mapping[str, Any], str | None]:
    """Return settings and start of a plan's recipe: all plans of a grid share the rest."""
    extractor = extractor_of(plan, root, upstream=upstream)
    assert isinstance(extractor, Trainable)
    assert plan.train is not None
    return recipe_config(extractor, plan.train, plan.encoder_views), extractor.given_digest()


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
