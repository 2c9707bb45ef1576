"""Several settings of one encoder: each is trained under an id of its own, the one that stops best is used.

It is chosen by the loss on the encoder's own held-back groups, which no study validates or tests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from extractors.extractor import settings
from extractors.trainable import Trainable
from extractors.training import TrainConfig
from stores.encoders import EncoderRecipe, EncoderStore
from stores.errors import ConfigError
from stores.plugins import nearest
from stores.root import Root
from stores.settings import build

if TYPE_CHECKING:
    from flows.feature_plan import FeaturePlan

PAPER = "paper"
_FIXED = ("balance", "numerics", "seed", "stop_share")  # they change what the losses are compared on, or only by chance


@dataclass(frozen=True, kw_only=True)
class GridPoint:
    """One encoder of a grid: what it was trained with, and its best loss and accuracy on its held-back groups."""

    encoder: str
    settings: Mapping[str, Any]
    val_loss: float
    val_accuracy: float
    best_epoch: int
    seconds: float
    chosen: bool


def expand(plan: FeaturePlan, grid: Any, where: str, *, per_repeat: bool) -> tuple[FeaturePlan, ...]:
    """Return one plan for each combination of the grid's values: `paper`, or {setting: values}.

    Raises ConfigError; also if rows of different repeats could be of different width.
    """
    axes = _axes(plan, grid, where)
    own = [name for name in axes if name not in _training_names()]
    if own and per_repeat:
        raise ConfigError(
            f"[{where}] grid over {', '.join(own)}: each repeat chooses its own, and their rows would not be alike; "
            f"with encoders per repeat a grid may only hold settings of the training: {', '.join(_training_names())}"
        )
    return tuple(_varied(plan, dict(zip(axes, values, strict=True)), where) for values in product(*axes.values()))


def grid_points(plan: FeaturePlan, recipes: Sequence[EncoderRecipe], root: Root) -> list[GridPoint]:
    """Return what became of each alternative of `plan.grid`, in order. Raises ConfigError if one is not trained yet."""
    encoders = EncoderStore(root)
    if missing := [recipe.id for recipe in recipes if recipe.id not in encoders]:
        raise ConfigError(
            f"[features.{plan.modality}.train] {len(missing)} of {len(recipes)} encoders of the grid are not trained "
            "yet, so none can be chosen: run `affuse train` first"
        )
    curves = [encoders.curves(recipe.id) for recipe in recipes]
    best = [min(curve, key=lambda epoch: epoch.val_loss) for curve in curves]
    winner = min(range(len(best)), key=lambda i: best[i].val_loss)  # of equals the first
    return [
        GridPoint(
            encoder=recipe.id,
            settings=_differing(plan, alternative),
            val_loss=epoch.val_loss,
            val_accuracy=epoch.val_accuracy,
            best_epoch=epoch.epoch,
            seconds=sum(each.seconds for each in curve),
            chosen=i == winner,
        )
        for i, (alternative, recipe, curve, epoch) in enumerate(zip(plan.grid, recipes, curves, best, strict=True))
    ]


def alternative_of(plan: FeaturePlan, encoder: str | None, root: Root) -> FeaturePlan:
    """Return the plan an encoder was trained by: one of the plan's grid, or the plan itself if it has none."""
    if not plan.grid or encoder is None:
        return plan
    recipe = EncoderStore(root).describe(encoder)["recipe"]
    trained = (recipe["config"]["network"], recipe["config"]["training"])
    return next(alternative for alternative in plan.grid if _recipe_settings(alternative) == trained)


def _recipe_settings(plan: FeaturePlan) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    assert plan.train is not None
    return settings(plan.config, plan.extractor.replaced), settings(plan.train, frozenset({"seed"}))


def _axes(plan: FeaturePlan, grid: Any, where: str) -> Mapping[str, Sequence[Any]]:
    assert issubclass(plan.extractor, Trainable)
    if grid == PAPER:
        return plan.extractor.paper_grid
    if not isinstance(grid, Mapping) or not grid:
        raise ConfigError(f"[{where}] grid should be {PAPER!r} or lists of values by setting, got {grid!r}")
    known = [name for name in (*_training_names(), *(f.name for f in fields(plan.config))) if name not in _FIXED]
    for name, values in grid.items():
        if name not in known:
            hint = nearest(name, known)
            raise ConfigError(f"[{where}] grid has no setting {name!r}{hint}; it may have: {', '.join(known)}")
        if not isinstance(values, list) or not values:
            raise ConfigError(f"[{where}] grid.{name} should be a list of values, got {values!r}")
    return grid


def _training_names() -> list[str]:
    return [f.name for f in fields(TrainConfig)]


def _varied(plan: FeaturePlan, changes: Mapping[str, Any], where: str) -> FeaturePlan:
    assert plan.train is not None
    names = _training_names()
    training = {name: value for name, value in changes.items() if name in names}
    own = {name: value for name, value in changes.items() if name not in names}
    config: Any = build(type(plan.config), {**asdict(plan.config), **own}, where=where)
    return replace(plan, config=config, train=build(TrainConfig, {**asdict(plan.train), **training}, where=where))


def _differing(plan: FeaturePlan, alternative: FeaturePlan) -> dict[str, Any]:
    """Return the settings that are not the same all over the grid."""
    own = {**asdict(alternative.config), **asdict(alternative.train)}  # type: ignore[arg-type]
    everyone = [{**asdict(other.config), **asdict(other.train)} for other in plan.grid]  # type: ignore[arg-type]
    return {name: value for name, value in own.items() if any(other[name] != value for other in everyone)}
