"""What trainings share: how many of one kind fit into memory together, and training them as one stack."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import psutil
import torch
from torch import Tensor

from fusion.errors import TrainingError
from fusion.heads._head import FusionHead, HeadConfig
from fusion.inputs import Inputs
from fusion.members import Member
from fusion.stack import Stack
from fusion.training import member_bytes, train_stacked
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock

STACK_BYTES = 1 << 30  # what the members of one stack may hold together
_NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")  # how torch words it in a RuntimeError

Work = TypeVar("Work")


def fitting(
    head: type[FusionHead], config: HeadConfig, training: TrainingConfig, widths: Mapping[str, int], n_classes: int
) -> int:
    """Return how many members of a kind may train together; `widths` are those of their modalities.

    Raises TrainingError if one member alone needs more memory than is free.
    """
    needed, free = member_bytes(partial(head, config), widths, n_classes, training), psutil.virtual_memory().available
    if needed > free:
        name = head.__module__.rpartition(".")[2]
        raise TrainingError(
            f"one {name} on {'+'.join(sorted(widths))} needs about {needed / 1e9:.1f} GB to train, and "
            f"{free / 1e9:.1f} GB are free: lower width or batch_size, or use a larger machine"
        )
    return max(1, int(min(STACK_BYTES, free // 2) // needed))


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


def in_memory(train: Callable[[Sequence[Work]], Stack], work: Sequence[Work]) -> Iterator[tuple[Sequence[Work], Stack]]:
    """Train work as one stack, or where memory runs out as halves of it, and yield what was trained with its stack.

    Raises TrainingError if there is no memory for one member alone.
    """
    waiting = [work]
    while waiting:
        own = waiting.pop()
        stack = _unless_memory_runs_out(train, own)
        if stack is not None:
            yield own, stack
        elif len(own) > 1:
            half = len(own) // 2
            waiting += [own[half:], own[:half]]
        else:
            raise TrainingError("memory ran out with a single member: lower width or batch_size, or free memory")


def _unless_memory_runs_out(train: Callable[[Sequence[Work]], Stack], work: Sequence[Work]) -> Stack | None:
    try:
        return train(work)
    except (RuntimeError, MemoryError) as error:
        full = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not full and not any(words in str(error) for words in _NO_MEMORY):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
