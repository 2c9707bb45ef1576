import numpy as np
import pytest

from fusion.splits import ProtocolConfig, Split, make_splits
from stores.block import FeatureBlock

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
