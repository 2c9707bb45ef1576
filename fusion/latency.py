"""What a model costs when it is used: time of a call, parameters, matrix products. No data are needed for it.

By rule D16: warmed up, the device synchronised, batch size stated, median and 95th percentile. Features are extracted,
normalised and on the device already: this is fusion alone, from features to posteriors, for one member.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fusion.choosing import hyper_of, settings_of
from fusion.heads._head import Combiner, FusionHead, HeadConfig
from fusion.plans import HeadPlan, voter_of
from fusion.study import Study
from fusion.training import frame_of
from fusion.training_config import TrainingConfig

BATCHES = (1, 64)  # samples a call
CALLS, FEWEST, WARM_UP = 200, 5, 5
SECONDS = 0.1  # a slow model is called less often than CALLS, but FEWEST times at least
_LOG = "latency"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model whose calls can be timed: `prepare(batch)` returns what makes posteriors (batch, K) of random features.

    `parameters` are those of one member; `input_width` is the dimension of all its features together.
    """

    input_width: int
    parameters: int
    device: torch.device
    prepare: Callable[[int], Callable[[], Tensor]]

    def flops(self, batch: int) -> int:
        """Return what the matrix products of a call take, a multiplication and an addition being two."""
        call = self.prepare(batch)
        with FlopCounterMode(display=False) as counter:
            call()
        return int(counter.get_total_flops())


def measure_latency(study: Study) -> int:
    """Time every model of a study at every batch size it has not been timed at; return how many were timed.

    A model has the settings of the run of its first repeat: with others it is another run, and timed again. The rows
    are written in one piece.
    """
    done = {(row["run_id"], row["batch"]) for row in study.store.log(_LOG).to_pylist()}
    planned = [(plan, subset) for plan in study.plans for subset in plan.subsets]
    specs = [study.spec(plan, subset, study.splits[0]) for plan, subset in planned]
    runs = {spec.id: (spec.model, *own) for spec, own in zip(specs, planned, strict=True)}
    lacking = [(run, batch) for run in runs for batch in BATCHES if (run, batch) not in done]
    if not lacking:
        return 0
    study.report.start(_LOG, len(lacking), "measurements")
    hyper, rows = hyper_of(study.store), []
    for run, batch in lacking:
        model, plan, subset = runs[run]
        subject = _subject(study, plan, subset, hyper)
        times = time_calls(subject, batch)
        rows.append(
            {
                "model": model,
                "batch": batch,
                "median_us": float(np.median(times)),
                "p95_us": float(np.percentile(times, 95)),
                "parameters": subject.parameters,
                "input_width": subject.input_width,
                "flops": subject.flops(batch),
                "device": device_words(subject.device),
                "run_id": run,
            }
        )
        study.report.advance(_LOG)
    study.store.append(_LOG, rows)
    study.report.finish(_LOG)
    return len(rows)


def one_member(
    head: type[FusionHead],
    config: HeadConfig,
    training: TrainingConfig,
    widths: Mapping[str, int],
    n_classes: int,
    device: torch.device,
) -> Subject:
    """Return a single trained head of these widths by modality; its weights are as they start."""
    made = head(config, frame_of(widths, n_classes, training)).to(device).eval()

    def prepare(batch: int) -> Callable[[], Tensor]:
        generator, dtype = torch.Generator().manual_seed(0), getattr(torch, training.precision)
        x = {m: torch.randn(1, batch, widths[m], generator=generator).to(device, dtype) for m in sorted(widths)}
        present = torch.ones(1, batch, len(widths), dtype=torch.bool, device=device)

        @torch.inference_mode()
        def call() -> Tensor:
            posteriors: Tensor = made(x, present).softmax(dim=2)[0]
            return posteriors

        return call

    parameters = sum(parameter.numel() for parameter in made.parameters())
    return Subject(input_width=sum(widths.values()), parameters=parameters, device=device, prepare=prepare)


def combination(combiner: Combiner, voters: Mapping[str, Subject]) -> Subject:
    """Return a combiner together with the heads it reads, one a modality: they are what has to run for it."""

    def prepare(batch: int) -> Callable[[], Tensor]:
        calls = {m: voter.prepare(batch) for m, voter in voters.items()}
        present = {m: np.ones(batch, dtype=bool) for m in voters}

        def call() -> Tensor:
            posteriors = {m: own().cpu().numpy() for m, own in calls.items()}
            return torch.from_numpy(combiner.combine(posteriors, present).posteriors)

        return call

    return Subject(
        input_width=sum(voter.input_width for voter in voters.values()),
        parameters=sum(voter.parameters for voter in voters.values()),
        device=next(iter(voters.values())).device,
        prepare=prepare,
    )


def time_calls(subject: Subject, batch: int, *, calls: int = CALLS, seconds: float = SECONDS) -> np.ndarray:
    """Return the times of calls in microseconds: `calls` of them, or as many as there is time for, FEWEST at least."""
    call = subject.prepare(batch)
    found: list[float] = []
    for _ in range(WARM_UP):
        call()
    _synchronise(subject.device)
    began = time.perf_counter()
    while len(found) < calls and (len(found) < FEWEST or time.perf_counter() - began < seconds):
        started = time.perf_counter()
        call()
        _synchronise(subject.device)
        found.append(1e6 * (time.perf_counter() - started))
    return np.array(found)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_words(device: torch.device) -> str:
    """Return what times were taken on: the name of the GPU, or `cpu, 2 threads`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _subject(study: Study, plan: HeadPlan, subset: Sequence[str], hyper: Mapping[str, Mapping[str, Any]]) -> Subject:
    if plan.combines:
        voter = voter_of(study.plans, plan, subset)
        voters = {m: _subject(study, voter, (m,), hyper) for m in subset}
        return combination(cast(type[Combiner], plan.type)(plan.settings), voters)
    config, training = settings_of(plan, hyper.get(study.spec(plan, subset, study.splits[0]).id, {}))
    widths = {m: study.values[m].shape[1] for m in sorted(subset)}
    device = next(iter(study.values.values())).device
    return one_member(cast(type[FusionHead], plan.type), config, training, widths, len(study.block.classes), device)
