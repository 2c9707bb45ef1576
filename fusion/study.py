"""Run every head of a study on every split, and nothing twice: a run that is sealed is not trained again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from fusion.combining import combine_stored
from fusion.heads._head import Combiner, FusionHead, HeadConfig
from fusion.inputs import Inputs, to_device
from fusion.members import Member
from fusion.plans import HeadPlan, voter_of
from fusion.splits import Split
from fusion.training import Fitted, Scored, Stack, member_bytes, train_stacked
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock
from stores.errors import ConfigError
from stores.progress import Progress, Silent
from stores.studies import Predicted, Run, RunSpec, StudyStore

STACK_BYTES = 1 << 30  # what the members of one stack may hold together
_WORK = "fusion heads"


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


def member_seed(seed: int, repeat: int) -> int:
    """Return the seed of a repeat, the same for every head: 32 bits of a hash of the study's seed and the repeat."""
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


def run_heads(
    block: FeatureBlock,
    splits: Sequence[Split],
    plans: Sequence[HeadPlan],
    store: StudyStore,
    *,
    seed: int,
    device: str = "auto",
    report: Progress | None = None,
) -> RunBooks:
    """Train and store every planned run that is not sealed yet; combiners come last and read the stored posteriors.

    Each stack of members is sealed when it is finished, so a killed study resumes there. Raises ConfigError for a
    modality the block lacks, or a combiner whose unimodal heads are not planned.
    """
    return Study(
        block=block,
        values=to_device(block, device_of(device)),
        splits=splits,
        plans=plans,
        store=store,
        seed=seed,
        report=report or Silent(),
    ).run()


def device_of(name: str) -> torch.device:
    """Return the device of a name, `auto` being a GPU if there is one. Raises ConfigError for a GPU that is not there."""
    gpu = torch.cuda.is_available()
    if name.startswith("cuda") and not gpu:
        raise ConfigError(f"device {name!r} was asked for, but torch finds no GPU: use auto or cpu")
    return torch.device(("cuda" if gpu else "cpu") if name == "auto" else name)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything one call of `run_heads` has at hand."""

    block: FeatureBlock
    values: Mapping[str, torch.Tensor]
    splits: Sequence[Split]
    plans: Sequence[HeadPlan]
    store: StudyStore
    seed: int
    report: Progress

    def run(self) -> RunBooks:
        done = self.store.run_ids()
        work = [(plan, subset) for plan in self.plans for subset in plan.subsets]
        specs = [[self.spec(plan, subset, split) for split in self.splits] for plan, subset in work]
        ids = tuple(dict.fromkeys(spec.id for own in specs for spec in own))
        missing = set(ids) - done
        self.report.start(_WORK, len(missing), "runs")
        for (plan, _), own in sorted(zip(work, specs, strict=True), key=lambda item: item[0][0].combines):
            todo = [(spec, split) for spec, split in zip(own, self.splits, strict=True) if spec.id in missing]
            if todo:
                (self._combine if plan.combines else self._train)(plan, todo)
                missing -= {spec.id for spec, _ in todo}
        self.report.finish(_WORK)
        trained = len(set(ids) - done)
        return RunBooks(cached=len(ids) - trained, trained=trained, run_ids=ids)

    def spec(self, plan: HeadPlan, subset: Sequence[str], split: Split) -> RunSpec:
        """Return the name of a run; that of a combiner also holds what it reads."""
        if lacking := sorted(set(subset) - set(self.block.modalities)):
            raise ConfigError(f"{plan.head} is planned on {lacking[0]}; there are: {', '.join(self.block.modalities)}")
        config = asdict(plan.settings)
        if plan.combines:
            voter = voter_of(self.plans, plan, subset)
            config["reads"] = {"head": voter.head, "version": voter.type.version, "config": asdict(voter.settings)}
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
        )

    def train(self, jobs: Sequence[Job], head: type[FusionHead]) -> Stack:
        """Train jobs of one head, subset and shape as one stack."""
        modalities = jobs[0].spec.modalities
        shared = jobs[0].training
        splits = [job.split for job in jobs]
        inputs = Inputs(self.block, self.values, modalities, splits, shared.input_norm, shared.precision)
        members = [
            Member(split=job.split, seed=member_seed(self.seed, job.split.repeat), training=job.training)
            for job in jobs
        ]
        return train_stacked(partial(head, jobs[0].config), self.block, inputs, members)

    def stacks(self, jobs: Sequence[Job], head: type[FusionHead]) -> list[list[Job]]:
        """Deal jobs of one head and subset into stacks: alike in shape, and no more than fit into memory together."""
        alike: dict[Any, list[Job]] = defaultdict(list)
        for job in jobs:
            alike[job.config, job.training.shape].append(job)
        widths = {m: self.values[m].shape[1] for m in jobs[0].spec.modalities}
        found = []
        for own in alike.values():
            build = partial(head, own[0].config)
            fit = max(1, STACK_BYTES // member_bytes(build, widths, len(self.block.classes), own[0].training))
            found += [own[start : start + fit] for start in range(0, len(own), fit)]
        return found

    def _train(self, plan: HeadPlan, todo: Sequence[tuple[RunSpec, Split]]) -> None:
        """Train the missing repeats of one head and subset, and seal each stack as it is finished."""
        head = cast(type[FusionHead], plan.type)
        jobs = [Job(spec=spec, split=split, config=plan.settings, training=plan.training) for spec, split in todo]
        for own in self.stacks(jobs, head):
            stack = self.train(own, head)
            self.store.open_test([job.spec.id for job in own], "score")
            made = zip(own, stack.fitted, stack.predict("test"), strict=True)
            self.store.write_runs([self._run(job, fitted, test) for job, fitted, test in made])
            self.report.advance(_WORK, len(own))

    def _run(self, job: Job, fitted: Fitted, test: Scored) -> Run:
        return Run(
            spec=job.spec,
            seed=member_seed(self.seed, job.split.repeat),
            val=self._predicted(job.split.val, fitted.val),
            test=self._predicted(job.split.test, test),
            best_epoch=fitted.best_epoch,
            curves=fitted.curves,
            weights=self._weight_rows(job.spec.modalities, fitted.weights),
            seconds=fitted.seconds,
            hyper={**asdict(job.config), **asdict(job.training)},
            counts={"before": fitted.roster.before.tolist(), "after": fitted.roster.after.tolist()},
        )

    def _weight_rows(
        self, modalities: Sequence[str], weights: np.ndarray | None
    ) -> tuple[tuple[str, str | None, float], ...]:
        """Return (modality, class or None, weight) of weights (modalities,) or (modalities, K)."""
        if weights is None:
            return ()
        if weights.ndim == 1:
            return tuple((m, None, float(own)) for m, own in zip(modalities, weights, strict=True))
        named = zip(modalities, weights, strict=True)
        return tuple(
            (m, label, float(own)) for m, row in named for label, own in zip(self.block.classes, row, strict=True)
        )

    def _combine(self, plan: HeadPlan, todo: Sequence[tuple[RunSpec, Split]]) -> None:
        """Combine the stored posteriors of the single modalities, repeat by repeat."""
        voter = voter_of(self.plans, plan, todo[0][0].modalities)
        read = [{m: self.spec(voter, (m,), split).id for m in spec.modalities} for spec, split in todo]
        combiner = cast(type[Combiner], plan.type)(plan.settings)
        self.store.open_test([spec.id for spec, _ in todo], "score")
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
            ]
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
