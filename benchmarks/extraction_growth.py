"""How the cost of an extraction grows with the corpus: 1, 4 and 16 times as many recordings, a process each.

`seconds_growth` and `memory_growth` are the seconds a sample, and the peak memory, of the largest corpus / those of the
smallest: 1 is linear time and constant memory.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks._measure import say
from extractors.extractor import Inputs, Runtime
from extractors.run import extract
from extractors.speech.acoustic import Acoustic, AcousticConfig
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

SMALLEST, TIMES, ROUNDS = 256, (1, 4, 16), 2
RUNTIME = Runtime(queue=64, block_size=64)  # even the smallest corpus fills both several times
RATE, SECONDS = 16000, 1.0


def record(folder: Path, number: int) -> list[Sample]:
    """Write that many noises, each another one."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.3, 0.3, 2 * int(RATE * SECONDS)).astype(np.float32)
    samples = []
    for i in range(number):
        path = folder / f"{i}.wav"
        start = int(rng.integers(len(noise) // 2))
        soundfile.write(path, np.roll(noise[start : start + len(noise) // 2], i), RATE)
        samples.append(Sample(id=f"c/{i}", corpus="c", audio=path))
    return samples


def run_alone(number: int) -> None:
    """Extract that many recordings in this process and print {seconds, peak_mb}; writing them does not count."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        samples = record(Path(folder), number)
        inputs = Inputs(root=Root(Path(folder) / "runs"))
        extract(
            Acoustic(AcousticConfig(), Inputs(root=Root(Path(folder) / "warm"))), samples[:16], **_how(folder, "warm")
        )
        started = time.perf_counter()
        books = extract(Acoustic(AcousticConfig(), inputs), samples, **_how(folder, "runs"))
        seconds = time.perf_counter() - started
        if books.extracted != number:
            raise RuntimeError(f"expected {number} rows, got {books}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB on Linux
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def _how(folder: str, name: str) -> dict[str, Any]:
    return {"root": Root(Path(folder) / name), "runtime": RUNTIME, "report": Silent()}


def measure(number: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.extraction_growth", "--alone", str(number)]
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def main() -> None:
    if "--alone" in sys.argv:
        run_alone(int(sys.argv[-1]))
        return
    turns = [{times: measure(SMALLEST * times) for times in TIMES} for _ in range(ROUNDS)]
    sizes = {
        f"{times}x": {
            "samples": SMALLEST * times,
            "ms_a_sample": round(min(turn[times]["seconds"] for turn in turns) / (SMALLEST * times) * 1000, 3),
            "peak_mb": round(min(turn[times]["peak_mb"] for turn in turns)),
        }
        for times in TIMES
    }
    first, last = (sizes[f"{times}x"] for times in (TIMES[0], TIMES[-1]))
    say(
        "extraction_growth",
        {
            "seconds_growth": round(last["ms_a_sample"] / first["ms_a_sample"], 2),
            "memory_growth": round(last["peak_mb"] / first["peak_mb"], 2),
            **sizes,
            "of": f"acoustic, recordings of {SECONDS:g} s, blocks of {RUNTIME.block_size}",
        },
    )


if __name__ == "__main__":
    main()
