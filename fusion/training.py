"""Train many members of one head as one stacked model, each exactly as if it were alone."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusion.balance import Roster, make_roster
from fusion.heads._head import Frame, FusionHead
from fusion.inputs import Condition, Inputs, Reading
from fusion.members import Member, Trainee
from fusion.optimiser import StackedOptimiser
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock

_SCORED_AT_ONCE = 128  # samples a member
_COPIES = 5  # of each weight: itself, its gradient, two moments, the best epoch's

Build = Callable[[Frame], FusionHead]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a member says of one part: posteriors (n, K) float32 in the order of its split.

    `weights` (n, modalities) float32 are those of a head that weighs by sample.
    """

    posteriors: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """How one member's training went; `weights` is (modalities,) or (modalities, K), None for a head without."""

    best_epoch: int
    curves: tuple[Mapping[str, float], ...]
    weights: np.ndarray | None
    roster: Roster
    val: Scored
    seconds: float


def member_bytes(build: Build, widths: Mapping[str, int], n_classes: int, training: TrainingConfig) -> int:
    """Return about how much memory one member of a stack takes while it trains."""
    head = build(_frame(widths, n_classes, [Member(split=None, seed=0, training=training)]))  # type: ignore[arg-type]
    weights = sum(parameter.numel() for parameter in head.parameters())
    batch = max(training.batch_size, _SCORED_AT_ONCE) * sum(widths.values())
    return 4 * (_COPIES * weights + 3 * batch)


class Stack:
    """Members that are trained: `fitted` says how it went, `predict` lets them speak of a part of their split.

    The test part is not touched before it is asked for.
    """

    def __init__(self, head: FusionHead, inputs: Inputs, members: Sequence[Member], prior: Tensor) -> None:
        self.head = head
        self.inputs = inputs
        self.members = members
        self.prior = prior
        self.fitted: list[Fitted] = []

    def predict(self, part: str, condition: Condition | None = None) -> list[Scored]:
        """Return what each member says of its `part`: val or test, under a condition if one is given."""
        positions = [getattr(member.split, part) for member in self.members]
        places = list(range(len(self.members)))
        found = _forward(self.head, self.inputs, places, positions, self.prior, condition)
        rows = found.logits.softmax(dim=2).cpu().numpy()
        mask = found.real.cpu().numpy()
        weights = found.weights.cpu().numpy() if found.weights is not None else None
        return [
            Scored(posteriors=rows[m][mask[m]], weights=None if weights is None else weights[m][mask[m]])
            for m in places
        ]


def train_stacked(build: Build, block: FeatureBlock, inputs: Inputs, members: Sequence[Member]) -> Stack:
    """Train the members and return them in order, each with the weights of its best epoch.

    `inputs` was made for the same splits, and all settings agree in `TrainingConfig.shape`. Where there are views, each
    sample of an epoch is read in a version drawn at random, itself or one of its views, every modality in the same. A
    finished member leaves the stack, so it costs nothing and disturbs nobody. Raises TrainingError if a loss is not
    finite.
    """
    began = time.perf_counter()
    head = build(_frame(inputs.widths, len(block.classes), members)).to(inputs.device)
    trainees = [
        Trainee(place=place, member=member, roster=_roster(block, inputs, place, member))
        for place, member in enumerate(members)
    ]
    prior = torch.stack([_prior(block, member) for member in members]).to(inputs.device)
    _fit(head, inputs, trainees, prior)
    for parameter, best in zip(head.parameters(), zip(*(t.best_weights for t in trainees), strict=True), strict=True):
        parameter.data = torch.stack(best)
    stack = Stack(head, inputs, members, prior)
    weights = head.modality_weights()
    val = stack.predict("val")
    seconds = (time.perf_counter() - began) / len(members)
    stack.fitted = [
        Fitted(
            best_epoch=trainee.best_epoch,
            curves=tuple(trainee.curves),
            weights=None if weights is None else weights[trainee.place].cpu().numpy(),
            roster=trainee.roster,
            val=val[trainee.place],
            seconds=seconds,
        )
        for trainee in trainees
    ]
    return stack


def _frame(widths: Mapping[str, int], n_classes: int, members: Sequence[Member]) -> Frame:
    training = members[0].training
    return Frame(
        widths=widths,
        n_classes=n_classes,
        hidden=training.width,
        dropout=[member.training.dropout for member in members],
        seeds=[member.seed for member in members],
        classifier=training.classifier,
    )


def _roster(block: FeatureBlock, inputs: Inputs, place: int, member: Member) -> Roster:
    return make_roster(
        block,
        inputs.seen(place, member.split.train),
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
    optimiser = StackedOptimiser(
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
        points = zip(going, train_losses, *_score(head, inputs, going, prior), strict=True)
        for row, (trainee, *point) in enumerate(points):
            if trainee.record(epoch, *point):
                trainee.best_weights = [p.detach()[row].clone() for p in parameters]
            if trainee.on_plateau(epoch):
                optimiser.slow_down(row, trainee.member.training.plateau_decay)
        staying = [row for row, trainee in enumerate(going) if trainee.goes_on(epoch)]
        if 0 < len(staying) < len(going):
            head.keep(staying)
            optimiser.keep(staying)
        going = [going[row] for row in staying]


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
    for reading, moving in _readings(inputs, going):
        labels = inputs.labels[reading.samples]
        weights = weights_of.gather(1, labels) * reading.real
        losses = _losses(head(*inputs.batch(reading, places)), labels, smoothing) * weights
        loss = losses.sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
        extra = head.auxiliary_loss()
        (loss if extra is None else loss + extra * reading.real.any(dim=1)).sum().backward()
        optimiser.step(moving)
        total += losses.detach().sum(dim=1)
        count += weights.sum(dim=1)
    return [float(loss) for loss in (total / count).tolist()]


def _readings(inputs: Inputs, going: Sequence[Trainee]) -> list[tuple[Reading, list[bool]]]:
    """Return the steps of one epoch, and in each whose turn it is."""
    size = going[0].member.training.batch_size
    orders = [trainee.shuffle.permutation(len(trainee.roster.samples)) for trainee in going]
    rosters = [trainee.roster for trainee in going]

    def dealt(columns: Sequence[np.ndarray]) -> Tensor:
        return _batches(columns, size)[0].to(inputs.device)

    samples, real = (
        part.to(inputs.device) for part in _batches([r.samples[o] for r, o in zip(rosters, orders, strict=True)], size)
    )
    columns: dict[str, Tensor] = {}
    if inputs.versions > 1:
        columns["versions"] = dealt([_versions(t, o, inputs.versions) for t, o in zip(going, orders, strict=True)])
    if any(roster.partners is not None for roster in rosters):
        columns["partners"] = dealt([r.partner_of(o) for r, o in zip(rosters, orders, strict=True)])
        columns["mix"] = dealt([r.mix_of(o) for r, o in zip(rosters, orders, strict=True)])
    if any(trainee.member.training.modality_dropout for trainee in going):
        columns["hidden"] = dealt(
            [_hidden(t, inputs, r.samples[o]) for t, r, o in zip(going, rosters, orders, strict=True)]
        )
    moving = real.any(dim=2).tolist()
    return [
        (Reading(samples=samples[i], real=real[i], **{name: own[i] for name, own in columns.items()}), moving[i])
        for i in range(len(samples))
    ]


def _versions(trainee: Trainee, order: np.ndarray, versions: int) -> np.ndarray:
    """Draw for every sample of an epoch which version of it is read."""
    viewed = trainee.roster.viewed
    if viewed is None:
        return trainee.drawing.integers(versions, size=len(order))
    return np.where(viewed[order], trainee.drawing.integers(1, versions, size=len(order)), 0)


def _hidden(trainee: Trainee, inputs: Inputs, samples: np.ndarray) -> np.ndarray:
    """Draw (E, modalities) bool: what is hidden this epoch; of what a sample has at least one stays."""
    share = trainee.member.training.modality_dropout
    there = inputs.there[trainee.place].cpu().numpy()[samples]
    drawn = trainee.hiding.random(there.shape)
    hidden = there & (drawn < share)
    last = np.argmax(np.where(there, drawn, -1), axis=1)  # of what is there, the least likely to be hidden
    hidden[np.arange(len(samples)), last] = False
    return hidden


def _batches(parts: Sequence[np.ndarray], size: int) -> tuple[Tensor, Tensor]:
    """Deal each member's values (E, ...) into batches: (steps, M, size, ...), and bool: False where padded.

    Members may differ in length: one that is through repeats its first value, and none of that counts.
    """
    longest = max(len(part) for part in parts)
    steps = math.ceil(longest / size)
    dealt = np.stack([np.concatenate([part, np.repeat(part[:1], steps * size - len(part), axis=0)]) for part in parts])
    real = np.stack([np.arange(steps * size) < len(part) for part in parts])
    rest = dealt.shape[2:]
    samples, counted = (
        torch.from_numpy(rows.reshape(len(parts), steps, size, *more).swapaxes(0, 1).copy())
        for rows, more in ((dealt, rest), (real, ()))
    )
    return samples, counted


def _losses(logits: Tensor, labels: Tensor, smoothing: Tensor | float = 0.0) -> Tensor:
    """Return the cross-entropy (M, B) of logits (M, B, K), towards the label and a share of every class alike."""
    logs = logits.log_softmax(dim=2)
    hit = -logs.gather(2, labels[..., None]).squeeze(2)
    if isinstance(smoothing, float) or not smoothing.any():
        return hit
    return (1 - smoothing) * hit - smoothing * logs.mean(dim=2)


@dataclass(frozen=True, kw_only=True)
class _Spoken:
    """Logits (M, n, K), positions and whether real (M, n), and weights (M, n, modalities) of a head that has such."""

    logits: Tensor
    samples: Tensor
    real: Tensor
    weights: Tensor | None


@torch.inference_mode()
def _forward(
    head: FusionHead,
    inputs: Inputs,
    places: Sequence[int],
    positions: Sequence[np.ndarray],
    prior: Tensor,
    condition: Condition | None = None,
    weigh: bool = True,
) -> _Spoken:
    """Let each member speak of its positions, n being the most of them, padded to whole batches."""
    head.eval()
    size = min(_SCORED_AT_ONCE, max(len(own) for own in positions))
    samples, real = (dealt.to(inputs.device) for dealt in _batches(positions, size))
    members = torch.tensor(places, device=inputs.device)
    logits, weights = [], []
    for batch, counted in zip(samples, real, strict=True):
        x, present = inputs.batch(Reading(samples=batch, real=counted), members)
        if condition is not None:
            x, present = condition(x, present, places)
        sees = present.any(dim=2, keepdim=True)
        logits.append(torch.where(sees, head(x, present), prior[members][:, None]))
        own = head.sample_weights(x, present) if weigh else None
        if own is not None:
            weights.append(own)
    return _Spoken(
        logits=torch.cat(logits, dim=1),
        samples=samples.swapaxes(0, 1).flatten(1),
        real=real.swapaxes(0, 1).flatten(1),
        weights=torch.cat(weights, dim=1) if weights else None,
    )


def _score(
    head: FusionHead, inputs: Inputs, going: Sequence[Trainee], prior: Tensor
) -> tuple[list[float], list[float]]:
    """Return each member's mean loss and accuracy on its validation part."""
    positions = [trainee.member.split.val for trainee in going]
    spoken = _forward(head, inputs, [trainee.place for trainee in going], positions, prior, weigh=False)
    labels, counts = inputs.labels[spoken.samples], spoken.real.sum(dim=1)
    losses = (_losses(spoken.logits, labels) * spoken.real).sum(dim=1) / counts
    hits = ((spoken.logits.argmax(dim=2) == labels) & spoken.real).sum(dim=1) / counts
    return losses.tolist(), hits.tolist()
