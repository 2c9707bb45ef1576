"""Run every head of a study on every split, and nothing twice: a run that is sealed is not trained again."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

from fusion.heads._head import Combiner, FusionHead, Head, HeadConfig
from fusion.inputs import Inputs, to_device
from fusion.splits import Split
from fusion.training import Fitted, TrainingConfig, member_bytes, train_stacked
from stores.block import FeatureBlock
from stores.errors import ConfigError
from stores.plugins import find_plugin
from stores.progress import Progress, Silent
from stores.settings import build
from stores.studies import Predicted, Run, RunSpec, StudyStore

STACK_BYTES = 1 << 30  # what the members of one stack may hold together
_WORK = "fusion heads"


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """A head, its settings, and the modalities to run it on. Raises NotFound or ConfigError if that cannot be."""

    head: str
    config: Mapping[str, Any] = field(default_factory=dict)
    subsets: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        _ = self.settings
        for subset in self.subsets:
            if not self.type.fewest <= len(set(subset)) == len(subset) <= (self.type.most or len(subset)):
                most = f" to {self.type.most}" if self.type.most else " or more"
                raise ConfigError(
                    f"{self.head} takes {self.type.fewest}{most} different modalities, got {list(subset)}"
                )

    @property
    def type(self) -> type[Head]:
        return find_plugin("fusion.heads", self.head, Head)

    @property
    def settings(self) -> HeadConfig:
        """The head's config with every default. Raises ConfigError for an unknown key or a wrong type."""
        return build(self.type.config_type, self.config, where=f"heads.{self.head}")


@dataclass(frozen=True, kw_only=True)
class RunBooks:
    """What a call found and did: runs that were sealed before, runs made now, all ids in the order of the plans."""

    cached: int
    trained: int
    run_ids: tuple[str, ...]


def subsets(modalities: Sequence[str], head: str) -> tuple[tuple[str, ...], ...]:
    """Return every subset of the modalities that a head makes sense on, small ones first.

    `unimodal` takes one at a time, a fusion two or more; with one modality a fusion has none.
    """
    kind = find_plugin("fusion.heads", head, Head)
    sizes = range(kind.fewest, min(kind.most or len(modalities), len(modalities)) + 1)
    return tuple(itertools.chain.from_iterable(itertools.combinations(sorted(modalities), size) for size in sizes))


def member_seed(seed: int, repeat: int) -> int:
    """Return the seed of a repeat, the same for every head: 32 bits of a hash of the study's seed and the repeat."""
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


def run_heads(
    block: FeatureBlock,
    splits: Sequence[Split],
    plans: Sequence[HeadPlan],
    training: TrainingConfig,
    store: StudyStore,
    *,
    seed: int,
    device: str = "auto",
    report: Progress | None = None,
) -> RunBooks:
    """Train and store every planned run that is not sealed yet; combiners come last and read the stored posteriors.

    `splits` hold complete samples only. One part is sealed per head and subset, so a killed study resumes there.
    Raises ConfigError for a modality the block lacks, or a combiner whose unimodal heads are not planned.
    """
    study = _Study(
        block=block,
        values=to_device(block, _device(device)),
        splits=splits,
        plans=plans,
        training=training,
        store=store,
        seed=seed,
        report=report or Silent(),
    )
    return study.run()


def _device(name: str) -> torch.device:
    gpu = torch.cuda.is_available()
    if name.startswith("cuda") and not gpu:
        raise ConfigError(f"device {name!r} was asked for, but torch finds no GPU: use auto or cpu")
    return torch.device(("cuda" if gpu else "cpu") if name == "auto" else name)


@dataclass(frozen=True, kw_only=True)
class _Study:
    """One call of `run_heads`."""

    block: FeatureBlock
    values: Mapping[str, torch.Tensor]
    splits: Sequence[Split]
    plans: Sequence[HeadPlan]
    training: TrainingConfig
    store: StudyStore
    seed: int
    report: Progress

    def run(self) -> RunBooks:
        sealed = self.store.runs()
        done = set() if sealed is None else set(sealed["run_id"].to_pylist())
        work = [(plan, subset) for plan in self.plans for subset in plan.subsets]
        specs = [[self._spec(plan, subset, split) for split in self.splits] for plan, subset in work]
        ids = tuple(dict.fromkeys(spec.id for own in specs for spec in own))
        missing = set(ids) - done
        self.report.start(_WORK, len(missing), "runs")
        for (plan, _), own in sorted(zip(work, specs, strict=True), key=lambda item: _combines(item[0][0])):
            todo = [(spec, split) for spec, split in zip(own, self.splits, strict=True) if spec.id in missing]
            if todo:
                runs = self._combined(plan, todo) if _combines(plan) else self._trained(plan, todo)
                self.store.write_runs(runs)
                missing -= {spec.id for spec, _ in todo}
        self.report.finish(_WORK)
        trained = len(set(ids) - done)
        return RunBooks(cached=len(ids) - trained, trained=trained, run_ids=ids)

    def _spec(self, plan: HeadPlan, subset: Sequence[str], split: Split) -> RunSpec:
        """Return the name of a run; that of a combiner also holds what it reads."""
        if lacking := sorted(set(subset) - set(self.block.modalities)):
            raise ConfigError(f"{plan.head} is planned on {lacking[0]}; there are: {', '.join(self.block.modalities)}")
        config = asdict(plan.settings)
        if _combines(plan):
            voter = _voter(self.plans, plan, subset)
            config["reads"] = {"head": voter.head, "version": voter.type.version, "config": asdict(voter.settings)}
        return RunSpec(
            study=self.store.id,
            head=plan.head,
            version=plan.type.version,
            config=config,
            modalities=tuple(sorted(subset)),
            repeat=split.repeat,
            training=asdict(self.training),
        )

    def _trained(self, plan: HeadPlan, todo: Sequence[tuple[RunSpec, Split]]) -> list[Run]:
        """Train the missing repeats of one head and subset, as many at a time as fit."""
        modalities = todo[0][0].modalities
        n_classes = len(self.block.classes)
        build = partial(cast(type[FusionHead], plan.type), plan.settings)
        widths = {m: self.values[m].shape[1] for m in modalities}
        fit = max(1, STACK_BYTES // member_bytes(build, widths, n_classes, self.training))
        runs = []
        for start in range(0, len(todo), fit):
            specs, splits = zip(*todo[start : start + fit], strict=True)
            inputs = Inputs(self.block, self.values, modalities, splits, self.training.input_norm)
            seeds = [member_seed(self.seed, split.repeat) for split in splits]
            fitted = train_stacked(build, inputs, splits, seeds, n_classes, self.training)
            runs += [self._run(*made) for made in zip(specs, splits, fitted, strict=True)]
            self.report.advance(_WORK, len(specs))
        return runs

    def _run(self, spec: RunSpec, split: Split, fitted: Fitted) -> Run:
        return Run(
            spec=spec,
            seed=member_seed(self.seed, split.repeat),
            val=self._predicted(split.val, fitted.val),
            test=self._predicted(split.test, fitted.test),
            best_epoch=fitted.best_epoch,
            curves=fitted.curves,
            weights=fitted.weights,
            seconds=fitted.seconds,
        )

    def _combined(self, plan: HeadPlan, todo: Sequence[tuple[RunSpec, Split]]) -> list[Run]:
        """Combine the stored posteriors of the single modalities, repeat by repeat."""
        modalities = todo[0][0].modalities
        voter = _voter(self.plans, plan, modalities)
        read = [{m: self._spec(voter, (m,), split).id for m in modalities} for _, split in todo]
        ids = [run for own in read for run in own.values()]
        combiner = cast(type[Combiner], plan.type)(plan.settings)
        stored = {part: _posteriors(self.store.predictions(ids, part)) for part in ("val", "test")}
        runs = []
        for (spec, split), own in zip(todo, read, strict=True):
            parts = {}
            for part, positions in (("val", split.val), ("test", split.test)):
                names = [self.block.sample_ids[i] for i in positions]
                votes = {m: np.stack([stored[part][run][name] for name in names]) for m, run in own.items()}
                parts[part] = self._predicted(positions, combiner.combine(votes))
            seed = member_seed(self.seed, split.repeat)
            runs.append(Run(spec=spec, seed=seed, val=parts["val"], test=parts["test"]))
        self.report.advance(_WORK, len(todo))
        return runs

    def _predicted(self, positions: np.ndarray, posteriors: np.ndarray) -> Predicted:
        return Predicted(
            sample_ids=tuple(self.block.sample_ids[i] for i in positions),
            labels=self.block.labels[positions],
            groups=self.block.groups[positions],
            posteriors=posteriors,
        )


def check_plans(plans: Sequence[HeadPlan]) -> None:
    """Raise ConfigError for a combiner whose voters are not planned; cheap, so it can be asked before any work."""
    for plan in plans:
        for subset in plan.subsets if _combines(plan) else ():
            _voter(plans, plan, subset)


def _voter(plans: Sequence[HeadPlan], plan: HeadPlan, subset: Sequence[str]) -> HeadPlan:
    """Return the plan of the head whose posteriors a combiner reads."""
    reads = cast(type[Combiner], plan.type).reads
    for candidate in plans:
        if candidate.head == reads and {(m,) for m in subset} <= set(candidate.subsets):
            return candidate
    raise ConfigError(
        f"{plan.head} on {'+'.join(subset)} reads the posteriors of {reads} on each of them, which is not planned: "
        f"add [heads.{reads}], or leave {plan.head} out"
    )


def _combines(plan: HeadPlan) -> bool:
    return issubclass(plan.type, Combiner)


def _posteriors(table: pa.Table) -> dict[str, dict[str, np.ndarray]]:
    """Return posteriors (K,) by run id and sample id."""
    found: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    rows = np.array(table["posterior"].to_pylist(), dtype=np.float32)
    for run, sample, row in zip(table["run_id"].to_pylist(), table["sample_id"].to_pylist(), rows, strict=True):
        found[run][sample] = row
    return found
