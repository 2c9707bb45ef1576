"""Twenty repeats of the weighted head: one model after the other, against one stack of twenty."""

from functools import partial

import numpy as np
import torch

from benchmarks._measure import ratio, say
from fusion.heads.weighted import Weighted, WeightedConfig
from fusion.inputs import Inputs, to_device
from fusion.members import Member
from fusion.splits import ProtocolConfig, make_splits
from fusion.training import train_stacked
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock

SAMPLES, CLASSES, REPEATS = 800, 5, 20
WIDTHS = {"text": 384, "speech": 256, "image": 512}


def main() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, SAMPLES)
    names = tuple(f"s{i}" for i in range(SAMPLES))
    block = FeatureBlock(
        sample_ids=names,
        labels=labels,
        groups=np.array(names),
        classes=tuple("abcde"),
        values={m: rng.normal(labels[:, None] / 8, 1, (SAMPLES, w)).astype(np.float16) for m, w in WIDTHS.items()},
        rows={m: np.arange(SAMPLES)[None] for m in WIDTHS},
    )
    splits = make_splits(
        labels, block.groups, CLASSES, ProtocolConfig(repeats=REPEATS), 0, fixed=None, per_repeat_encoders=False
    )
    training = TrainingConfig(epochs=3, patience=3)
    values = to_device(block, torch.device("cpu"))
    build = partial(Weighted, WeightedConfig())

    def train(part: slice) -> None:
        chosen = splits[part]
        inputs = Inputs(block, values, sorted(WIDTHS), chosen, training.input_norm)
        train_stacked(
            build, block, inputs, [Member(split=split, seed=i, training=training) for i, split in enumerate(chosen)]
        )

    def one_by_one() -> None:
        for repeat in range(REPEATS):
            train(slice(repeat, repeat + 1))

    made_of = f"{REPEATS} members, {SAMPLES} samples x {sum(WIDTHS.values())}, {training.epochs} epochs"
    say("stacked_heads", {**ratio(one_by_one, lambda: train(slice(None))), "of": made_of})


if __name__ == "__main__":
    main()
