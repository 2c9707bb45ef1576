"""Which settings a search tries: every point of a grid, or what Optuna's TPE makes of the trials so far."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion.spaces import Choice, Range, Space
from stores.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


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
