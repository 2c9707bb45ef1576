"""Have finished runs at hand again: weights of heads are not stored, but a training can be repeated exactly."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from fusion.combining import stored_posteriors
from fusion.errors import NotReproduced
from fusion.heads._head import FusionHead, HeadConfig
from fusion.plans import HeadPlan
from fusion.spaces import with_settings
from fusion.splits import Split
from fusion.stack import Stack
from fusion.study import Job, Study
from fusion.training_config import TrainingConfig
from stores.settings import build
from stores.studies import RunSpec, StudyStore

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # of a posterior, between a run and its repetition


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
            _check(job, fitted.val.posteriors, stored[job.spec.id])
        yield own, stack


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


def _check(job: Job, again: np.ndarray, stored: np.ndarray) -> None:
    off = float(np.abs(again - stored).max())
    allowed = TOLERANCE[job.training.precision]
    if not off <= allowed:
        raise NotReproduced(
            f"{job.spec.model}, repeat {job.spec.repeat}: trained again, it differs from its stored validation "
            f"posteriors by {off:.1g}, expected at most {allowed:g}: work on the device and with the versions the "
            "study was trained with, or delete the study's folder and run it again here"
        )
