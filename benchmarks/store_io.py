"""Writing and reading back features, against plain Zarr that writes the same arrays with the same chunks.

`write_share` is the speed of a sealed, read-back part relative to Zarr + fsync + one SHA-256 over the values;
`write_plain_share` relative to Zarr alone; `gather_share` the speed of aligning three modalities into one block
relative to reading the same arrays with plain Zarr. All in one run, in turn, medians.
"""

import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zarr
from zarr.storage import LocalStore

from benchmarks._measure import say
from stores.block import gather_all
from stores.features import CHUNK_ROWS, SHARD_CHUNKS, FeatureStore
from stores.root import Root
from stores.spec import FeatureIdentity, Receipt, embedding_spec

ROWS, WIDTH = 23_500, 2048
WIDTHS = {"text": 768, "speech": 256, "image": 2048}
ROUNDS = 15


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        say("store_io", {**_writing(Path(folder)), **_gathering(Path(folder)), "of": f"{ROWS} x {WIDTH} float16"})


def _writing(folder: Path) -> dict[str, Any]:
    values = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float16)
    rows = {f"{number:064x}": row for number, row in enumerate(values)}
    store = FeatureStore.create(Root(folder / "ours"), _identity("image", WIDTH))

    def plain() -> None:
        array = zarr.create_array(
            LocalStore(folder / "plain"),
            shape=values.shape,
            dtype=values.dtype,
            chunks=(CHUNK_ROWS, WIDTH),
            shards=(CHUNK_ROWS * SHARD_CHUNKS, WIDTH),
            compressors=None,
        )
        array[:] = values

    def careful() -> None:
        plain()
        Root(folder).flush("plain")
        hashlib.sha256(values.data).hexdigest()

    def ours() -> None:
        store.write_part(rows, Receipt(device="cpu", dtype="float32", seconds=0.0))

    def clear() -> None:
        for name in ("plain", "ours/features/image"):
            shutil.rmtree(folder / name, ignore_errors=True)

    seconds = _medians({"plain": plain, "careful": careful, "ours": ours}, between=clear)
    return {
        "write_share": round(seconds["careful"] / seconds["ours"], 2),
        "write_plain_share": round(seconds["plain"] / seconds["ours"], 2),
        "write_s": {name: round(value, 3) for name, value in seconds.items()},
    }


def _gathering(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    keys = [f"{number:064x}" for number in range(ROWS)]
    root = Root(folder / "gather")
    for modality, width in WIDTHS.items():
        values = rng.standard_normal((ROWS, width)).astype(np.float16)
        store = FeatureStore.create(root, _identity(modality, width))
        store.write_part(dict(zip(keys, values, strict=True)), Receipt(device="cpu", dtype="float32", seconds=0.0))
    paths = sorted((folder / "gather").rglob("*.zarr"))
    shuffled = pa.array([keys[i] for i in rng.permutation(ROWS)], pa.string())

    def plain() -> None:
        for path in paths:
            zarr.open_array(LocalStore(path), path="values", mode="r")[:]

    def ours() -> None:
        gather_all({m: ([FeatureStore(root, _identity(m, width))], shuffled) for m, width in sorted(WIDTHS.items())})

    seconds = _medians({"plain": plain, "ours": ours})
    return {
        "gather_share": round(seconds["plain"] / seconds["ours"], 2),
        "gather_s": {name: round(value, 3) for name, value in seconds.items()},
    }


def _medians(ways: dict[str, Callable[[], None]], between: Callable[[], None] = lambda: None) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):  # the first warms up
        for name, way in ways.items():
            between()
            started = time.perf_counter()
            way()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(own) for name, own in times.items()}


def _identity(modality: str, width: int) -> FeatureIdentity:
    return FeatureIdentity(
        extractor="bench",
        version=1,
        modality=modality,
        preprocessing=1,
        config={},
        spec=embedding_spec(width, "standard"),
    )


if __name__ == "__main__":
    main()
