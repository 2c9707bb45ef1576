"""A plan over three modalities when everything is cached: 23,500 samples on real files, and up to a million rows.

`seconds` is the median time to load the manifest, recall the digests and plan all modalities of 23,500 samples, in
processes of their own; `peak_mb` the largest memory of a process that plans a million rows (texts of their own, and
segments of the same files). `rows_a_second` and `bytes_a_row` should not get worse as the manifest grows.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from extractors.extractor import Extractor, Inputs, find_extractor
from extractors.plan import plan
from stores.digests import load_digests, save_digests
from stores.features import FeatureStore
from stores.manifest import Manifest
from stores.root import Root
from stores.samples import Sample
from stores.spec import Receipt

FILES = 23_500
SIZES = (250_000, 500_000, 1_000_000)
ROUNDS = 5
PART_ROWS = 100_000
HOUR_NS = 3600 * 10**9
EXTRACTORS = {"image": ("resnet", {"weights": "trained"}), "speech": ("acoustic", {}), "text": ("bert", {})}
MB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm_plan", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--once", nargs=2, help="plan one manifest under a root (what the benchmark starts)")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(plan_once(*options.once)))
        return
    with tempfile.TemporaryDirectory(dir=".") as folder:
        found = measure(Path(folder))
    if options.json:
        print(json.dumps({"benchmark": "warm_plan", **found}))
    else:
        print("warm_plan: " + ", ".join(f"{key} {value}" for key, value in found.items()))


def measure(folder: Path) -> dict[str, Any]:
    write_files(folder / "media")
    root = str(folder / "runs")
    prepare(root, "files", list(whole_files(folder / "media")))
    runs = [_in_a_process(root, "files") for _ in range(ROUNDS)]
    grown = []
    for size in SIZES:
        prepare(root, f"rows{size}", list(segments(folder / "media", size)))
        grown.append(_in_a_process(root, f"rows{size}"))
    base = min(run["base_mb"] for run in (*runs, *grown))
    return {
        "seconds": round(statistics.median(run["seconds"] for run in runs), 2),
        "peak_mb": round(max(run["peak_mb"] for run in grown)),
        "peak_mb_23500": round(statistics.median(run["peak_mb"] for run in runs)),
        "rows": list(SIZES),
        "rows_a_second": [round(size / run["seconds"]) for size, run in zip(SIZES, grown, strict=True)],
        "bytes_a_row": [round((r["peak_mb"] - base) * MB / size) for size, r in zip(SIZES, grown, strict=True)],
        "of": f"{FILES} samples x 3 modalities, all cached",
    }


def plan_once(root_address: str, name: str) -> dict[str, float]:
    """Plan everything under a manifest; what one process of the benchmark does."""
    root = Root(root_address)
    extractors = list(_extractors(root))
    for extractor in extractors:
        extractor.identity  # noqa: B018 - digests of weights: the same for any number of samples
    base = _peak_mb()
    started = time.perf_counter()
    manifest = Manifest.load(root, name)
    load_digests(root, name)
    for extractor in extractors:
        found = plan(extractor, manifest.samples, root)
        if len(found.cached) != len(manifest.samples):
            raise RuntimeError(f"{extractor.name}: {found.pending} of {len(manifest.samples)} samples to do")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "base_mb": base, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    """Return the largest memory of this process so far; `getrusage` would begin with that of the parent."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def write_files(folder: Path) -> None:
    """Write the files of a corpus, small, all different, and an hour old."""
    folder.mkdir()
    for number in range(FILES):
        for kind in ("wav", "png"):
            path = folder / f"{number:05}.{kind}"
            path.write_bytes(f"{kind} {number} ".encode() * 64)
            os.utime(path, ns=(0, path.stat().st_mtime_ns - HOUR_NS))


def whole_files(folder: Path) -> Iterator[Sample]:
    for number in range(FILES):
        yield _sample(number, folder, number)


def segments(folder: Path, count: int) -> Iterator[Sample]:
    for number in range(count):
        start = number // FILES * 1000
        yield _sample(number, folder, number % FILES, start_ms=start, end_ms=start + 1000)


def _sample(number: int, folder: Path, file: int, **segment: int) -> Sample:
    return Sample(
        id=f"c/{number}",
        corpus="c",
        text=f"utterance number {number}, of the usual length of an utterance",
        audio=folder / f"{file:05}.wav",
        image=folder / f"{file:05}.png",
        labels={"emotion": ("joy", "anger")[number % 2]},
        groups={"speaker": f"s{number % 500}"},
        **segment,
    )


def prepare(root_address: str, name: str, samples: list[Sample]) -> None:
    """Save a manifest and seal a row for every sample; a plan never reads values, so they are one number wide."""
    root = Root(root_address)
    manifest = Manifest(name=name, samples=tuple(samples), labels={"emotion": ("joy", "anger")})
    manifest.save(root)
    receipt = Receipt(device="cpu", dtype="float32", seconds=1.0)
    for extractor in _extractors(root):
        store = FeatureStore.create(root, extractor.identity)
        shape = (1,) if store.identity.spec.layout == "vector" else (1, 1)
        row = np.ones(shape, store.identity.spec.dtype)
        known = store.index()
        missing = sorted({sample.key(extractor.modality) for sample in samples} - set(known))
        for start in range(0, len(missing), PART_ROWS):
            store.write_part(dict.fromkeys(missing[start : start + PART_ROWS], row), receipt)
    save_digests(root, name, manifest.media())


def _extractors(root: Root) -> Iterator[Extractor[Any]]:
    for modality, (name, config) in EXTRACTORS.items():
        kind = find_extractor(modality, name)
        yield kind(kind.config_type(**config), Inputs(root=root, encoder=f"{name}-1" if name == "resnet" else None))


def _in_a_process(root: str, name: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.warm_plan", "--once", root, name]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


if __name__ == "__main__":
    main()
