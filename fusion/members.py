"""One member of a stack: what it is trained on and how, and what it remembers between epochs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fusion.balance import Roster
from fusion.errors import Diverged
from fusion.splits import Split
from fusion.training_config import TrainingConfig


def member_seed(seed: int, repeat: int) -> int:
    """Return the seed of a repeat, the same for every head: 32 bits of a hash of the study's seed and the repeat."""
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


@dataclass(frozen=True, kw_only=True)
class Member:
    """One training to do: whom it trains, stops and is tested on, its seed and its settings."""

    split: Split
    seed: int
    training: TrainingConfig


@dataclass(kw_only=True)
class Trainee:
    """A member under way; `place` is its place in the full stack. Its random streams are its own."""

    place: int
    member: Member
    roster: Roster
    shuffle: np.random.Generator = field(init=False)
    drawing: np.random.Generator = field(init=False)
    hiding: np.random.Generator = field(init=False)
    curves: list[Mapping[str, float]] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = 0
    best_weights: list[Tensor] = field(default_factory=list)
    slowed: int = 0  # the epoch the rate was last cut in

    def __post_init__(self) -> None:
        self.shuffle, self.drawing, self.hiding = (
            np.random.default_rng([self.member.seed, stream]) for stream in (1, 2, 3)
        )

    def record(
        self, epoch: int, weights: Mapping[str, float], train_loss: float, val_loss: float, val_accuracy: float
    ) -> bool:
        """Add an epoch to the curves and return whether it is the best so far; `weights` are named as they go there."""
        if not math.isfinite(train_loss + val_loss):
            raise Diverged(
                f"repeat {self.member.split.repeat}, epoch {epoch}: the loss is not finite (training {train_loss}, "
                f"validation {val_loss}): lower the learning rate or the weight decay"
            )
        point = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
        self.curves.append({**point, **weights})
        if improved := val_loss < self.best:
            self.best, self.best_epoch = val_loss, epoch
        return improved

    def keep(self, weights: Sequence[Tensor]) -> None:
        """Copy the weights of the best epoch so far, into the memory of the last copy."""
        if not self.best_weights:
            self.best_weights = [torch.empty_like(own) for own in weights]
        for kept, own in zip(self.best_weights, weights, strict=True):
            kept.copy_(own)

    def on_plateau(self, epoch: int) -> bool:
        """Return whether the rate should be cut now: `plateau_epochs` since the best epoch, or since the last cut."""
        due = epoch - max(self.best_epoch, self.slowed) >= self.member.training.plateau_epochs
        if due:
            self.slowed = epoch
        return due

    def goes_on(self, epoch: int) -> bool:
        """Return whether it trains another epoch."""
        training = self.member.training
        return epoch < training.epochs and epoch - self.best_epoch < training.patience
