"""Train many members of one head as one stacked model, each exactly as if it were alone."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import psutil
import torch
from torch import Tensor

from fusion.balance import Roster, make_roster
from fusion.errors import TrainingError
from fusion.heads._head import Frame, FusionHead, HeadConfig
from fusion.inputs import Inputs
from fusion.optimiser import StackedOptimiser, optimiser_for
from fusion.stack import SCORED_AT_ONCE, Fitted, Member, Stack, Trainee, epoch_readings, speak
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock

_COPIES = 5  # of each weight: itself, its gradient, two moments, the best epoch's

_TRIED = 3  # samples a head is tried out with

Build = Callable[[Frame], FusionHead]


def member_bytes(build: Build, widths: Mapping[str, int], n_classes: int, training: TrainingConfig) -> int:
    """Return about how much memory one member of a stack takes while it trains: weights, and what a step keeps."""
    head = build(frame_of(widths, n_classes, training))
    weights = sum(parameter.numel() for parameter in head.parameters())
    x = {m: torch.zeros(1, _TRIED, width) for m, width in widths.items()}
    kept = 0

    def count(kept_tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += kept_tensor.numel() if kept_tensor.ndim > 1 and kept_tensor.shape[1] == _TRIED else 0
        return kept_tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        head(x, torch.ones(1, _TRIED, len(widths), dtype=torch.bool))
    batch = max(training.batch_size, SCORED_AT_ONCE)
    return 4 * (_COPIES * weights + 2 * batch * (kept // _TRIED + sum(widths.values())))


def train_stacked(build: Build, block: FeatureBlock, inputs: Inputs, members: Sequence[Member]) -> Stack:
    """Train the members and return them in order, each with the weights of its best epoch.

    `inputs` was made for the same splits, and all settings agree in `TrainingConfig.shape`. Where there are views, each
    sample of an epoch is read in a version drawn at random, itself or one of its views, every modality in the same. A
    finished member leaves the stack, so it costs nothing and disturbs nobody. Raises TrainingError if a loss is not
    finite.
    """
    began = time.perf_counter()
    frame = frame_of(inputs.widths, len(block.classes), members[0].training, members)
    head = build(frame).to(inputs.device)
    batch = members[0].training.batch_for(len(block.sample_ids))  # the same whoever is in the stack
    trainees = [
        Trainee(place=place, batch=batch, member=member, roster=_roster(block, inputs, place, member))
        for place, member in enumerate(members)
    ]
    prior = torch.stack([_prior(block, member) for member in members]).to(inputs.device)
    _fit(head, inputs, trainees, prior)
    for parameter, best in zip(head.parameters(), zip(*(t.best_weights for t in trainees), strict=True), strict=True):
        parameter.data = torch.stack(best)
    head.rates[:] = frame.dropout  # everybody is back
    head.reseed(frame.seeds)
    stack = Stack(head, inputs, members, prior)
    weights = head.modality_weights()
    val = stack.predict("val")
    seconds = (time.perf_counter() - began) / len(members)
    stack.fitted = [
        Fitted(
            best_epoch=trainee.best_epoch,
            unfinished=trainee.waits(len(trainee.curves)),
            curves=tuple(trainee.curves),
            weights=None if weights is None else weights[trainee.place].cpu().numpy(),
            roster=trainee.roster,
            val=val[trainee.place],
            seconds=seconds,
        )
        for trainee in trainees
    ]
    return stack


def frame_of(
    widths: Mapping[str, int], n_classes: int, training: TrainingConfig, members: Sequence[Member] = ()
) -> Frame:
    """Return what the head of `members` that share a shape is built for, or that of one member with seed 0."""
    return Frame(
        widths=widths,
        n_classes=n_classes,
        hidden=training.width,
        dropout=[member.training.dropout for member in members] or [training.dropout],
        seeds=[member.seed for member in members] or [0],
        classifier=training.classifier,
    )


def _roster(block: FeatureBlock, inputs: Inputs, place: int, member: Member) -> Roster:
    seen = inputs.seen(place, member.split.train)
    if not len(seen):
        raise TrainingError(
            f"repeat {member.split.repeat}: none of {len(member.split.train)} training samples has "
            f"{' or '.join(inputs.modalities)}: leave these heads out, or score complete samples only"
        )
    return make_roster(
        block,
        seen,
        inputs.modalities,
        member.split.repeat,
        balance=member.training.balance,
        target=member.training.balance_target,
        seed=member.seed,
    )


def _prior(block: FeatureBlock, member: Member) -> Tensor:
    """Return the log of each class' share of the training part, (K,): what a sample with nothing to see gets."""
    counts = np.bincount(block.labels[member.split.train], minlength=len(block.classes))
    return torch.from_numpy(counts / counts.sum()).float().log()


def _fit(head: FusionHead, inputs: Inputs, trainees: Sequence[Trainee], prior: Tensor) -> None:
    """Train until every member has stopped; each keeps the weights of its best epoch."""
    parameters = list(head.parameters())
    shared = trainees[0].member.training
    optimiser = optimiser_for(inputs.device, shared.optimiser)(
        parameters,
        kind=shared.optimiser,
        learning_rates=[t.member.training.learning_rate for t in trainees],
        weight_decays=[t.member.training.weight_decay for t in trainees],
        decay=shared.decay,
        momentum=shared.momentum,
    )
    going, epoch = list(trainees), 0
    while going:
        epoch += 1
        train_losses = _train_epoch(head, optimiser, inputs, going, epoch)
        points = zip(going, _weights(head, len(going)), train_losses, *_score(head, inputs, going, prior), strict=True)
        for row, (trainee, weights, *point) in enumerate(points):
            if trainee.record(epoch, weights, *point):
                trainee.keep([p.detach()[row] for p in parameters])
            if trainee.on_plateau(epoch):
                optimiser.slow_down(row, trainee.member.training.plateau_decay)
        staying = [row for row, trainee in enumerate(going) if trainee.goes_on(epoch)]
        if 0 < len(staying) < len(going):
            head.keep(staying)
            optimiser.keep(staying)
        going = [going[row] for row in staying]
    optimiser.close()


def _train_epoch(
    head: FusionHead, optimiser: StackedOptimiser, inputs: Inputs, going: Sequence[Trainee], epoch: int
) -> list[float]:
    """Run one epoch and return each member's mean training loss, as met on the way."""
    head.train()
    head.reseed([trainee.member.seed + epoch for trainee in going])
    places = torch.tensor([trainee.place for trainee in going], device=inputs.device)
    weights_of = torch.from_numpy(np.stack([t.roster.class_weights for t in going])).to(inputs.device)
    smoothing = torch.tensor([[t.member.training.label_smoothing] for t in going], device=inputs.device)
    total, count = (torch.zeros(len(going), device=inputs.device) for _ in range(2))
    for reading, moving in epoch_readings(inputs, going):
        labels = inputs.labels[reading.samples]
        weights = weights_of.gather(1, labels) * reading.real
        losses = cross_entropies(head(*inputs.batch(reading, places)), labels, smoothing) * weights
        loss = losses.sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
        extra = head.auxiliary_loss()
        whole = loss if extra is None else loss + extra * reading.real.any(dim=1)
        torch.autograd.backward(whole.sum())
        optimiser.step(moving)
        total += losses.detach().sum(dim=1)
        count += weights.sum(dim=1)
    return [float(loss) for loss in (total / count).tolist()]


def _weights(head: FusionHead, members: int) -> list[dict[str, float]]:
    """Return what each member weighs a modality after an epoch; nothing of a head that does not, or by class."""
    weights = head.modality_weights()
    if weights is None or weights.ndim > 2:
        return [{}] * members
    names = [f"weight of {modality}" for modality in head.frame.modalities]
    return [dict(zip(names, own, strict=True)) for own in weights.tolist()]


def cross_entropies(logits: Tensor, labels: Tensor, smoothing: Tensor | float = 0.0) -> Tensor:
    """Return the cross-entropy (M, B) of logits (M, B, K), towards the label and a share of every class alike."""
    logs = logits.log_softmax(dim=2)
    hit = -logs.gather(2, labels[..., None]).squeeze(2)
    if isinstance(smoothing, float) or not smoothing.any():
        return hit
    return (1 - smoothing) * hit - smoothing * logs.mean(dim=2)


def _score(
    head: FusionHead, inputs: Inputs, going: Sequence[Trainee], prior: Tensor
) -> tuple[list[float], list[float]]:
    """Return each member's mean loss and accuracy on its validation part."""
    positions = [trainee.member.split.val for trainee in going]
    places = [trainee.place for trainee in going]
    logits, samples, real, _ = speak(head, inputs, places, positions, prior, weigh=False)
    labels, counts = inputs.labels[samples], real.sum(dim=1)
    losses = (cross_entropies(logits, labels) * real).sum(dim=1) / counts
    hits = ((logits.argmax(dim=2) == labels) & real).sum(dim=1) / counts
    return losses.tolist(), hits.tolist()


STACK_BYTES = 1 << 30  # what the members of one stack may hold together
_NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")  # how torch words it in a RuntimeError

Work = TypeVar("Work")


def train_together(
    head: type[FusionHead],
    config: HeadConfig,
    block: FeatureBlock,
    values: Mapping[str, Tensor],
    modalities: Sequence[str],
    members: Sequence[Member],
) -> Stack:
    """Train members that agree in `TrainingConfig.shape` as one stack, each on the rows of its split's repeat."""
    shared = members[0].training
    splits = [member.split for member in members]
    inputs = Inputs(block, values, modalities, splits, shared.input_norm, shared.precision)
    return train_stacked(partial(head, config), block, inputs, members)


def stacks(
    work: Sequence[Work],
    settings: Callable[[Work], tuple[HeadConfig, TrainingConfig]],
    head: type[FusionHead],
    widths: Mapping[str, int],
    n_classes: int,
    *,
    members: int = 1,
) -> list[list[Work]]:
    """Deal work of so many `members` each into stacks: alike in shape, no more than fit into memory together.

    `widths` are those of their modalities. Raises TrainingError if one member alone needs more memory than is free.
    """
    alike: dict[Any, list[Work]] = defaultdict(list)
    for own in work:
        config, training = settings(own)
        alike[config, training.shape].append(own)
    found = []
    for same in alike.values():
        config, training = settings(same[0])
        needed = member_bytes(partial(head, config), widths, n_classes, training)
        free = psutil.virtual_memory().available
        if needed > free:
            name = head.__module__.rpartition(".")[2]
            raise TrainingError(
                f"one {name} on {'+'.join(sorted(widths))} needs about {needed / 1e9:.1f} GB to train, and "
                f"{free / 1e9:.1f} GB are free: lower width or batch_size, or use a larger machine"
            )
        fit = max(1, int(min(STACK_BYTES, free // 2) // needed) // members)
        found += [same[start : start + fit] for start in range(0, len(same), fit)]
    return found


def in_memory(train: Callable[[Sequence[Work]], Stack], work: Sequence[Work]) -> Iterator[tuple[Sequence[Work], Stack]]:
    """Train work as one stack, or where memory runs out as halves of it, and yield what was trained with its stack.

    Raises TrainingError if there is no memory for one member alone.
    """
    waiting = [work]
    while waiting:
        own, stack = waiting.pop(), None
        try:
            stack = train(own)
        except (RuntimeError, MemoryError) as error:
            full = isinstance(error, MemoryError | torch.OutOfMemoryError)
            if not full and not any(words in str(error) for words in _NO_MEMORY):
                raise
        if stack is not None:
            yield own, stack
            continue
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(own) == 1:
            raise TrainingError("memory ran out with a single member: lower width or batch_size, or free memory")
        half = len(own) // 2
        waiting += [own[half:], own[:half]]
