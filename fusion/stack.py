"""Members of a stack: what each is trained on and how, what it reads in an epoch, and what it says once trained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fusion.balance import Roster
from fusion.errors import Diverged
from fusion.heads._head import FusionHead
from fusion.inputs import Condition, Inputs, Reading
from fusion.splits import Split
from fusion.training_config import TrainingConfig

SCORED_AT_ONCE = 256  # samples a member, at most


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
    """A member under way; `place` is its place in the full stack, `batch` the size of batches there.

    Its random streams are its own.
    """

    place: int
    batch: int
    member: Member
    roster: Roster
    shuffle: np.random.Generator = field(init=False)
    drawing: np.random.Generator = field(init=False)
    hiding: np.random.Generator = field(init=False)
    curves: list[Mapping[str, float]] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = 0
    best_weights: list[Tensor] = field(default_factory=list)
    mark: float = math.inf  # the loss of the last gain that counts, and its epoch
    marked: int = 0
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
        if val_loss < self.mark - self.member.training.least_gain:
            self.mark, self.marked = val_loss, epoch
        return improved

    def keep(self, weights: Sequence[Tensor]) -> None:
        """Copy the weights of the best epoch so far, into the memory of the last copy."""
        if not self.best_weights:
            self.best_weights = [torch.empty_like(own) for own in weights]
        for kept, own in zip(self.best_weights, weights, strict=True):
            kept.copy_(own)

    def epochs_of(self, count: int) -> int:
        """Return the epochs that a setting of `count` stands for: those of fewer than `epoch_steps` count in part."""
        steps = math.ceil(len(self.roster.samples) / self.batch)
        return count * math.ceil(self.member.training.epoch_steps / steps)

    def on_plateau(self, epoch: int) -> bool:
        """Return whether the rate should be cut now: `plateau_epochs` since the best epoch, or since the last cut."""
        due = epoch - max(self.best_epoch, self.slowed) >= self.epochs_of(self.member.training.plateau_epochs)
        if due:
            self.slowed = epoch
        return due

    def waits(self, epoch: int) -> bool:
        """Return whether it is within its patience, so that more epochs may be of use."""
        return epoch - self.marked < self.epochs_of(self.member.training.patience)

    def goes_on(self, epoch: int) -> bool:
        """Return whether it trains another epoch."""
        return epoch < self.epochs_of(self.member.training.epochs) and self.waits(epoch)


def epoch_readings(inputs: Inputs, going: Sequence[Trainee]) -> list[tuple[Reading, list[bool]]]:
    """Return the steps of one epoch, and in each whose turn it is."""
    size = going[0].batch
    turns = [(own, own.roster, own.shuffle.permutation(len(own.roster.samples))) for own in going]

    def dealt(columns: Sequence[np.ndarray]) -> Tensor:
        return deal(columns, size)[0].to(inputs.device)

    samples, real = (
        part.to(inputs.device) for part in deal([roster.samples[order] for _, roster, order in turns], size)
    )
    columns: dict[str, Tensor] = {}
    if inputs.versions > 1:
        columns["versions"] = dealt([_versions(own, order, inputs.versions) for own, _, order in turns])
    if any(roster.partners is not None for _, roster, _ in turns):
        columns["partners"] = dealt(
            [(own.samples if own.partners is None else own.partners)[order] for _, own, order in turns]
        )
        columns["mix"] = dealt(
            [np.zeros(len(order), np.float32) if own.mix is None else own.mix[order] for _, own, order in turns]
        )
    if any(own.member.training.modality_dropout for own in going):
        columns["hidden"] = dealt([_hidden(own, inputs, roster.samples[order]) for own, roster, order in turns])
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
    return np.asarray(np.where(viewed[order], trainee.drawing.integers(1, versions, size=len(order)), 0))


def _hidden(trainee: Trainee, inputs: Inputs, samples: np.ndarray) -> np.ndarray:
    """Draw (E, modalities) bool: what is hidden this epoch; of what a sample has at least one stays."""
    share = trainee.member.training.modality_dropout
    there = inputs.there[trainee.place].cpu().numpy()[samples]
    drawn = trainee.hiding.random(there.shape)
    hidden: np.ndarray = there & (drawn < share)
    last = np.argmax(np.where(there, drawn, -1), axis=1)  # of what is there, the least likely to be hidden
    hidden[np.arange(len(samples)), last] = False
    return hidden


def deal(parts: Sequence[np.ndarray], size: int) -> tuple[Tensor, Tensor]:
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


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a member says of one part: posteriors (n, K) float32 in the order of its split.

    `weights` (n, modalities) float32 are those of a head that weighs by sample.
    """

    posteriors: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """How one member's training went; `weights` is (modalities,) or (modalities, K), None for a head without.

    `unfinished`: the limit of epochs ended it, not its patience.
    """

    best_epoch: int
    unfinished: bool
    curves: tuple[Mapping[str, float], ...]
    weights: np.ndarray | None
    roster: Roster
    val: Scored
    seconds: float


@dataclass(eq=False)
class Stack:
    """Members that are trained: `fitted` says how it went, `predict` lets them speak of a part of their split.

    The test part is not touched before it is asked for.
    """

    head: FusionHead
    inputs: Inputs
    members: Sequence[Member]
    prior: Tensor
    fitted: list[Fitted] = field(default_factory=list)

    def predict(self, part: str, condition: Condition | None = None) -> list[Scored]:
        """Return what each member says of its `part`: val or test, under a condition if one is given."""
        positions = [getattr(member.split, part) for member in self.members]
        places = list(range(len(self.members)))
        logits, _, real, weighed = speak(self.head, self.inputs, places, positions, self.prior, condition)
        rows, mask = logits.softmax(dim=2).cpu().numpy(), real.cpu().numpy()
        weights = (
            [None] * len(rows) if weighed is None else [w[m] for w, m in zip(weighed.cpu().numpy(), mask, strict=True)]
        )
        return [Scored(posteriors=rows[m][mask[m]], weights=weights[m]) for m in places]


@torch.inference_mode()
def speak(
    head: FusionHead,
    inputs: Inputs,
    places: Sequence[int],
    positions: Sequence[np.ndarray],
    prior: Tensor,
    condition: Condition | None = None,
    weigh: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Let each member speak of its positions, n being the most of them, padded to whole batches.

    Return logits (M, n, K), positions and whether real (M, n), and weights (M, n, modalities) of a head that has such.
    """
    head.eval()
    longest = max(len(own) for own in positions)
    size = math.ceil(longest / math.ceil(longest / SCORED_AT_ONCE))  # as few batches, as even as can be
    samples, real = (dealt.to(inputs.device) for dealt in deal(positions, size))
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
    samples, real = (dealt.swapaxes(0, 1).flatten(1) for dealt in (samples, real))
    return torch.cat(logits, dim=1), samples, real, torch.cat(weights, dim=1) if weights else None
