"""One training: batches alike in length, learning-rate decay and early stopping; deterministic from a seed."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from extractors._crowd import Crowd
from extractors.trainable import Trainable, at_most, computing, moved, pick_device, pick_dtype
from extractors.training import TrainConfig
from stores.encoders import Checkpoints, Epoch

_BUCKET = 8  # batches are formed by length within so many of them


@dataclass(frozen=True)
class Fitted:
    """The best epoch's weights, without the classifier, and the whole curve; `best_epoch` 0: it diverged."""

    weights: Mapping[str, np.ndarray]
    curves: tuple[Epoch, ...]
    best_epoch: int


@dataclass
class _Progress:
    """How far a training is: `best` holds the weights of the best epoch, `slowed` is when the rate was last cut."""

    curves: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    slowed: int = 0
    best: Mapping[str, Tensor] = field(default_factory=dict)

    def improves(self) -> bool:
        """Return whether the last epoch is the best so far."""
        loss = self.curves[-1].val_loss
        return loss < (self.curves[self.best_epoch - 1].val_loss if self.best_epoch else float("inf"))


def fit(
    extractor: Trainable[Any],
    fitted: Crowd,
    stopping: Crowd,
    plan: TrainConfig,
    *,
    classes: int,
    device: str,
    advance: Callable[[int], None],
    checkpoints: Checkpoints,
    checkpoint_every: float,
) -> Fitted:
    """Train the extractor's network under a linear classifier and return the weights of its best epoch.

    `advance` is told of every epoch done; a state that `checkpoints` hold is gone on from.
    """
    place = pick_device(device)
    with at_most(extractor.threads), torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(plan.seed)
        network = extractor.network(plan.seed)
        if (state := extractor.given_state()) is not None:
            network.load_state_dict(state)
        extractor.learn_statistics(network, fitted)
        head = nn.Sequential(nn.Dropout(plan.dropout), nn.Linear(extractor.spec().dim, classes))
        weights = _class_weights(fitted.labels, classes) if plan.balance == "weights" else torch.ones(classes)
        training = _Training(extractor, network.to(place), head.to(place), weights.to(place), plan)
        return training.run(fitted, stopping, advance, checkpoints, checkpoint_every)


class _Training:
    """The network under a classifier, its optimiser and its random numbers."""

    def __init__(
        self, extractor: Trainable[Any], network: nn.Module, head: nn.Module, weights: Tensor, plan: TrainConfig
    ) -> None:
        self.extractor, self.network, self.plan, self.weights = extractor, network, plan, weights
        self.model = nn.ModuleList([network, head])
        self.optimiser = _optimiser(self.model.parameters(), plan)
        self.generator = np.random.default_rng(plan.seed)
        self.dtype = pick_dtype(weights.device, plan.numerics if extractor.trains_mixed else "exact")

    def run(
        self,
        fitted: Crowd,
        stopping: Crowd,
        advance: Callable[[int], None],
        checkpoints: Checkpoints,
        checkpoint_every: float,
    ) -> Fitted:
        far, plan, saved = self._resumed(checkpoints), self.plan, time.monotonic()
        advance(len(far.curves))
        while len(far.curves) < plan.epochs and len(far.curves) - far.best_epoch < plan.patience:
            far.curves.append(self._epoch(len(far.curves) + 1, fitted, stopping))
            if far.improves():
                far.best_epoch = len(far.curves)
                far.best = {name: value.clone() for name, value in self.network.state_dict().items()}
            if len(far.curves) - max(far.best_epoch, far.slowed) >= plan.decay_patience:
                far.slowed = len(far.curves)
                self.optimiser.param_groups[0]["lr"] *= plan.decay
            if time.monotonic() - saved >= checkpoint_every:
                self._save(far, checkpoints)
                saved = time.monotonic()
            advance(1)
        weights = {name: value.cpu().numpy() for name, value in far.best.items()}
        return Fitted(weights, tuple(far.curves), far.best_epoch)

    def _save(self, far: _Progress, checkpoints: Checkpoints) -> None:
        notes = {
            "curves": [asdict(epoch) for epoch in far.curves],
            "best_epoch": far.best_epoch,
            "slowed": far.slowed,
            "rate": self.optimiser.param_groups[0]["lr"],
            "generator": self.generator.bit_generator.state,
        }
        checkpoints.save(to_arrays(self.model, self.optimiser, far.best), notes)

    def _resumed(self, checkpoints: Checkpoints) -> _Progress:
        found = checkpoints.load()
        if found is None:
            return _Progress()
        arrays, notes = found
        best = from_arrays(arrays, self.model, self.optimiser)
        self.optimiser.param_groups[0]["lr"] = notes["rate"]
        self.generator.bit_generator.state = notes["generator"]
        curves = [Epoch(**epoch) for epoch in notes["curves"]]
        return _Progress(curves, notes["best_epoch"], notes["slowed"], best)

    def _epoch(self, number: int, fitted: Crowd, stopping: Crowd) -> Epoch:
        started, rate = time.perf_counter(), float(self.optimiser.param_groups[0]["lr"])
        self.model.train()
        train_loss, train_accuracy = self._passed(fitted, self._drawn(fitted), learn=True)
        self.model.eval()
        with torch.inference_mode():
            everyone = np.stack([np.arange(len(stopping)), np.zeros(len(stopping), np.int64)], axis=1)
            val_loss, val_accuracy = self._passed(stopping, self._cut(stopping, everyone), learn=False)
        return Epoch(
            epoch=number,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - started,
        )

    def _passed(self, crowd: Crowd, batches: Sequence[np.ndarray], *, learn: bool) -> tuple[float, float]:
        """Return (weighted mean cross-entropy, accuracy) of one pass over batches (B, 2) of positions and versions."""
        loss, mass, hits = torch.zeros(3, dtype=torch.float64, device=self.weights.device)
        network, head = self.model
        every = crowd.items(np.concatenate(batches).tolist())
        for batch in batches:
            items: Sequence[Any] = list(islice(every, len(batch)))
            if learn and self.plan.augment:
                items = self.extractor.augmented(items, self.generator)
            labels = moved(torch.from_numpy(crowd.labels[batch[:, 0]]), self.weights.device)
            with computing(labels.device, self.dtype):
                rows = network(*(moved(tensor, labels.device) for tensor in self.extractor.batch(items)))
            logits = head(rows.float())
            total, weight = cross_entropy(logits, labels, self.weights, reduction="sum"), self.weights[labels].sum()
            if learn:
                self.optimiser.zero_grad()
                (total / weight).backward()  # type: ignore[no-untyped-call]
                self.optimiser.step()
            loss, mass = loss + total.detach(), mass + weight
            hits = hits + (logits.argmax(dim=1) == labels).sum()
        return (loss / mass).item(), hits.item() / sum(map(len, batches))

    def _drawn(self, crowd: Crowd) -> list[np.ndarray]:
        """Return batches in random order, alike in length within a few of them; each draw has a version at random."""
        positions = self.generator.permutation(len(crowd))
        if self.plan.balance == "resample":
            positions = self.generator.permutation(_resampled(crowd.labels, self.generator))
        versions = np.zeros(len(positions), np.int64)
        if crowd.lengths.shape[1] > 1:
            versions = self.generator.integers(crowd.lengths.shape[1], size=len(positions))
        draws = np.stack([positions, versions], axis=1)
        buckets = np.array_split(draws, -(-len(draws) // (_BUCKET * self.plan.batch_size)))
        batches = [batch for bucket in buckets for batch in self._cut(crowd, bucket)]
        return [batches[i] for i in self.generator.permutation(len(batches))]

    def _cut(self, crowd: Crowd, draws: np.ndarray) -> list[np.ndarray]:
        """Return batches alike in length and nearly equal in size: batch norm cannot learn from a single item."""
        lengths = crowd.lengths[draws[:, 0], draws[:, 1]]
        count = max(1, min(-(-len(draws) // self.plan.batch_size), len(draws) // 2))
        return np.array_split(draws[np.argsort(lengths, kind="stable")], count)


def _optimiser(parameters: Iterable[nn.Parameter], plan: TrainConfig) -> torch.optim.Optimizer:
    rate, decay = plan.learning_rate, plan.weight_decay
    if plan.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=plan.momentum, weight_decay=decay, fused=True)
    if plan.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=rate, momentum=plan.momentum, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)


def _resampled(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return (n,) positions with equal numbers of every class present: each class whole, then drawn again at random."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    shares = np.array_split(np.arange(len(labels)), len(members))
    drawn = [
        np.concatenate([generator.permutation(own)[: len(share)], generator.choice(own, max(0, len(share) - len(own)))])
        for own, share in zip(members, shares, strict=True)
    ]
    return np.concatenate(drawn)


def _class_weights(labels: np.ndarray, classes: int) -> Tensor:
    """Return (classes,) float32 that give every class present the same total weight."""
    counts = np.bincount(labels, minlength=classes)
    share = np.where(counts > 0, len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(share.astype(np.float32))


def to_arrays(model: nn.Module, optimiser: torch.optim.Optimizer, best: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return model, moments, best weights and torch's random state, each under a name of its own."""
    found = {f"model/{name}": value for name, value in model.state_dict().items()}
    found |= {f"best/{name}": value for name, value in best.items()}
    for number, moments in optimiser.state_dict()["state"].items():
        found |= {f"optimiser/{number}/{name}": value for name, value in moments.items() if isinstance(value, Tensor)}
    found["random/cpu"] = torch.get_rng_state()
    device = next(model.parameters()).device
    if device.type == "cuda":
        found["random/cuda"] = torch.cuda.get_rng_state(device)
    return {name: value.cpu().numpy() for name, value in found.items()}


def from_arrays(
    arrays: Mapping[str, np.ndarray], model: nn.Module, optimiser: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Put everything back where `to_arrays` took it from; return the best weights."""
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    model.load_state_dict(_under("model", tensors))
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimiser", tensors).items():
        number, _, kind = name.partition("/")
        like = parameters[int(number)]
        laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value  # channels last, say
        moments.setdefault(int(number), {})[kind] = laid_out
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    torch.set_rng_state(tensors["random/cpu"])
    device = next(model.parameters()).device
    if device.type == "cuda" and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"], device)
    return {name: value.to(device) for name, value in _under("best", tensors).items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.partition("/")[2]: value for name, value in tensors.items() if name.startswith(f"{prefix}/")}
