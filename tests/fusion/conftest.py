from dataclasses import replace

import numpy as np
import pytest

from fusion.splits import ProtocolConfig, Split, make_splits
from stores.block import ABSENT, FeatureBlock

WIDTHS = {"image": 7, "speech": 5, "text": 6}
CLASSES = ("joy", "anger", "neutral")


@pytest.fixture
def block() -> FeatureBlock:
    """120 samples of 24 groups and 3 classes; every modality carries the class, with noise."""
    rng = np.random.default_rng(3)
    labels = np.arange(120) % 3
    values = {
        m: (rng.normal(size=(120, width)) + 2.0 * rng.normal(size=(3, width))[labels]).astype(np.float16)
        for m, width in WIDTHS.items()
    }
    return FeatureBlock(
        sample_ids=tuple(f"toy/{i:03d}" for i in range(120)),
        labels=labels,
        groups=np.array([f"speaker {i // 5}" for i in range(120)]),
        classes=CLASSES,
        values=values,
        rows={m: np.arange(120)[None] for m in WIDTHS},
    )


@pytest.fixture
def splits(block: FeatureBlock) -> list[Split]:
    return make_splits(block.labels, block.groups, 3, ProtocolConfig(repeats=4), seed=0)


@pytest.fixture
def varied(block: FeatureBlock, splits: list[Split]) -> FeatureBlock:
    """The block with two views of every image and one of every text in each repeat's training part.

    View k of sample i lies in row 120 k + i and is the sample's row plus 10 k.
    """
    values, views = dict(block.values), {}
    for modality, count in (("image", 2), ("text", 1)):
        shifted = [block.values[modality] + np.float16(10 * k) for k in range(count + 1)]
        values[modality] = np.concatenate(shifted)
        views[modality] = np.full((len(splits), count, 120), ABSENT)
        for split in splits:
            for k in range(count):
                views[modality][split.repeat, k, split.train] = 120 * (k + 1) + split.train
    return replace(block, values=values, views=views)
