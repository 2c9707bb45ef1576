"""Kill -9 the extracting process at random instants, resume, and compare with a store nobody disturbed.

Half of the kills strike at a random moment, half just before a random file is opened, renamed or removed under the
root: while values, seals and quarantine rows are being written. `lost` counts rows that were sealed before a kill and
gone or extracted again after it; `wrong` counts rows and failures that differ from the undisturbed store.
"""

import argparse
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from extractors.extractor import Inputs, Runtime
from extractors.run import extract
from extractors.speech.acoustic import Acoustic, AcousticConfig
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample
from stores.verifying import verify

RATE, SECONDS = 16000, 0.1
BLOCK, BATCH = 8, 4
CLIPS_A_KILL = 10
BROKEN = 9  # every ninth clip cannot be decoded
IN_FLIGHT = 2  # blocks: one being embedded, one being written behind it
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir")
PHASES = {"values": (".zarr", 40), "seal": ("/parts/.", 4), "quarantine": ("/quarantine", 4), "any file": ("", 60)}
LONGEST_S = 0.4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill_resume", description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_and_resume(Path(folder), options.kills, options.seed)
    if options.json:
        print(json.dumps({"benchmark": "kill_resume", **found}))
    else:
        print("kill_resume: " + ", ".join(f"{key} {value}" for key, value in found.items()))


def kill_and_resume(folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Return {kills, lost, wrong, repeated, repeated_at_most, sealed_twice, instants, damages}."""
    rng = np.random.default_rng(seed)
    samples = write_clips(folder / "clips", CLIPS_A_KILL * kills, rng)
    context = get_context("forkserver")
    context.set_forkserver_preload(["extractors.run", "extractors.speech.acoustic", "librosa", "stores.verifying"])
    work = _Work(context, samples)
    calm, disturbed = str(folder / "calm"), str(folder / "disturbed")
    work.run(calm)
    expected = contents(calm)
    instants: Counter[str] = Counter()
    lost = tried = 0
    sealed: dict[str, str] = {}
    while instants.total() < kills and tried < 4 * kills:
        tried += 1
        if tried % 2:
            phase = "any moment"
            killed = work.run(disturbed, kill_after=float(rng.uniform(0.0, LONGEST_S)))
        else:
            phase = str(rng.choice(list(PHASES)))
            mark, most = PHASES[phase]
            killed = work.run(disturbed, mark, int(rng.integers(1, most + 1)))
        instants[phase] += killed
        rows, _ = contents(disturbed)
        lost += sum(rows.get(key) != digest for key, digest in sealed.items())
        sealed = rows
    work.run(disturbed)
    rows, failures = contents(disturbed)
    wrong = len(dict(rows.items() ^ expected[0].items())) + len(failures ^ expected[1])
    store = FeatureStore.open(Root(disturbed), "speech", "acoustic")
    written = sum(seal.rows for seal in store.seals())
    return {
        "kills": instants.total(),
        "lost": lost,
        "wrong": wrong,
        "rows": len(rows),
        "quarantined": len(failures),
        "sealed_twice": written - len(rows),
        "repeated": work.embedded - 2 * len(rows),  # the undisturbed store was embedded as well
        "repeated_at_most": tried * IN_FLIGHT * BLOCK,
        "damages": len(verify(Root(disturbed)).damages),
        "instants": dict(sorted(instants.items())),
    }


def write_clips(folder: Path, count: int, rng: np.random.Generator) -> list[Sample]:
    """Write short recordings of noise, every ninth of which is none."""
    folder.mkdir()
    samples = []
    for number in range(count):
        path = folder / f"{number}.wav"
        if number % BROKEN == BROKEN - 1:
            path.write_bytes(f"RIFF, but no recording {number}".encode())
        else:
            soundfile.write(path, rng.normal(0, 0.1, int(SECONDS * RATE)), RATE)
        samples.append(Sample(id=f"c/{number}", corpus="c", audio=path))
    return samples


def contents(root: str) -> tuple[dict[str, str], set[tuple[str, str | None, str]]]:
    """Return key -> value digest of every sealed row, and (sample, key, reason) of every failure that stands."""
    extractor = Acoustic(AcousticConfig(), Inputs(root=Root(root)))
    store = FeatureStore(Root(root), extractor.identity)
    index = store.index()
    return {key: index[key].digest for key in index}, {(q.sample_id, q.key, q.reason) for q in store.standing()}


class _Work:
    """Extractions in processes of their own."""

    def __init__(self, context: Any, samples: list[Sample]) -> None:
        self._context, self._samples = context, samples
        self._embedded = context.Value("l", 0)

    @property
    def embedded(self) -> int:
        return int(self._embedded.value)

    def run(self, root: str, mark: str = "", kill_at: int = 0, kill_after: float | None = None) -> bool:
        """Extract; return whether it was killed: before the `kill_at`th file with `mark` in its path, or after s."""
        ready = self._context.Event()
        child = self._context.Process(target=_extract, args=(root, self._samples, mark, kill_at, self._embedded, ready))
        child.start()
        if kill_after is not None:
            ready.wait()
            time.sleep(kill_after)
            child.kill()
        child.join()
        if child.exitcode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"the extraction failed with exit code {child.exitcode}")
        return child.exitcode != 0


def _extract(
    root: str, samples: list[Sample], mark: str, kill_at: int, embedded: "Synchronized[int]", ready: Any
) -> None:
    seen = itertools.count(1)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS:
            path = str(arguments[event == "os.rename"])
            if path.startswith(root) and mark in path and next(seen) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted(self: Acoustic, items: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        with embedded.get_lock():
            embedded.value += len(items)
        return plain(self, items)

    plain, Acoustic.embed = Acoustic.embed, counted  # type: ignore[method-assign]
    sys.addaudithook(watch)
    extractor = Acoustic(AcousticConfig(), Inputs(root=Root(root)))
    ready.set()
    runtime = Runtime(device="cpu", batch_size=BATCH, block_size=BLOCK, queue=BLOCK)
    extract(extractor, samples, extractor.inputs.root, runtime, report=Silent())


if __name__ == "__main__":
    main()
