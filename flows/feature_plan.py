"""`[features.<modality>]` of a study: an extractor, how its encoder is trained, which augmented views are made.

A grid holds several settings of one encoder: each makes an encoder of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from typing import Any

from extractors.extractor import Extractor, View, extractor_name, find_extractor
from extractors.trainable import Trainable
from extractors.training import TrainConfig
from stores.errors import ConfigError
from stores.plugins import nearest, plugin_names
from stores.samples import MODALITIES
from stores.settings import build, check_keys, table_of
from stores.spec import NUMERICS

RESERVED, PER_REPEAT = "reserved", "per-repeat"
BOTH, ENCODER, HEADS = "both", "encoder", "heads"
MOST_VIEWS = 1000
PAPER = "paper"
_FIXED = ("balance", "numerics", "seed", "stop_share")  # they change what the losses are compared on, or only by chance
_TRAINING = tuple(f.name for f in fields(TrainConfig) if f.name not in _FIXED)


@dataclass(frozen=True, kw_only=True)
class ViewPlan:
    """`[features.<modality>.views]`: `count` augmented views of what is trained on, varied as `settings` say.

    They are `used_by` the encoder, by the heads, or by both as far as there are both.
    """

    settings: Any
    count: int = 1
    used_by: str = BOTH

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_VIEWS:
            raise ConfigError(f"count should be from 1 to {MOST_VIEWS}, got {self.count}")
        if self.used_by not in (BOTH, ENCODER, HEADS):
            raise ConfigError(f"used_by should be one of {BOTH}, {ENCODER}, {HEADS}, got {self.used_by!r}")

    @property
    def numbered(self) -> tuple[View, ...]:
        return tuple(View(settings=self.settings, number=number) for number in range(1, self.count + 1))


@dataclass(frozen=True, kw_only=True)
class FeaturePlan:
    """`[features.<modality>]`: which extractor with which settings, and how its encoder is trained, if it has one.

    `train_on` is `reserved` (samples whose split is `encoder`) or `per-repeat` (a share of every training part).
    `views` are made of what is trained on; the plan of one of them names it as `view`, or its upstream does. `grid`
    holds the plans that are tried instead, if any; what such a plan was given of the grid's values is `tried`.
    """

    modality: str
    extractor: type[Extractor[Any]]
    config: Any
    numerics: str
    upstream: "FeaturePlan | None" = None
    train: TrainConfig | None = None
    train_on: str | None = None
    views: ViewPlan | None = None
    view: View | None = None
    grid: tuple["FeaturePlan", ...] = ()
    tried: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return extractor_name(self.extractor)

    @property
    def encoder_views(self) -> tuple[View, ...]:
        """The views its encoder is fitted on, if it has one."""
        return self._views(ENCODER) if self.train is not None else ()

    @property
    def head_views(self) -> tuple[View, ...]:
        """The views that heads are trained on."""
        return self._views(HEADS)

    def of_view(self, view: View) -> "FeaturePlan":
        """Return the plan of one view: its own media varied, or those its upstream reads."""
        if self.extractor.view_type is not None:
            return replace(self, view=view)
        assert self.upstream is not None
        return replace(self, upstream=replace(self.upstream, view=view))

    def _views(self, user: str) -> tuple[View, ...]:
        used = self.views is not None and self.views.used_by in (BOTH, user)
        return self.views.numbered if self.views is not None and used else ()


def read_feature(modality: str, table: dict[str, Any]) -> FeaturePlan:
    """Return the plan of a `[features.<modality>]` table. Raises ConfigError, NotFound for an unknown extractor."""
    where = f"features.{modality}"
    if modality not in MODALITIES:
        raise ConfigError(f"[{where}] should be named after a modality: {', '.join(MODALITIES)}")
    name = table.pop("extractor", None)
    if not isinstance(name, str):
        names = ", ".join(plugin_names(f"extractors.{modality}"))
        raise ConfigError(f"[{where}] lacks the key 'extractor': one of {names}")
    numerics = table.pop("numerics", "standard")
    if numerics not in NUMERICS:
        raise ConfigError(f"[{where}] numerics should be one of {', '.join(NUMERICS)}, got {numerics!r}")
    extractor = find_extractor(modality, name)
    upstream = table_of(table, "upstream", where=where)
    if "views" in upstream:
        raise ConfigError(f"[{where}.upstream] takes no views: write them to [{where}.views]")
    training = table_of(table, "train", where=where)
    own = {key: value for key, value in table.items() if key not in ("upstream", "train", "views")}
    view_type = _view_type(extractor)
    if "views" in table and view_type is None:
        raise ConfigError(f"[{where}.views] {name} has no views: leave this table out")
    allowed = [f.name for f in fields(extractor.config_type)] + ["extractor", "numerics"]
    allowed += ["upstream"] * bool(extractor.upstream) + ["train"] * extractor.trainable + ["views"] * bool(view_type)
    check_keys(table, allowed, where=where)
    config: Any = build(extractor.config_type, own, where=where)
    trained = extractor.trainable and extractor.needs_encoder(config)
    if training and not trained:
        raise ConfigError(f'[{where}.train] has no effect: these settings read given weights; set weights = "trained"')
    train_on = training.pop("samples", RESERVED) if trained else None
    grid = training.pop("grid", None)
    if train_on not in (RESERVED, PER_REPEAT, None):
        raise ConfigError(f"[{where}.train] samples should be {RESERVED!r} or {PER_REPEAT!r}, got {train_on!r}")
    plan = FeaturePlan(
        modality=modality,
        extractor=extractor,
        config=config,
        numerics=numerics,
        upstream=read_feature(modality, {"extractor": extractor.upstream, **upstream}) if extractor.upstream else None,
        train=build(TrainConfig, training, where=f"{where}.train") if trained else None,
        train_on=train_on,
        views=_views(view_type, table, where, trained=trained) if "views" in table and view_type else None,
    )
    if grid is None:
        return plan
    return replace(plan, grid=expand(plan, grid, f"{where}.train", per_repeat=train_on == PER_REPEAT))


def _view_type(extractor: type[Extractor[Any]]) -> type | None:
    """Return the settings of a feature's views: its own media are varied, or those its upstream reads."""
    if extractor.view_type is None and extractor.upstream is not None:
        return find_extractor(extractor.modality, extractor.upstream).view_type
    return extractor.view_type


def _views(view_type: type, feature: dict[str, Any], above: str, *, trained: bool) -> ViewPlan:
    where, own = f"{above}.views", ("count", "used_by")
    table = table_of(feature, "views", where=above)
    check_keys(table, [*own, *(f.name for f in fields(view_type))], where=where)
    settings: Any = build(view_type, {key: value for key, value in table.items() if key not in own}, where=where)
    plan = build(ViewPlan, {"settings": {}} | {key: table[key] for key in own if key in table}, where=where)
    if plan.used_by == ENCODER and not trained:
        raise ConfigError(f'[{where}] used_by = "encoder", but these settings train none: let the heads use them')
    return replace(plan, settings=settings)


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
