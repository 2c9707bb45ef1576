from pathlib import Path

import numpy as np
import pytest

from stores.root import Root
from stores.spec import FeatureIdentity, FeatureSpec, Receipt, Tolerance, embedding_spec

RAGGED = FeatureSpec(
    layout="ragged", dim=3, unit="dB", dtype="float32", tolerance=Tolerance(metric="max_abs", bound=5e-3)
)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture
def receipt() -> Receipt:
    return Receipt(device="cpu", dtype="float32", seconds=1.5, versions={"torch": "2.14.1"})


@pytest.fixture
def vectors() -> FeatureIdentity:
    """The identity of a feature of (4,) float16 rows."""
    return FeatureIdentity(
        extractor="bert",
        version=1,
        modality="text",
        preprocessing=1,
        config={"layers": 4},
        spec=embedding_spec(4, "standard"),
    )


@pytest.fixture
def ragged() -> FeatureIdentity:
    """The identity of a feature of (frames, 3) float32 rows."""
    return FeatureIdentity(
        extractor="acoustic", version=1, modality="speech", preprocessing=1, config={"hop": 160}, spec=RAGGED
    )


@pytest.fixture
def row():
    """Make the (4,) float16 row that counts up from a number."""
    return lambda start: np.arange(start, start + 4, dtype=np.float16)
