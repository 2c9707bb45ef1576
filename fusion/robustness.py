"""How runs hold out when, at test time, a modality is missing or features are noisy. Nothing is trained for it.

A run that lacks scores is trained once more as it was (`train_again`). Only scores are kept, no posteriors.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fusion.combining import PARTS, combine_parts, present_of, stored_posteriors
from fusion.heads._head import Combiner
from fusion.inputs import Condition
from fusion.plans import HeadPlan, voter_of
from fusion.splits import Split
from fusion.stack import Stack
from fusion.study import Study, train_again
from stores.errors import ConfigError
from stores.studies import RunSpec, StudyStore

PURPOSE = "robustness"  # of an opening of a test part, and the name of the log


@dataclass(frozen=True, slots=True)
class Removed:
    """A modality that no sample has: heads see it as absent, combiners give it no say."""

    modality: str

    @property
    def key(self) -> tuple[str, str | None, float | None]:
        """The (condition, modality, level) of the point in the log `robustness`."""
        return ("removed", self.modality, None)

    def on(self, seeds: Sequence[int]) -> Condition:
        """Return what does it to a stack whose members have these seeds, for one way through their samples."""
        return self._take_away

    def _take_away(
        self, x: Mapping[str, Tensor], present: Tensor, _: Sequence[int]
    ) -> tuple[dict[str, Tensor], Tensor]:
        there = present.clone()
        there[..., sorted(x).index(self.modality)] = False
        return {**x, self.modality: torch.zeros_like(x[self.modality])}, there


@dataclass(frozen=True, slots=True)
class Noise:
    """N(0, level^2) added to every feature of every modality, after its normalisation.

    A member draws each modality from a generator of its own, seeded by (seed, level, modality), in the order of its
    samples: all heads of a repeat meet the same noise, whatever they are stacked with.
    """

    level: float

    @property
    def key(self) -> tuple[str, str | None, float | None]:
        return ("noise", None, self.level)

    def on(self, seeds: Sequence[int]) -> Condition:
        generators: dict[tuple[str, int], np.random.Generator] = {}  # they go on from batch to batch

        def draw(modality: str, member: int, shape: Sequence[int]) -> np.ndarray:
            if (modality, member) not in generators:
                name = f"{modality} {self.level!r}".encode()
                generators[modality, member] = np.random.default_rng([seeds[member], *name])
            return generators[modality, member].standard_normal(tuple(shape), dtype=np.float32)

        def noisy(x: Mapping[str, Tensor], present: Tensor, members: Sequence[int]) -> tuple[dict[str, Tensor], Tensor]:
            found = {}
            for i, modality in enumerate(sorted(x)):
                own = x[modality]
                drawn = np.stack([draw(modality, member, own.shape[1:]) for member in members])
                noise = self.level * torch.from_numpy(drawn).to(own.device) * present[..., i, None]
                found[modality] = (own.float() + noise).to(own.dtype)
            return found, present

        return noisy


Disturbance = Removed | Noise  # one point of a robustness curve


@dataclass(frozen=True, kw_only=True)
class RobustnessConfig:
    """`[robustness]`: every modality removed in turn, and noise of these standard deviations on all features.

    Noise is added where heads read, so with `input_norm = "batch"` a level of 1 is as much as a feature's own spread.
    """

    noise: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    remove: bool = True

    def __post_init__(self) -> None:
        if odd := [level for level in self.noise if not 0 <= level < np.inf]:
            raise ConfigError(f"noise should be standard deviations of 0 or more, got {odd[0]}")
        if len(set(self.noise)) < len(self.noise):
            raise ConfigError(f"noise should name each level once, got {list(self.noise)}")
        if not (self.noise or self.remove):
            raise ConfigError("asks for nothing: give noise levels, set remove = true, or leave it out")

    def disturbances(self, modalities: Sequence[str]) -> tuple[Disturbance, ...]:
        """Return the points of the curves of a head on these modalities."""
        removed = [Removed(modality) for modality in sorted(modalities)] if self.remove else []
        return (*removed, *(Noise(level) for level in self.noise))


@dataclass(frozen=True, kw_only=True)
class RobustnessBooks:
    """What a call found and did: `cached` and `scored` count (run, condition); `openings` are those of the log so far.

    `conditions` are the different ones of the study; a run on fewer modalities has fewer to lose.
    """

    runs: int
    conditions: int
    cached: int
    scored: int
    openings: int


def run_robustness(study: Study, config: RobustnessConfig) -> RobustnessBooks:
    """Score every finished run of a study under each condition it has not been scored under.

    A stack is noted in the odometer of test parts before it sees one, and its scores are written in one piece: a killed
    call resumes there, a second one does nothing. Raises NotReproduced if a run cannot be repeated.
    """
    curves = _curves(study, config)
    lacking = [curve for curve in curves if curve.lacking]
    study.report.start(PURPOSE, len(lacking), "runs")
    _Pass(study, curves).run()
    study.report.finish(PURPOSE)
    ids = {curve.spec.id for curve in curves}
    scored = sum(len(curve.lacking) for curve in lacking)
    return RobustnessBooks(
        runs=len(curves),
        conditions=len({point for curve in curves for point in curve.points}),
        cached=sum(len(curve.points) for curve in curves) - scored,
        scored=scored,
        openings=sum(row == PURPOSE and run in ids for run, row in _openings(study.store)),
    )


def scores_of(labels: np.ndarray, posteriors: np.ndarray) -> dict[str, float]:
    """Return accuracy and macro F1 over the classes that are present, of labels (n,) and posteriors (n, K)."""
    said, classes = posteriors.argmax(axis=1), posteriors.shape[1]
    support, predicted = (np.bincount(own, minlength=classes) for own in (labels, said))
    hits = np.bincount(labels[said == labels], minlength=classes)
    f1 = 2 * hits[support > 0] / (support + predicted)[support > 0]
    return {"accuracy": float((said == labels).mean()), "macro_f1": float(f1.mean())}


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """One run, the points of its curve, and those of them that are not scored yet."""

    plan: HeadPlan
    spec: RunSpec
    split: Split
    points: tuple[Disturbance, ...]
    lacking: tuple[Disturbance, ...]


def _curves(study: Study, config: RobustnessConfig) -> list[_Curve]:
    opened = {run for run, purpose in _openings(study.store) if purpose == PURPOSE}  # what is not noted is not done
    scored = (row for row in study.store.log(PURPOSE).to_pylist() if row["run_id"] in opened)
    done = {(row["run_id"], row["condition"], row["modality"], row["level"]) for row in scored}
    found = {}
    for plan in study.plans:
        for subset in plan.subsets:
            points = config.disturbances(subset)
            for split in study.splits:
                spec = study.spec(plan, subset, split)
                lacking = tuple(point for point in points if (spec.id, *point.key) not in done)
                found[spec.id] = _Curve(plan=plan, spec=spec, split=split, points=points, lacking=lacking)
    return list(found.values())


def _openings(store: StudyStore) -> list[tuple[str, str]]:
    log = store.log("openings")
    return list(zip(log["run_id"].to_pylist(), log["purpose"].to_pylist(), strict=True))


class _Pass:
    """One way through a study. `heard[run]` are conditions under which combiners need what that run says."""

    def __init__(self, study: Study, curves: Sequence[_Curve]) -> None:
        self.study, self.curves = study, curves
        self.heard: dict[str, list[Disturbance]] = defaultdict(list)
        self.said: dict[tuple[str, Disturbance], np.ndarray] = {}  # (n, K) float32, in the order of the test part
        for curve in curves:
            for run in self._voters(curve).values() if curve.plan.combines else ():
                self.heard[run] += [point for point in curve.lacking if isinstance(point, Noise)]

    def run(self) -> None:
        trained = [curve for curve in self.curves if not curve.plan.combines and self._asked(curve)]
        for own in _by_model(trained):
            self._train_again(own)
        for own in _by_model([curve for curve in self.curves if curve.plan.combines and curve.lacking]):
            self._combine_again(own)

    def _asked(self, curve: _Curve) -> list[Disturbance]:
        """Return the conditions a run is asked under: its own, and those of the combiners that listen to it."""
        return list(dict.fromkeys((*curve.lacking, *self.heard.get(curve.spec.id, ()))))

    def _voters(self, curve: _Curve) -> dict[str, str]:
        """Return the run a combiner reads for each modality."""
        voter = voter_of(self.study.plans, curve.plan, curve.spec.modalities)
        return {m: self.study.spec(voter, (m,), curve.split).id for m in curve.spec.modalities}

    def _train_again(self, curves: Sequence[_Curve]) -> None:
        """Repeat the training of one model, and score each stack of it as soon as it is there."""
        by_run = {curve.spec.id: curve for curve in curves}
        runs = [(curve.spec, curve.split) for curve in curves]
        for jobs, stack in train_again(self.study, curves[0].plan, runs):
            ids = [job.spec.id for job in jobs]
            self.study.store.open_test(ids, PURPOSE)
            self._score([by_run[run] for run in ids], stack)

    def _score(self, curves: Sequence[_Curve], stack: Stack) -> None:
        """Let a stack speak under every condition one of its runs is asked under; keep scores, and what is heard."""
        rows: list[dict[str, Any]] = []
        seeds = [member.seed for member in stack.members]
        for point in dict.fromkeys(point for curve in curves for point in self._asked(curve)):
            for curve, said in zip(curves, stack.predict("test", point.on(seeds)), strict=True):
                if point in curve.lacking:
                    rows += self._rows(curve, point, said.posteriors)
                if point in self.heard.get(curve.spec.id, ()):
                    self.said[curve.spec.id, point] = said.posteriors
        self._write(rows, curves)

    def _combine_again(self, curves: Sequence[_Curve]) -> None:
        """Combine what the voters of one model say; temperatures stay those of the clean validation part."""
        voters = [self._voters(curve) for curve in curves]
        splits = {run: curve.split for curve, read in zip(curves, voters, strict=True) for run in read.values()}
        clean = {part: stored_posteriors(self.study.store, self.study.block, splits, part) for part in PARTS}
        self.study.store.open_test([curve.spec.id for curve in curves], PURPOSE)
        combiner = cast(type[Combiner], curves[0].plan.type)(curves[0].plan.settings)
        rows: list[dict[str, Any]] = []
        for curve, read in zip(curves, voters, strict=True):
            votes = {part: {m: own[run] for m, run in read.items()} for part, own in clean.items()}
            for point in curve.lacking:
                noisy = {m: self.said[run, point] for m, run in read.items()} if isinstance(point, Noise) else None
                heard = {**votes, "test": noisy or votes["test"]}
                present = present_of(self.study.block, curve.split, curve.spec.modalities)
                if isinstance(point, Removed):
                    present["test"][point.modality] = np.zeros(len(curve.split.test), dtype=bool)
                said = combine_parts(combiner, self.study.block, curve.split, heard, present)
                rows += self._rows(curve, point, said["test"].posteriors)
        self._write(rows, curves)

    def _rows(self, curve: _Curve, point: Disturbance, posteriors: np.ndarray) -> list[dict[str, Any]]:
        condition, modality, level = point.key
        where = {"run_id": curve.spec.id, "condition": condition, "modality": modality, "level": level}
        scores = scores_of(self.study.block.labels[curve.split.test], posteriors)
        return [{**where, "metric": metric, "value": value} for metric, value in scores.items()]

    def _write(self, rows: Sequence[dict[str, Any]], curves: Sequence[_Curve]) -> None:
        self.study.store.append(PURPOSE, rows)
        self.study.report.advance(PURPOSE, sum(bool(curve.lacking) for curve in curves))


def _by_model(curves: Sequence[_Curve]) -> list[list[_Curve]]:
    """Return the repeats of each model, side by side."""
    models: dict[str, list[_Curve]] = defaultdict(list)
    for curve in curves:
        models[curve.spec.model].append(curve)
    return list(models.values())
