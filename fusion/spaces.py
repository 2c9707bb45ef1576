"""What a search may try: ready-made spaces, and the settings of a training or of a head by name."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from fusion.heads._head import FusionHead, HeadConfig
from fusion.training_config import TrainingConfig
from stores.errors import ConfigError
from stores.plugins import nearest
from stores.settings import build, check_keys

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


SPACES: Mapping[str, Mapping[str, Any]] = {
    # the reference paper's grid for fusion (section 2.2.3); its training is Table 7's otherwise
    "paper": {"learning_rate": (1e-4, 5e-4), "weight_decay": (0.0, 1e-5, 1e-4)},
    "default": {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
        "width": (64, 128, 256),
        "batch_size": (32, 128),
    },
}
_LONGER = "more of it can only lower the lowest validation loss, which is what a search looks for: set it in [training]"
_BALANCED = "it trades validation cross-entropy for rare classes, so that cannot judge it: compare [variants]"
UNSEARCHED: Mapping[str, str] = {
    "epochs": _LONGER,
    "epoch_steps": _LONGER,
    "least_gain": "less of it can only lower the lowest validation loss: set it in [training]",
    "patience": _LONGER,
    "balance": _BALANCED,
    "balance_target": _BALANCED,
    "precision": "it says how numbers are computed, not what is learned: set it in [training]",
}
_TRAINING = tuple(field.name for field in fields(TrainingConfig))
_WHERE = "search.space"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of these values."""

    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Range:
    """Any number from `low` to `high`, both included; integers if both are. `log`: drawn evenly in the logarithm.

    What shapes a head has none: every value of it is tried out before any work is done.
    """

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Choice | Range]


def named_space(space: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of a ready-made space, or a table of settings as it is. Raises ConfigError."""
    if not isinstance(space, str):
        return space
    if space not in SPACES:
        raise ConfigError(
            f"[search] space {space!r} is not ready-made{nearest(space, list(SPACES))}; there are "
            f"{', '.join(SPACES)}, or write a table [search.space]"
        )
    return SPACES[space]


def read_space(
    space: str | Mapping[str, Any], head: type[FusionHead], config: HeadConfig, training: TrainingConfig
) -> Space:
    """Return what may be tried for a head; `config` and `training` are what it is without a search.

    A name is a setting of the training or, if that has none such, of the head; `<head>.<name>` is always the head's.
    Values have the type of the setting and are checked. Raises ConfigError, naming the nearest, for an unknown one.
    """
    own, tried = tuple(asdict(config)), named_space(space)
    module = head.__module__.rpartition(".")[2]
    allowed = [*_TRAINING, *(name for name in own if name not in _TRAINING), *(f"{module}.{name}" for name in own)]
    for name in tried:
        if name in UNSEARCHED:
            raise ConfigError(f"[{_WHERE}] {name} cannot be searched: {UNSEARCHED[name]}")
    check_keys(tried, [name for name in allowed if name not in UNSEARCHED], where=f"{_WHERE} of {module}")
    if twice := [name for name in own if name not in _TRAINING and {name, f"{module}.{name}"} <= set(tried)]:
        raise ConfigError(f"[{_WHERE}] {twice[0]} and {module}.{twice[0]} are the same setting: name it once")
    if not tried:
        raise ConfigError(f"[{_WHERE}] is empty: name what to try, such as learning_rate = [1e-4, 5e-4]")
    return {name: _setting(name, tried[name], _typed(name, config, training)) for name in sorted(tried)}


def all_settings(head: str, config: HeadConfig, training: TrainingConfig) -> dict[str, Any]:
    """Return every setting by name; one of the head that the training has too is named `<head>.<name>`."""
    own = {f"{head}.{name}" if name in _TRAINING else name: value for name, value in asdict(config).items()}
    return {**own, **asdict(training)}


def with_settings(
    settings: Mapping[str, Any], config: HeadConfig, training: TrainingConfig
) -> tuple[HeadConfig, TrainingConfig]:
    """Return a head's config and training with some settings changed, names as in `read_space`."""
    trained = {name: value for name, value in settings.items() if name in _TRAINING}
    own = {name.rpartition(".")[2]: value for name, value in settings.items() if name not in _TRAINING}
    return replace(config, **own), replace(training, **trained)


def shapes(space: Space, config: HeadConfig, training: TrainingConfig) -> Iterator[tuple[HeadConfig, TrainingConfig]]:
    """Yield every combination of what decides whether a head can be built: the lists of its own settings and of widths.

    A range is of a number that shapes nothing.
    """
    shaping = {n: t.values for n, t in space.items() if isinstance(t, Choice) and (n not in _TRAINING or n == "width")}
    for point in itertools.product(*shaping.values()) if shaping else ():
        yield with_settings(dict(zip(shaping, point, strict=True)), config, training)


def _typed(name: str, config: HeadConfig, training: TrainingConfig) -> Callable[[Any], Any]:
    """Return what makes a value of a setting of it, or raises ConfigError."""
    base: HeadConfig | TrainingConfig = training if name in _TRAINING else config
    bare = name.rpartition(".")[2]

    def typed(value: Any) -> Any:
        return getattr(build(type(base), {**asdict(base), bare: value}, where=_WHERE), bare)

    return typed


def _setting(name: str, tried: Any, typed: Callable[[Any], Any]) -> Choice | Range:
    if isinstance(tried, Mapping):
        return _range(name, tried, typed)
    if not isinstance(tried, list | tuple) or not tried:
        raise ConfigError(
            f"[{_WHERE}] {name} should be a list of values, or {{ low, high, log }} for a range, got {tried!r}"
        )
    values = tuple(typed(value) for value in tried)
    if any(not isinstance(value, bool | int | float | str | None) for value in values):
        raise ConfigError(f"[{_WHERE}] {name} should be a list of numbers or words, got {tried!r}")
    if len(set(values)) < len(values):
        raise ConfigError(f"[{_WHERE}] {name} names a value twice: {list(values)}")
    return Choice(values=values)


def _range(name: str, table: Mapping[str, Any], typed: Callable[[Any], Any]) -> Range:
    check_keys(table, ("low", "high", "log"), where=f"{_WHERE}.{name}")
    if missing := [key for key in ("low", "high") if key not in table]:
        raise ConfigError(f"[{_WHERE}.{name}] lacks the key {missing[0]!r}")
    low, high, log = typed(table["low"]), typed(table["high"]), table.get("log", False)
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
        raise ConfigError(f"[{_WHERE}] {name} is not a number and has no range: give a list of values")
    if isinstance(low, int) and (name not in _TRAINING or name == "width"):
        raise ConfigError(f"[{_WHERE}] {name} shapes a head, which cannot take any number: give a list of values")
    if not isinstance(log, bool) or not low < high or (log and low <= 0):
        raise ConfigError(
            f"[{_WHERE}] {name} should have low below high, and above 0 if log = true; got {low}, {high} and log {log}"
        )
    return Range(low=low, high=high, log=log)


def grid_size(space: Space) -> int:
    """Return the number of points of a grid. Raises ConfigError for a range, which has none."""
    for name, tried in space.items():
        if isinstance(tried, Range):
            raise ConfigError(
                f"[search.space] {name} is a range, and a grid needs lists: list its values, or search with "
                'method = "bayes"'
            )
    return math.prod(len(tried.values) for tried in space.values() if isinstance(tried, Choice))


def grid(space: Space) -> list[dict[str, Any]]:
    """Return every point of a grid, the last setting changing fastest."""
    values = [tried.values for tried in space.values() if isinstance(tried, Choice)]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*values)]


def ask(
    space: Space, finished: Sequence[tuple[Mapping[str, Any], float]], count: int, startup: int, seed: int
) -> list[dict[str, Any]]:
    """Return `count` settings to try together, given (settings, value) of what is finished, lower values better.

    The first `startup` trials are drawn at random. The study is built anew from `finished`, with a sampler of its own
    seed, so that a search that is taken up again goes on as one that was never interrupted. The trials that are asked
    for together keep apart (constant liar). Source: Watanabe 2023, arXiv:2304.11127 (multivariate TPE, Optuna).
    """
    import optuna  # only a search needs it, and it is slow to import

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    distributions = {name: _distribution(tried) for name, tried in space.items()}
    for settings, value in finished:
        study.add_trial(optuna.trial.create_trial(params=dict(settings), distributions=distributions, value=value))
    return [study.ask(distributions).params for _ in range(count)]


def _distribution(tried: Choice | Range) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(tried, Choice):
        return CategoricalDistribution(tried.values)
    if isinstance(tried.low, int) and isinstance(tried.high, int):
        return IntDistribution(tried.low, tried.high, log=tried.log)
    return FloatDistribution(tried.low, tried.high, log=tried.log)
