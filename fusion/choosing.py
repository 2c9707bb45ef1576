"""The settings runs are trained with: the study's side of a search, which sees one repeat's development only."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, cast

from torch import Tensor

from fusion.development import Development, develop
from fusion.heads._head import FusionHead, HeadConfig
from fusion.plans import HeadPlan
from fusion.search import Search, Subject, Trial, best_of, run_trials, search_seed
from fusion.spaces import with_settings
from fusion.splits import Split
from fusion.stack import member_seed
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock
from stores.identity import canonical_json, short_id
from stores.progress import Progress
from stores.settings import build
from stores.studies import RunSpec, StudyStore

_WORK = "search"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One search to do: whom for, and in which repeat."""

    id: str
    search: Search
    subject: Subject
    split: Split


@dataclass(frozen=True)
class Chooser:
    """Finds the settings runs are trained with. Every trial is logged, so none is trained twice."""

    block: FeatureBlock
    values: Mapping[str, Tensor]
    splits: Sequence[Split]
    store: StudyStore
    seed: int
    report: Progress
    developments: dict[tuple[int, int | None], Development] = field(default_factory=dict)

    @contextmanager
    def announced(self, work: Iterable[tuple[HeadPlan, RunSpec, Split]]) -> Iterator[None]:
        """Tell of the trials these runs wait for, while they are made."""
        tasks = {task.id: task for item in work for task in self._tasks(*item)}
        total = sum(task.search.trials - len(self.known[task.id]) for task in tasks.values())
        if total:
            self.report.start(_WORK, total, "trials")
        yield
        if total:
            self.report.finish(_WORK)

    def settings(self, plan: HeadPlan, spec: RunSpec, split: Split) -> tuple[HeadConfig, TrainingConfig]:
        """Return what a run is trained with: what the plan says, or what its search chooses."""
        for task in self._tasks(plan, spec, split):
            return with_settings(best_of(self._trials(task)).settings, task.subject.config, task.subject.training)
        return plan.settings, plan.training

    def noted(self, plan: HeadPlan, runs: Sequence[tuple[RunSpec, Split]]) -> set[str]:
        """Return the parts of the log that hold the trials the settings of runs were chosen by."""
        searched = {task.id for run in runs for task in self._tasks(plan, *run)}
        log = self.store.log_parts("trials") if searched else {}
        return {path for path, part in log.items() if not searched.isdisjoint(part["search_id"].to_pylist())}

    def _tasks(self, plan: HeadPlan, spec: RunSpec, split: Split) -> list[Task]:
        """Return the search a run waits for, if there is one."""
        search = plan.searched
        if search is None:
            return []
        where = split if search.scope == "repeat" else min(self.splits, key=lambda own: own.repeat)
        subject = Subject(
            head=cast(type[FusionHead], plan.type),
            config=plan.settings,
            training=plan.training,
            modalities=spec.modalities,
        )
        identity = {
            "study": spec.study,
            "version": spec.version,
            "config": asdict(subject.config),
            "training": asdict(subject.training),
            "modalities": subject.modalities,
            "search": search,
            "repeat": where.repeat,
            "seed": self.seed,
        }
        return [Task(id=short_id(f"search-{plan.head}", identity), search=search, subject=subject, split=where)]

    @cached_property
    def known(self) -> Mapping[str, list[Trial]]:
        """The trials that are logged, by search; of a number that was tried twice, the better one."""
        found: dict[str, dict[int, Trial]] = defaultdict(dict)
        for row in sorted(self.store.log("trials").to_pylist(), key=lambda row: (row["value"], row["settings"])):
            own = Trial(
                number=row["trial"],
                settings=json.loads(row["settings"]),
                value=row["value"],
                seconds=row["seconds"],
            )
            found[row["search_id"]].setdefault(own.number, own)
        return defaultdict(list, {search: list(own.values()) for search, own in found.items()})

    def _trials(self, task: Task) -> list[Trial]:
        """Return all trials of a search, those that were missing trained and logged; it sees its development only."""
        trials = self.known[task.id]
        if len(trials) < task.search.trials:
            development = self._development(task)
            seed = search_seed(task.id, self.seed)
            for made in run_trials(task.search, task.subject, development, tuple(trials), seed):
                self._log(task, made)
                trials += made
                self.report.advance(_WORK, len(made))
        return trials

    def _development(self, task: Task) -> Development:
        key = task.split.repeat, task.search.folds
        if key not in self.developments:
            own = develop(self.block, self.values, task.split, member_seed(self.seed, task.split.repeat))
            self.developments[key] = own if task.search.folds is None else own.in_folds(task.search.folds)
        return self.developments[key]

    def _log(self, task: Task, trials: Sequence[Trial]) -> None:
        rows = [
            {
                "search_id": task.id,
                "head": task.id.split("-")[1],
                "modalities": "+".join(task.subject.modalities),
                "repeat": task.split.repeat,
                "trial": trial.number,
                "settings": canonical_json(trial.settings),
                "value": trial.value,
                "seconds": trial.seconds,
            }
            for trial in trials
        ]
        self.store.append("trials", rows)


def hyper_of(store: StudyStore) -> dict[str, Mapping[str, Any]]:
    """Return the settings each finished run was trained with, by run id."""
    runs = store.runs()
    if runs is None:
        return {}
    return {row["run_id"]: json.loads(row["hyper"] or "{}") for row in runs.select(["run_id", "hyper"]).to_pylist()}


def settings_of(plan: HeadPlan, hyper: Mapping[str, Any]) -> tuple[HeadConfig, TrainingConfig]:
    """Return a run's own config and training: `hyper` is what it was trained with, or empty if the plan says so."""
    config, training = with_settings(hyper, plan.settings, plan.training)
    typed = build(type(config), asdict(config), where=f"heads.{plan.head}")  # JSON has no tuples
    return typed, build(TrainingConfig, asdict(training), where="training")
