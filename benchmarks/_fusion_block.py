"""Feature blocks of the paper's widths with classes planted in them, and stacks of weighted heads trained on them."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from fusion.heads.weighted import Weighted, WeightedConfig
from fusion.inputs import Inputs, to_device
from fusion.splits import ProtocolConfig, Split, make_splits
from fusion.stack import Member, Stack
from fusion.training import train_stacked
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock

WIDTHS = {"text": 768, "speech": 256, "image": 2048}
CLASSES = ("joy", "sadness", "anger", "fear", "neutral")
_EFFECT = 0.06  # distance of class means, in deviations of a dimension


def planted(rows: int, seed: int = 0) -> FeatureBlock:
    """Return `rows` samples, each a group of its own, every modality telling all classes, none of them surely."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), rows)
    names = tuple(f"s{i:06d}" for i in range(rows))
    return FeatureBlock(
        sample_ids=names,
        labels=labels,
        groups=np.array(names),
        classes=CLASSES,
        values={m: _values(rng, labels, width) for m, width in WIDTHS.items()},
        rows={m: np.arange(rows)[None] for m in WIDTHS},
    )


def _values(rng: np.random.Generator, labels: np.ndarray, width: int) -> np.ndarray:
    means = (_EFFECT * rng.normal(size=(len(CLASSES), width))).astype(np.float32)
    values = rng.standard_normal((len(labels), width), dtype=np.float32) + means[labels]
    return values.astype(np.float16)


def splits_of(block: FeatureBlock, repeats: int) -> list[Split]:
    """Return 70/15/15 splits."""
    return make_splits(block.labels, block.groups, len(CLASSES), ProtocolConfig(repeats=repeats), 0)


class Trainer:
    """Stacks of weighted heads on one block: what is put on the device is put there once."""

    def __init__(self, block: FeatureBlock) -> None:
        self.block = block
        self.values = to_device(block, torch.device("cpu"))

    def __call__(self, splits: Sequence[Split], training: TrainingConfig) -> Stack:
        """Train one member a split."""
        inputs = Inputs(self.block, self.values, sorted(WIDTHS), splits, training.input_norm, training.precision)
        members = [Member(split=split, seed=i, training=training) for i, split in enumerate(splits)]
        return train_stacked(partial(Weighted, WeightedConfig()), self.block, inputs, members)
