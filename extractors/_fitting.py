"""One training: Adam, batches alike in length, learning-rate decay and early stopping; deterministic from a seed."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from extractors.devices import at_most, computing, pick_device, pick_dtype
from extractors.trainable import Trainable
from extractors.training import TrainConfig
from stores.encoders import Epoch
from stores.errors import ConfigError

_BUCKET = 8  # batches are formed by length within so many of them


@dataclass(frozen=True)
class Crowd:
    """Decoded items and their labels (n,) int64."""

    items: Sequence[Any]
    labels: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """The best epoch's weights, without the classifier, and the whole curve."""

    weights: Mapping[str, np.ndarray]
    curves: tuple[Epoch, ...]
    best_epoch: int


def fit(
    extractor: Trainable[Any],
    fitted: Crowd,
    stopping: Crowd,
    plan: TrainConfig,
    *,
    classes: int,
    device: str,
    advance: Callable[[], None],
) -> Fitted:
    """Train the extractor's network under a linear classifier and return the weights of its best epoch."""
    place = pick_device(device)
    with at_most(extractor.threads), torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(plan.seed)
        network = extractor.network(plan.seed)
        if (state := extractor.given_state()) is not None:
            network.load_state_dict(state)
        extractor.learn_statistics(network, fitted.items)
        head = nn.Sequential(nn.Dropout(plan.dropout), nn.Linear(extractor.spec().dim, classes))
        weights = _class_weights(fitted.labels, classes) if plan.balanced else torch.ones(classes)
        return _Training(extractor, network.to(place), head.to(place), weights.to(place), plan).run(
            fitted, stopping, advance
        )


class _Training:
    """The network under a classifier, its optimiser and its random numbers."""

    def __init__(
        self, extractor: Trainable[Any], network: nn.Module, head: nn.Module, weights: Tensor, plan: TrainConfig
    ) -> None:
        self.extractor, self.network, self.plan, self.weights = extractor, network, plan, weights
        self.model = nn.ModuleList([network, head])
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True
        )
        self.generator = np.random.default_rng(plan.seed)
        self.dtype = pick_dtype(weights.device, plan.numerics if extractor.trains_mixed else "exact")

    def run(self, fitted: Crowd, stopping: Crowd, advance: Callable[[], None]) -> Fitted:
        plan, curves, best = self.plan, list[Epoch](), (0, float("inf"), dict[str, Tensor]())
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimiser, factor=plan.decay, patience=plan.decay_patience
        )
        for number in range(1, plan.epochs + 1):
            curves.append(self._epoch(number, fitted, stopping))
            advance()
            loss = curves[-1].val_loss
            schedule.step(loss)
            if loss < best[1]:
                best = number, loss, {name: value.clone() for name, value in self.network.state_dict().items()}
            if number - best[0] >= plan.patience:
                break
        if not best[0]:
            raise ConfigError(f"the training diverged: lower learning_rate (it is {plan.learning_rate})")
        return Fitted({name: value.cpu().numpy() for name, value in best[2].items()}, tuple(curves), best[0])

    def _epoch(self, number: int, fitted: Crowd, stopping: Crowd) -> Epoch:
        started, rate = time.perf_counter(), float(self.optimiser.param_groups[0]["lr"])
        self.model.train()
        train_loss, train_accuracy = self._passed(fitted, self._shuffled(fitted), learn=True)
        self.model.eval()
        with torch.inference_mode():
            val_loss, val_accuracy = self._passed(stopping, self._in_order(stopping), learn=False)
        return Epoch(
            epoch=number,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - started,
        )

    def _passed(self, crowd: Crowd, batches: Iterable[np.ndarray], *, learn: bool) -> tuple[float, float]:
        """Return (weighted mean cross-entropy, accuracy) of one pass over the batches."""
        loss = weight = hits = 0.0
        network, head = self.model
        for batch in batches:
            items: Sequence[Any] = [crowd.items[i] for i in batch]
            if learn and self.plan.augment:
                items = self.extractor.augmented(items, self.generator)
            labels = torch.from_numpy(crowd.labels[batch]).to(self.weights.device)
            with computing(labels.device, self.dtype):
                rows = network(*(tensor.to(labels.device) for tensor in self.extractor.batch(items)))
            logits = head(rows.float())
            total, mass = cross_entropy(logits, labels, self.weights, reduction="sum"), self.weights[labels].sum()
            if learn:
                self.optimiser.zero_grad()
                (total / mass).backward()  # type: ignore[no-untyped-call]
                self.optimiser.step()
            loss, weight = loss + total.item(), weight + mass.item()
            hits += (logits.argmax(dim=1) == labels).sum().item()
        return loss / weight, hits / len(crowd.labels)

    def _shuffled(self, crowd: Crowd) -> list[np.ndarray]:
        """Return batches of positions in random order, alike in length within buckets of a few batches."""
        order = self.generator.permutation(len(crowd.labels))
        bucket = _BUCKET * self.plan.batch_size
        batches = [b for i in range(0, len(order), bucket) for b in self._cut(crowd, order[i : i + bucket])]
        return [batches[i] for i in self.generator.permutation(len(batches))]

    def _in_order(self, crowd: Crowd) -> list[np.ndarray]:
        return self._cut(crowd, np.arange(len(crowd.labels)))

    def _cut(self, crowd: Crowd, positions: np.ndarray) -> list[np.ndarray]:
        """Return batches alike in length and nearly equal in size: batch norm cannot learn from a single item."""
        lengths = [self.extractor.length(crowd.items[i]) for i in positions]
        count = -(-len(positions) // self.plan.batch_size)
        return np.array_split(positions[np.argsort(lengths, kind="stable")], count)


def _class_weights(labels: np.ndarray, classes: int) -> Tensor:
    """Return (classes,) float32 that give every class present the same total weight."""
    counts = np.bincount(labels, minlength=classes)
    share = np.where(counts > 0, len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(share.astype(np.float32))
