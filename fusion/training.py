"""Train many members of one head as one stacked model, each exactly as if it were alone."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fusion.errors import TrainingError
from fusion.heads._head import Frame, FusionHead
from fusion.inputs import INPUT_NORMS, Inputs
from fusion.optimiser import StackedAdam
from fusion.splits import Split
from stores.errors import ConfigError

_SCORED_AT_ONCE = 128  # samples a member
_COPIES = 5  # of each weight: itself, its gradient, two moments, the best epoch's


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How every head of a study is trained: Adam on mean categorical cross-entropy, stopped on validation loss.

    `learning_rate`, `batch_size` and `epochs` are the reference paper's (Table 7). It names learning-rate decay, early
    stopping, dropout and L2 without amounts (audit A25): those are ours. Training stops `patience` epochs after the
    best one; after `plateau_epochs` without improvement the rate is multiplied by `plateau_decay`. `width` is the
    shared width of projections and hidden layers; `weight_decay` is decoupled; `input_norm` is batch, layer or none.
    """

    learning_rate: float = 1e-4
    batch_size: int = 32
    epochs: int = 50
    patience: int = 7
    plateau_decay: float = 0.5
    plateau_epochs: int = 3
    dropout: float = 0.3
    weight_decay: float = 1e-5
    width: int = 128
    input_norm: str = "batch"

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "patience", "plateau_epochs", "width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"training {name} should be 1 or more, got {getattr(self, name)}")
        if not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise ConfigError("training learning_rate should be above 0, and weight_decay 0 or more")
        if not (0 < self.plateau_decay <= 1 and 0 <= self.dropout < 1):
            raise ConfigError("training plateau_decay should be in (0, 1], and dropout in [0, 1)")
        if self.input_norm not in INPUT_NORMS:
            raise ConfigError(f"training input_norm should be one of {', '.join(INPUT_NORMS)}, got {self.input_norm!r}")


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One trained member. `val` and `test` are posteriors (n, K) float32 in the order of its split."""

    best_epoch: int
    curves: tuple[Mapping[str, float], ...]
    weights: Mapping[str, float]
    val: np.ndarray
    test: np.ndarray
    seconds: float


@dataclass(kw_only=True)
class _Member:
    """What one member remembers between epochs; `place` is its place in the full stack."""

    place: int
    seed: int
    split: Split
    shuffle: np.random.Generator
    drawing: np.random.Generator
    curves: list[Mapping[str, float]] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = 0
    best_weights: list[Tensor] = field(default_factory=list)
    slowed: int = 0  # the epoch the rate was last cut in

    def record(self, epoch: int, train_loss: float, val_loss: float, val_accuracy: float) -> bool:
        """Add an epoch to the curves and return whether it is the best so far."""
        if not math.isfinite(train_loss + val_loss):
            raise TrainingError(
                f"repeat {self.split.repeat}, epoch {epoch}: the loss is not finite (training {train_loss}, validation "
                f"{val_loss}): lower the learning rate, or look for features that are not finite"
            )
        point = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
        self.curves.append(point)
        if improved := val_loss < self.best:
            self.best, self.best_epoch = val_loss, epoch
        return improved

    def on_plateau(self, epoch: int, patience: int) -> bool:
        """Return whether the rate should be cut now: `patience` epochs since the best one, or since the last cut."""
        due = epoch - max(self.best_epoch, self.slowed) >= patience
        if due:
            self.slowed = epoch
        return due


def member_bytes(
    build: Callable[[Frame], FusionHead], widths: Mapping[str, int], n_classes: int, training: TrainingConfig
) -> int:
    """Return about how much memory one member of a stack takes while it trains."""
    head = build(Frame(widths=widths, n_classes=n_classes, hidden=training.width, dropout=training.dropout, seeds=[0]))
    weights = sum(parameter.numel() for parameter in head.parameters())
    batch = max(training.batch_size, _SCORED_AT_ONCE) * sum(widths.values())
    return 4 * (_COPIES * weights + 3 * batch)


def train_stacked(
    build: Callable[[Frame], FusionHead],
    inputs: Inputs,
    splits: Sequence[Split],
    seeds: Sequence[int],
    n_classes: int,
    training: TrainingConfig,
) -> list[Fitted]:
    """Train one member per split and return them in order; the test part is predicted once, at the end.

    `inputs` was made for the same splits. Where it has views, each sample of an epoch is read in a version drawn at
    random, itself or one of its views, every modality in the same. A finished member leaves the stack, so it costs
    nothing and disturbs nobody. Raises TrainingError if a loss is not finite.
    """
    began = time.perf_counter()
    frame = Frame(
        widths=inputs.widths, n_classes=n_classes, hidden=training.width, dropout=training.dropout, seeds=seeds
    )
    head = build(frame).to(inputs.device)
    stack = [
        _Member(
            place=place,
            seed=seed,
            split=split,
            shuffle=np.random.default_rng([seed, 1]),
            drawing=np.random.default_rng([seed, 2]),
        )
        for place, (seed, split) in enumerate(zip(seeds, splits, strict=True))
    ]
    _fit(head, inputs, stack, training)
    for parameter, best in zip(head.parameters(), zip(*(m.best_weights for m in stack), strict=True), strict=True):
        parameter.data = torch.stack(best)
    val, test = (_posteriors(head, inputs, stack, part) for part in ("val", "test"))
    seconds = (time.perf_counter() - began) / len(stack)
    return [
        Fitted(
            best_epoch=member.best_epoch,
            curves=tuple(member.curves),
            weights=weights,
            val=val[member.place],
            test=test[member.place],
            seconds=seconds,
        )
        for member, weights in zip(stack, head.modality_weights(), strict=True)
    ]


def _fit(head: FusionHead, inputs: Inputs, stack: Sequence[_Member], training: TrainingConfig) -> None:
    """Train until every member has stopped; each keeps the weights of its best epoch."""
    parameters = list(head.parameters())
    adam = StackedAdam(parameters, learning_rate=training.learning_rate, weight_decay=training.weight_decay)
    members = list(stack)
    for epoch in range(1, training.epochs + 1):
        train_losses = _train_epoch(head, adam, inputs, members, training.batch_size, epoch)
        for row, (member, *point) in enumerate(zip(members, train_losses, *_score(head, inputs, members), strict=True)):
            if member.record(epoch, *point):
                member.best_weights = [p.detach()[row].clone() for p in parameters]
            if member.on_plateau(epoch, training.plateau_epochs):
                adam.slow_down(row, training.plateau_decay)
        going = [row for row, member in enumerate(members) if epoch - member.best_epoch < training.patience]
        if not going:
            return
        if len(going) < len(members):
            head.keep(going)
            adam.keep(going)
            members = [members[row] for row in going]


def _train_epoch(
    head: FusionHead, adam: StackedAdam, inputs: Inputs, members: Sequence[_Member], batch_size: int, epoch: int
) -> list[float]:
    """Run one epoch and return each member's mean training loss, as met on the way."""
    head.train()
    head.reseed([member.seed + epoch for member in members])
    orders = [member.shuffle.permutation(member.split.train) for member in members]
    samples, real = (part.to(inputs.device) for part in _batches(orders, batch_size))
    drawn = [member.drawing.integers(inputs.versions, size=len(member.split.train)) for member in members]
    versions = _batches(drawn, batch_size)[0].to(inputs.device)
    moving = real.any(dim=2).tolist()
    places = _places(members, inputs.device)
    total = torch.zeros(len(members), device=inputs.device)
    for step, (batch, version, weights) in enumerate(zip(samples, versions, real.float(), strict=True)):
        losses = _losses(head(inputs.batch(batch, places, version)), inputs.labels[batch]) * weights
        (losses.sum(dim=1) / weights.sum(dim=1).clamp(min=1)).sum().backward()
        adam.step(moving[step])
        total += losses.detach().sum(dim=1)
    return [loss / len(order) for loss, order in zip(total.tolist(), orders, strict=True)]


def _batches(parts: Sequence[np.ndarray], size: int) -> tuple[Tensor, Tensor]:
    """Deal each member's samples into batches: (steps, M, size) int64 positions, and bool: False where padded.

    Members may differ in length: one that is through repeats its first sample, and none of that counts.
    """
    longest = max(len(part) for part in parts)
    shape = (len(parts), math.ceil(longest / size), size)
    dealt = [np.pad(part, (0, shape[1] * size - len(part)), constant_values=part[0]) for part in parts]
    real = [np.arange(shape[1] * size) < len(part) for part in parts]
    samples, counted = (np.stack(rows).reshape(shape).swapaxes(0, 1) for rows in (dealt, real))
    return torch.from_numpy(samples.copy()), torch.from_numpy(counted.copy())


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy (M, B) of logits (M, B, K)."""
    flat = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view(labels.shape)


def _places(members: Sequence[_Member], device: torch.device) -> Tensor:
    return torch.tensor([member.place for member in members], device=device)


@torch.inference_mode()
def _logits(head: FusionHead, inputs: Inputs, members: Sequence[_Member], part: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (M, n, K), labels and whether real (M, n), with n the longest part padded to whole batches."""
    head.eval()
    positions = [getattr(member.split, part) for member in members]
    size = min(_SCORED_AT_ONCE, max(len(own) for own in positions))
    samples, real = (dealt.to(inputs.device) for dealt in _batches(positions, size))
    places = _places(members, inputs.device)
    logits = torch.cat([head(inputs.batch(batch, places)) for batch in samples], dim=1)
    flat = samples.swapaxes(0, 1).flatten(1)
    return logits, inputs.labels[flat], real.swapaxes(0, 1).flatten(1)


def _score(head: FusionHead, inputs: Inputs, members: Sequence[_Member]) -> tuple[list[float], list[float]]:
    """Return each member's mean loss and accuracy on its validation part."""
    logits, labels, real = _logits(head, inputs, members, "val")
    counts = real.sum(dim=1)
    losses = (_losses(logits, labels) * real).sum(dim=1) / counts
    hits = ((logits.argmax(dim=2) == labels) & real).sum(dim=1) / counts
    return losses.tolist(), hits.tolist()


def _posteriors(head: FusionHead, inputs: Inputs, members: Sequence[_Member], part: str) -> list[np.ndarray]:
    posteriors, _, real = _logits(head, inputs, members, part)
    rows = posteriors.softmax(dim=2).cpu().numpy()
    return [own[mask] for own, mask in zip(rows, real.cpu().numpy(), strict=True)]
