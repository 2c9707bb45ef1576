"""Training heads on cached features: one run after the other through a DataLoader of dicts, against stacks of twenty.

Everything is told per member and epoch. `floor_s` is what a member-epoch cannot do without: its matrix products and
Adam's way through weights and moments, each measured alone; `share` is the floor's part of our time.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks._fusion_block import WIDTHS, Trainer, planted, splits_of
from benchmarks._fusion_peer import load, train_one
from benchmarks._measure import ROUNDS, say
from fusion.stack import Stack
from fusion.training_config import PRESETS, TrainingConfig

ROWS, MEMBERS, EPOCHS = 4_000, 20, 8
BY_MEMBERS, BY_ROWS = (1, 4, 16, 64), (1_000, 4_000, 16_000, 64_000)
PAPER = TrainingConfig(epochs=EPOCHS, patience=EPOCHS)
FAST = TrainingConfig(**{**PRESETS["fast"], "epochs": EPOCHS, "patience": EPOCHS})


def main() -> None:
    block = planted(ROWS)
    splits = splits_of(block, MEMBERS)
    loaders, train = load(block, splits[0], PAPER.batch_size), Trainer(block)
    sides: dict[str, tuple[Callable[[], Any], int]] = {
        "peer": (lambda: train_one(block, loaders, PAPER, 0), EPOCHS),
        "ours": (lambda: train(splits, PAPER), MEMBERS * EPOCHS),
        "fast": (lambda: train(splits, FAST), MEMBERS * EPOCHS),
    }
    seconds = _in_turn(sides)
    floor = _floor(len(splits[0].train), PAPER.batch_size)
    say(
        "fusion_training",
        {
            "ratio": round(seconds["peer"] / seconds["ours"], 2),
            "fast_ratio": round(seconds["peer"] / seconds["fast"], 2),
            **{f"{name}_s": round(own, 4) for name, own in seconds.items()},
            "floor_s": round(floor, 4),
            "share": round(floor / seconds["ours"], 3),
            "by_members": {m: _cost(train, splits_of(block, max(m, 2))[:m]) for m in BY_MEMBERS},
            "by_rows": {rows: _growth(rows) for rows in BY_ROWS},
            **_validation(train, splits),
            "of": f"{MEMBERS} members, {ROWS} rows x {sum(WIDTHS.values())}, seconds a member and epoch",
        },
    )


def _in_turn(sides: dict[str, tuple[Callable[[], Any], int]]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS + 1):  # the first warms up
        for name, (work, epochs) in sides.items():
            started = time.perf_counter()
            work()
            if turn:
                times[name].append((time.perf_counter() - started) / epochs)
    return {name: statistics.median(own) for name, own in times.items()}


def _cost(train: Trainer, splits: list[Any]) -> float:
    started = time.perf_counter()
    train(splits, replace(PAPER, epochs=1))
    return round((time.perf_counter() - started) / len(splits), 4)


def _growth(rows: int) -> float:
    block = planted(rows)
    return _cost(Trainer(block), splits_of(block, 4))


def _floor(rows: int, batch: int) -> float:
    """Return seconds a member-epoch of forward product, weight gradient and Adam alone, for the stack's weights."""
    width, hidden = sum(WIDTHS.values()), PAPER.width
    weights = [torch.randn(width, hidden) for _ in range(MEMBERS)]
    first, second, gradient = (
        [torch.zeros(width, hidden) for _ in range(MEMBERS)],
        [torch.zeros(width, hidden) for _ in range(MEMBERS)],
        torch.zeros(width, hidden),
    )
    stacked, x, g = torch.stack(weights), torch.randn(MEMBERS, batch, width), torch.randn(MEMBERS, batch, hidden)
    step = torch.ones(())

    def one_step() -> None:
        torch.bmm(x, stacked)
        for m in range(MEMBERS):
            torch.mm(x[m].mT, g[m], out=gradient)
            torch._fused_adamw_(
                [weights[m]],
                [gradient],
                [first[m]],
                [second[m]],
                [],
                [step],
                lr=1e-4,
                beta1=0.9,
                beta2=0.999,
                weight_decay=0.0,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )

    times = []
    for turn in range(2 * ROUNDS):
        started = time.perf_counter()
        one_step()
        if turn:
            times.append(time.perf_counter() - started)
    return statistics.median(times) * (rows / batch) / MEMBERS


def _validation(train: Trainer, splits: list[Any]) -> dict[str, float]:
    """Return the mean best validation loss and accuracy of both ways, each trained to its end."""
    ends = {
        "ours": train(splits, TrainingConfig()),
        "fast": train(splits, TrainingConfig(**PRESETS["fast"])),
    }
    found = {}
    for name, stack in ends.items():
        best = [fitted.curves[fitted.best_epoch - 1] for fitted in stack.fitted]
        found[f"{name}_val_loss"] = round(statistics.mean(point["val_loss"] for point in best), 4)
        found[f"{name}_val_accuracy"] = round(statistics.mean(point["val_accuracy"] for point in best), 4)
        found[f"{name}_epochs"] = round(statistics.mean(_epochs(stack)), 1)
    return found


def _epochs(stack: Stack) -> list[int]:
    return [len(fitted.curves) for fitted in stack.fitted]


if __name__ == "__main__":
    main()
