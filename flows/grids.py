"""Several settings of one encoder, as a study writes them: each makes an encoder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from extractors.trainable import Trainable
from extractors.training import TrainConfig
from stores.errors import ConfigError
from stores.plugins import nearest
from stores.settings import build

if TYPE_CHECKING:
    from flows.feature_plan import FeaturePlan

PAPER = "paper"
_FIXED = ("balance", "numerics", "seed", "stop_share")  # they change what the losses are compared on, or only by chance
_TRAINING = tuple(f.name for f in fields(TrainConfig) if f.name not in _FIXED)


def expand(plan: FeaturePlan, grid: Any, where: str, *, per_repeat: bool) -> tuple[FeaturePlan, ...]:
    """Return one plan for each combination of the grid's values: `paper`, or {setting: values}.

    Raises ConfigError; also if rows of different repeats could be of different width.
    """
    axes = _axes(plan, grid, where)
    own = [name for name in axes if name not in _TRAINING]
    if own and per_repeat:
        raise ConfigError(
            f"[{where}] grid over {', '.join(own)}: each repeat chooses its own, and their rows would not be alike; "
            f"with encoders per repeat a grid may only hold settings of the training: {', '.join(_TRAINING)}"
        )
    return tuple(_varied(plan, dict(zip(axes, values, strict=True)), where) for values in product(*axes.values()))


def in_words(tried: Mapping[str, Any]) -> str:
    """Return `hidden = 128, learning_rate = 0.001`."""
    return ", ".join(f"{name} = {value}" for name, value in tried.items())


def _axes(plan: FeaturePlan, grid: Any, where: str) -> Mapping[str, Sequence[Any]]:
    assert issubclass(plan.extractor, Trainable)
    if grid == PAPER:
        return plan.extractor.paper_grid
    if not isinstance(grid, Mapping) or not grid:
        raise ConfigError(f"[{where}] grid should be {PAPER!r} or lists of values by setting, got {grid!r}")
    known = [*_TRAINING, *(f.name for f in fields(plan.config) if f.name not in _FIXED)]
    for name, values in grid.items():
        if name not in known:
            hint = nearest(name, known)
            raise ConfigError(f"[{where}] grid has no setting {name!r}{hint}; it may have: {', '.join(known)}")
        if not isinstance(values, list) or not values:
            raise ConfigError(f"[{where}] grid.{name} should be a list of values, got {values!r}")
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise ConfigError(f"[{where}] grid.{name} has {twice[0]!r} twice: each value makes one encoder")
    return grid


def _varied(plan: FeaturePlan, tried: Mapping[str, Any], where: str) -> FeaturePlan:
    training = {name: value for name, value in tried.items() if name in _TRAINING}
    own = {name: value for name, value in tried.items() if name not in _TRAINING}
    config: Any = build(type(plan.config), {**asdict(plan.config), **own}, where=where)
    if not plan.extractor.needs_encoder(config):
        raise ConfigError(f"[{where}] grid: with {own} {plan.name} reads given weights, there is nothing to train")
    train = build(TrainConfig, {**asdict(plan.train), **training}, where=where)  # type: ignore[arg-type]
    return replace(plan, config=config, train=train, tried=tried)
