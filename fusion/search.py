"""Hyper-parameter search for one head in one repeat: which settings are tried, what each is worth, which is taken.

Everything here sees a `Development` and nothing else of the study: the samples a repeat is tested on, their ids, labels
and groups are out of reach.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np

from fusion.development import Development
from fusion.errors import Diverged, TrainingError
from fusion.heads._head import FusionHead, HeadConfig
from fusion.spaces import Choice, Space, ask, grid, grid_size, read_space, with_settings
from fusion.stack import Member
from fusion.training import in_memory, stacks, train_together
from fusion.training_config import TrainingConfig
from stores.errors import ConfigError
from stores.identity import canonical, canonical_json, fingerprint
from stores.settings import check_choices

VERSION = 1  # of the procedure: raised when other settings would be chosen from the same samples
ROUND = 8  # trials that are asked for together, and drawn at random before the first of them is known
METHODS = ("grid", "bayes")
ON = ("val", "k-fold")
SCOPES = ("repeat", "study")


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """`[search]`: how settings are chosen; every head, subset and variant has the same budget of `trials`.

    `method` is grid (every point of the space) or bayes (TPE, in rounds). A trial is worth its lowest validation loss,
    `on` the validation part of the repeat (val) or as the mean over `folds` of training and validation (k-fold).
    `scope` repeat searches within each repeat anew; study searches in the first repeat for all. `space` is ready-made
    (paper, default) or a table: a list, or a range `{ low, high, log }`, by setting.
    """

    method: str = "grid"
    on: str = "val"
    folds: int = 5
    scope: str = "repeat"
    trials: int = 20
    space: str | Mapping[str, Any] = "paper"

    def __post_init__(self) -> None:
        check_choices(self, method=METHODS, on=ON, scope=SCOPES)
        if self.folds < 2 or self.trials < 1:
            raise ConfigError(f"folds should be 2 or more and trials 1 or more, got {self.folds} and {self.trials}")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whom a search is for: a head on its modalities, with the settings it has without one."""

    head: type[FusionHead]
    config: HeadConfig
    training: TrainingConfig
    modalities: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search as one head does it; all of it is part of the identity of its runs. `folds` is None on val."""

    method: str
    on: str
    folds: int | None
    scope: str
    trials: int
    space: Space
    version: int = VERSION

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return cast(dict[str, Any], canonical(self))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one choice of settings is worth: the lowest validation loss, or the mean of it over folds; inf if none."""

    number: int
    settings: Mapping[str, Any] = field(hash=False)
    value: float
    seconds: float = field(compare=False)


def plan_search(config: SearchConfig, head: type[FusionHead], own: HeadConfig, training: TrainingConfig) -> Search:
    """Return a head's search. Raises ConfigError for a setting it lacks, or a grid beyond the budget.

    A bayesian search of lists with no more points than trials is a grid: it tries every point, and none twice.
    """
    space, method, trials = read_space(config.space, head, own, training), config.method, config.trials
    if all(isinstance(tried, Choice) for tried in space.values()) and grid_size(space) <= trials:
        method = "grid"
    if method == "grid" and (trials := grid_size(space)) > config.trials:
        name = head.__module__.rpartition(".")[2]
        shape = " x ".join(str(len(tried.values)) for tried in space.values() if isinstance(tried, Choice))
        raise ConfigError(
            f"[search] the grid of {name} has {trials} points ({shape}), but trials = {config.trials} for every head: "
            "raise trials, or shorten the lists"
        )
    folds = config.folds if config.on == "k-fold" else None
    return Search(method=method, on=config.on, folds=folds, scope=config.scope, trials=trials, space=space)


def run_trials(
    search: Search, subject: Subject, development: Development, known: Sequence[Trial], seed: int
) -> Iterator[list[Trial]]:
    """Yield the trials that are not `known` yet, each stack of them as soon as it is trained.

    With all that came before as `known`, an interrupted search goes on exactly as if nothing had happened: which
    trials train together depends on their numbers alone. `development` has the folds already. `seed` is the search's.
    """
    done = {trial.number: trial for trial in known}
    for start in range(0, search.trials, search.trials if search.method == "grid" else ROUND):
        before = [done[number] for number in range(start)]
        proposed = _proposed(search, before, seed)
        for stack in _stacks(subject, development, _fresh(proposed, before)):
            if not stack.keys() <= done.keys():
                made = _train(subject, development, stack)
                done |= {trial.number: trial for trial in made}
                yield made
        if twins := _twins(proposed, done):
            done |= {trial.number: trial for trial in twins}
            yield twins


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the lowest value, the first of equals. Raises TrainingError if no loss was finite."""
    best = min(trials, key=lambda trial: (trial.value, trial.number))
    if not math.isfinite(best.value):
        raise TrainingError(
            f"none of the {len(trials)} settings that were searched has a finite loss: search lower learning rates"
        )
    return best


Proposals = Mapping[int, Mapping[str, Any]]  # settings by the number of their trial


def _proposed(search: Search, before: Sequence[Trial], seed: int) -> Proposals:
    if search.method == "grid":
        return dict(enumerate(grid(search.space)))
    start = len(before)
    entropy = int(np.random.SeedSequence([seed, start]).generate_state(1)[0])
    finished = [(trial.settings, trial.value) for trial in before]
    return dict(enumerate(ask(search.space, finished, min(ROUND, search.trials - start), ROUND, entropy), start))


def _fresh(proposed: Proposals, before: Sequence[Trial]) -> Proposals:
    """Return those that were never tried, each once."""
    seen = {canonical_json(trial.settings) for trial in before}
    found = {}
    for number, settings in proposed.items():
        if (name := canonical_json(settings)) not in seen:
            seen.add(name)
            found[number] = settings
    return found


def _twins(proposed: Proposals, done: Mapping[int, Trial]) -> list[Trial]:
    """Return trials of settings that were tried under another number: they are worth the same."""
    values = {canonical_json(trial.settings): trial.value for trial in done.values()}
    return [
        Trial(number=number, settings=settings, value=values[canonical_json(settings)], seconds=0.0)
        for number, settings in proposed.items()
        if number not in done
    ]


def _stacks(subject: Subject, development: Development, proposed: Proposals) -> list[Proposals]:
    """Deal whole trials, of a member a split each, into stacks."""

    def settings(trial: tuple[int, Mapping[str, Any]]) -> tuple[HeadConfig, TrainingConfig]:
        return with_settings(trial[1], subject.config, subject.training)

    kind, members = _kind(subject, development), len(development.splits)
    return [dict(own) for own in stacks(list(proposed.items()), settings, *kind, members=members)]


def _kind(subject: Subject, development: Development) -> tuple[type[FusionHead], dict[str, int], int]:
    widths = {m: development.values[m].shape[1] for m in subject.modalities}
    return subject.head, widths, len(development.block.classes)


def _train(subject: Subject, development: Development, stack: Proposals) -> list[Trial]:
    """Train a stack of trials. If a loss is not finite, each trains alone, and those that diverge are worth nothing.

    Anything else that goes wrong says nothing of the settings, so it is raised and not logged.
    """
    began = time.perf_counter()
    try:
        values = _values(subject, development, list(stack.values()))
    except Diverged:
        if len(stack) > 1:
            return [trial for item in stack.items() for trial in _train(subject, development, dict([item]))]
        values = [math.inf]
    seconds = (time.perf_counter() - began) / len(stack)
    return [
        Trial(number=number, settings=settings, value=value, seconds=seconds)
        for (number, settings), value in zip(stack.items(), values, strict=True)
    ]


def _values(subject: Subject, development: Development, tried: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return for each of the settings the mean over the splits of the lowest validation loss."""
    configs, trainings = zip(*(with_settings(own, subject.config, subject.training) for own in tried), strict=True)
    members = [
        Member(split=split, seed=development.seed, training=own) for own in trainings for split in development.splits
    ]
    train = partial(train_together, subject.head, configs[0], development.block, development.values, subject.modalities)
    losses: list[float] = []
    for fitting in stacks(members, lambda own: (configs[0], own.training), *_kind(subject, development)):
        for _, stack in in_memory(train, fitting):
            losses += [fitted.curves[fitted.best_epoch - 1]["val_loss"] for fitted in stack.fitted]
    return [float(value) for value in np.reshape(losses, (len(tried), -1)).mean(axis=1)]


def search_seed(search_id: str, seed: int) -> int:
    """Return the seed of a search: 32 bits of a hash of its id and the study's seed."""
    return int(fingerprint([search_id, seed])[:8], 16)
