"""What trainings share: how many of one kind fit into memory together, and training them as one stack."""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from fusion.heads._head import FusionHead, HeadConfig
from fusion.inputs import Inputs
from fusion.members import Member
from fusion.stack import Stack
from fusion.training import member_bytes, train_stacked
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock

STACK_BYTES = 1 << 30  # what the members of one stack may hold together


def fitting(
    head: type[FusionHead], config: HeadConfig, training: TrainingConfig, widths: Mapping[str, int], n_classes: int
) -> int:
    """Return how many members of a kind may train together, 1 at least; `widths` are those of their modalities."""
    return max(1, STACK_BYTES // member_bytes(partial(head, config), widths, n_classes, training))


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
