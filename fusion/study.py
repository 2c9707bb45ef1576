"""Run every head of a study on every split, and nothing twice: a run that is sealed is not trained again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import cast

import numpy as np
import torch

from fusion.choosing import Chooser, hyper_of, settings_of
from fusion.combining import combine_stored, stored_posteriors
from fusion.errors import NotReproduced, SplitError, TrainingError
from fusion.heads._head import Combiner, FusionHead, HeadConfig
from fusion.inputs import to_device
from fusion.plans import HeadPlan, voter_of
from fusion.spaces import all_settings
from fusion.splits import Split
from fusion.stack import Fitted, Member, Scored, Stack, member_seed
from fusion.training import in_memory, stacks, train_together
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock
from stores.errors import ConfigError
from stores.progress import Progress, Silent
from stores.studies import Predicted, Run, RunSpec, StudyStore

_WORK = "fusion heads"
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # of a posterior, between a run and its repetition


@dataclass(frozen=True, kw_only=True)
class RunBooks:
    """What a call found and did: runs that were sealed before, runs made now, all ids in the order of the plans."""

    cached: int
    trained: int
    run_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to make; `config` and `training` are those it is really trained with."""

    spec: RunSpec
    split: Split
    config: HeadConfig
    training: TrainingConfig


def study_of(
    block: FeatureBlock,
    splits: Sequence[Split],
    plans: Sequence[HeadPlan],
    store: StudyStore,
    *,
    seed: int,
    device: str = "auto",
    report: Progress | None = None,
) -> "Study":
    """Return a study with its features on the device; nothing has run."""
    return Study(
        block=block,
        values=to_device(block, device_of(device)),
        splits=splits,
        plans=plans,
        store=store,
        seed=seed,
        report=report or Silent(),
    )


def device_of(name: str) -> torch.device:
    """Return the device of a name, `auto` being a GPU if there is one. Raises ConfigError if it is not there."""
    gpu = torch.cuda.is_available()
    if name.startswith("cuda") and not gpu:
        raise ConfigError(f"device {name!r} was asked for, but torch finds no GPU: use auto or cpu")
    return torch.device(("cuda" if gpu else "cpu") if name == "auto" else name)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that runs a study: its samples, its plans, where it is stored, and what it runs on."""

    block: FeatureBlock
    values: Mapping[str, torch.Tensor]
    splits: Sequence[Split]
    plans: Sequence[HeadPlan]
    store: StudyStore
    seed: int
    report: Progress

    def __post_init__(self) -> None:
        if not self.splits:
            raise SplitError("a study needs one split or more to run its heads on, got none: make_splits draws them")

    def run(self) -> RunBooks:
        """Train and store every planned run that is not sealed yet; combiners come last and read stored posteriors.

        Each stack of members is sealed when it is finished, so a killed study resumes there. Raises ConfigError for a
        modality the block lacks, or a combiner whose unimodal heads are not planned.
        """
        done, planned = self.store.run_ids(), self.planned
        ids = tuple(dict.fromkeys(spec.id for _, own in planned for spec, _ in own))
        missing = set(ids) - done
        self.report.start(_WORK, len(missing), "runs")
        with self.chooser.announced((plan, *run) for plan, own in planned for run in own if run[0].id in missing):
            for plan, own in sorted(planned, key=lambda item: item[0].combines):
                if todo := [(spec, split) for spec, split in own if spec.id in missing]:
                    (self._combine if plan.combines else self._train)(plan, todo)
                    missing -= {spec.id for spec, _ in todo}
        self.report.finish(_WORK)
        trained = len(set(ids) - done)
        return RunBooks(cached=len(ids) - trained, trained=trained, run_ids=ids)

    @cached_property
    def planned(self) -> list[tuple[HeadPlan, list[tuple[RunSpec, Split]]]]:
        """Every plan on every subset of modalities, with its run in each repeat."""
        return [
            (plan, [(self.spec(plan, subset, split), split) for split in self.splits])
            for plan in self.plans
            for subset in plan.subsets
        ]

    @cached_property
    def chooser(self) -> Chooser:
        """Finds the settings of runs whose plan has a search."""
        return Chooser(self.block, self.values, self.splits, self.store, self.seed, self.report)

    def spec(self, plan: HeadPlan, subset: Sequence[str], split: Split) -> RunSpec:
        """Return the name of a run; that of a combiner also holds what it reads.

        It is known before anything is searched: config and training are the plan's, whatever a search will choose.
        """
        if lacking := sorted(set(subset) - set(self.block.modalities)):
            raise ConfigError(f"{plan.head} is planned on {lacking[0]}; there are: {', '.join(self.block.modalities)}")
        config, search = asdict(plan.settings), plan.searched
        if plan.combines:
            voter = voter_of(self.plans, plan, subset)
            config["reads"] = {
                "head": voter.head,
                "version": voter.type.version,
                "config": asdict(voter.settings),
                "training": asdict(voter.training),
            }
            search = voter.searched
        training = asdict(plan.training)
        return RunSpec(
            study=self.store.id,
            head=plan.head,
            version=plan.type.version,
            config=config,
            modalities=tuple(sorted(subset)),
            repeat=split.repeat,
            precision=training.pop("precision"),
            training=training,
            variant=plan.variant,
            search=None if search is None else search.as_dict(),
        )

    def trained(self, jobs: Sequence[Job], head: type[FusionHead]) -> Iterator[tuple[Sequence[Job], Stack]]:
        """Train jobs of one head and subset, and yield those of each stack with it."""
        widths = {m: self.values[m].shape[1] for m in jobs[0].spec.modalities}
        for own in stacks(jobs, lambda job: (job.config, job.training), head, widths, len(self.block.classes)):
            yield from in_memory(partial(self._stack, head=head), own)

    def _stack(self, jobs: Sequence[Job], head: type[FusionHead]) -> Stack:
        """Train jobs of one head, subset and shape as one stack."""
        members = [
            Member(split=job.split, seed=member_seed(self.seed, job.split.repeat), training=job.training)
            for job in jobs
        ]
        try:
            return train_together(head, jobs[0].config, self.block, self.values, jobs[0].spec.modalities, members)
        except TrainingError as error:
            raise type(error)(f"{jobs[0].spec.model}, {error}") from None

    def _train(self, plan: HeadPlan, todo: Sequence[tuple[RunSpec, Split]]) -> None:
        """Train the missing repeats of one head and subset, and seal each stack as it is finished."""
        head = cast(type[FusionHead], plan.type)
        jobs = []
        for spec, split in todo:
            config, training = self.chooser.settings(plan, spec, split)
            jobs.append(Job(spec=spec, split=split, config=config, training=training))
        for own, stack in self.trained(jobs, head):
            noted = self.store.open_test([job.spec.id for job in own], "score")
            noted += self.chooser.noted(plan, [(job.spec, job.split) for job in own])
            made = zip(own, stack.fitted, stack.predict("test"), strict=True)
            self.store.write_runs([self._run(job, fitted, test) for job, fitted, test in made], noted)
            self.report.advance(_WORK, len(own))

    def _run(self, job: Job, fitted: Fitted, test: Scored) -> Run:
        return Run(
            spec=job.spec,
            seed=member_seed(self.seed, job.split.repeat),
            val=self._predicted(job.split.val, fitted.val),
            test=self._predicted(job.split.test, test),
            best_epoch=fitted.best_epoch,
            unfinished=fitted.unfinished,
            curves=fitted.curves,
            weights=self._weight_rows(job.spec.modalities, fitted.weights),
            seconds=fitted.seconds,
            hyper=all_settings(job.spec.head, job.config, job.training),
            counts={"before": fitted.roster.before.tolist(), "after": fitted.roster.after.tolist()},
        )

    def _weight_rows(
        self, modalities: Sequence[str], weights: np.ndarray | None
    ) -> tuple[tuple[str, str | None, float], ...]:
        """Return (modality, class or None, weight) of weights (modalities,) or (modalities, K)."""
        if weights is None:
            return ()
        labels, rows = ((None,), weights[:, None]) if weights.ndim == 1 else (self.block.classes, weights)
        named = zip(modalities, rows, strict=True)
        return tuple((m, label, float(own)) for m, row in named for label, own in zip(labels, row, strict=True))

    def _combine(self, plan: HeadPlan, todo: Sequence[tuple[RunSpec, Split]]) -> None:
        """Combine the stored posteriors of the single modalities, repeat by repeat."""
        voter = voter_of(self.plans, plan, todo[0][0].modalities)
        read = [{m: self.spec(voter, (m,), split).id for m in spec.modalities} for spec, split in todo]
        combiner = cast(type[Combiner], plan.type)(plan.settings)
        noted = self.store.open_test([spec.id for spec, _ in todo], "score")
        scored = combine_stored(combiner, self.block, [split for _, split in todo], read, self.store)
        self.store.write_runs(
            [
                Run(
                    spec=spec,
                    seed=member_seed(self.seed, split.repeat),
                    val=self._predicted(split.val, own["val"]),
                    test=self._predicted(split.test, own["test"]),
                )
                for (spec, split), own in zip(todo, scored, strict=True)
            ],
            noted,
        )
        self.report.advance(_WORK, len(todo))

    def _predicted(self, positions: np.ndarray, scored: Scored) -> Predicted:
        return Predicted(
            sample_ids=tuple(self.block.sample_ids[i] for i in positions),
            labels=self.block.labels[positions],
            groups=self.block.groups[positions],
            posteriors=scored.posteriors,
            weights=scored.weights,
        )


def train_again(
    study: Study, plan: HeadPlan, runs: Sequence[tuple[RunSpec, Split]]
) -> Iterator[tuple[Sequence[Job], Stack]]:
    """Yield finished runs of one head and subset as trained stacks, with the settings and seeds they were trained with.

    Raises NotReproduced if one does not say of its validation part what it said before.
    """
    used = hyper_of(study.store)
    jobs = []
    for spec, split in runs:
        config, training = settings_of(plan, used.get(spec.id, {}))
        jobs.append(Job(spec=spec, split=split, config=config, training=training))
    stored = stored_posteriors(study.store, study.block, {spec.id: split for spec, split in runs}, "val")
    head = cast(type[FusionHead], plan.type)
    for own, stack in study.trained(jobs, head):
        for job, fitted in zip(own, stack.fitted, strict=True):
            off, allowed = (
                float(np.abs(fitted.val.posteriors - stored[job.spec.id]).max()),
                TOLERANCE[job.training.precision],
            )
            if not off <= allowed:
                raise NotReproduced(
                    f"{job.spec.model}, repeat {job.spec.repeat}: trained again, it differs from its stored validation "
                    f"posteriors by {off:.1g}, expected at most {allowed:g}: work on the device and with the versions "
                    "the study was trained with, or delete the study's folder and run it again here"
                )
        yield own, stack
