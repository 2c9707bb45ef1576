"""A whole report: 10 models x 20 repeats x 3,500 test samples, and half of it, from stored predictions to files.

`seconds` is the median time of `write_report` in processes of their own, `peak_mb` the largest memory of one.
`rows_a_second` should not fall as the study grows. `calibration_s` is the A/A calibration alone: one reference against
nine rivals, 1,000 repetitions. `--keep FOLDER` keeps the studies there and writes them once.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks._measure import tell
from reports.evidence import read_evidence
from reports.findings.false_alarms import calibrate
from reports.measures import measure
from reports.report import ReportConfig, write_report
from stores.root import Root
from stores.studies import Predicted, Run, RunSpec, StudyStore

MODALITIES = ("image", "speech", "text")
STUDY = "study-benchmark"
HEADS = ("concat", "vote", "average", "weighted", "class_weighted", "gated", "confidence")
BY_SAMPLE = ("gated", "confidence")  # heads with weights for every sample
CLASSES = ("joy", "sadness", "anger", "fear", "neutral")
TESTED = (1_750, 3_500)  # samples of a test part
REPEATS, SPEAKERS, EPOCHS, ROUNDS = 20, 500, 30, 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--keep", type=Path, help="write the studies here, and use those that are here")
    parser.add_argument("--once", help="write the report of the study under a root (what the benchmark starts)")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(report_once(options.once)))
    elif options.keep:
        tell("report", measured(options.keep), options.json)
    else:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            tell("report", measured(Path(folder)), options.json)


def measured(folder: Path) -> dict[str, Any]:
    grown = []
    for tested in TESTED:
        root = folder / str(tested)
        if not root.exists():
            write_study(Root(str(root)), tested)
        grown.append([_in_a_process(str(root)) for _ in range(ROUNDS)])
    rows = [len(_models()) * REPEATS * tested for tested in TESTED]
    seconds = [statistics.median(run["seconds"] for run in runs) for runs in grown]
    return {
        "seconds": round(seconds[-1], 2),
        "peak_mb": round(max(run["peak_mb"] for run in grown[-1])),
        "calibration_s": round(statistics.median(run["calibration_s"] for run in grown[-1]), 2),
        "rows": rows,
        "rows_a_second": [round(n / s) for n, s in zip(rows, seconds, strict=True)],
        "of": f"{len(_models())} models x {REPEATS} repeats x {TESTED[-1]} test samples",
    }


def report_once(address: str) -> dict[str, float]:
    """Write the report of the study under `address`, and calibrate it once more alone."""
    root, config = Root(address), ReportConfig()
    store = StudyStore.open(root, STUDY)
    run_ids = sorted(store.run_ids())
    started = time.perf_counter()
    write_report(root, store.id, run_ids, config)
    seconds, peak = time.perf_counter() - started, _peak_mb()
    evidence = read_evidence(store, run_ids)
    measures = measure(evidence, alpha=config.alpha, draws=config.draws, seed=config.seed)
    names = [model for model in evidence.posteriors if model != "majority class"]
    pairs = [(names[-1], name) for name in names[:-1]]
    started = time.perf_counter()
    calibrate(evidence, measures, pairs, config.primary_metric, repetitions=1000, seed=config.seed)
    return {"seconds": seconds, "peak_mb": peak, "calibration_s": time.perf_counter() - started}


def _peak_mb() -> float:
    """Return the largest memory of this process so far; `getrusage` would begin with that of the parent."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _in_a_process(address: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.report", "--once", address]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _models() -> list[tuple[str, tuple[str, ...]]]:
    return [*(("unimodal", (m,)) for m in MODALITIES), *((head, MODALITIES) for head in HEADS)]


def write_study(root: Root, tested: int) -> None:
    """Write a study of test parts of `tested` samples, groups drawn whole, 15 % each for validation and test."""
    rng = np.random.default_rng(0)
    total = round(tested / 0.15)
    labels, speaker = rng.integers(0, len(CLASSES), total), rng.integers(0, SPEAKERS, total)
    ids = np.array([f"benchmark/{i:06}" for i in range(total)])
    groups = np.array([f"speaker-{i:03}" for i in speaker])
    samples = {"sample_id": ids, "label": np.array(CLASSES)[labels], "group": groups}
    nothing = pa.nulls(total, pa.string())
    table = pa.table(samples | dict.fromkeys(("excluded", "gender", "age", "culture"), nothing))
    parts = [_cut(rng.permutation(SPEAKERS)[speaker], tested) for _ in range(REPEATS)]
    splits = {
        "repeat": np.repeat(np.arange(REPEATS), total),
        "sample_id": np.tile(ids, REPEATS),
        "part": np.concatenate(parts),
    }
    store = StudyStore.create(root, STUDY, _facts(total), table, pa.table(splits))
    logits = {m: rng.normal(size=(total, len(CLASSES))) + 1.5 * np.eye(len(CLASSES))[labels] for m in MODALITIES}
    for repeat, part in enumerate(parts):
        runs = list(_runs(store.id, repeat, part, (ids, labels, groups), logits, rng))
        store.write_runs(runs)
        store.open_test([run.spec.id for run in runs], "score")


def _cut(order: np.ndarray, tested: int) -> np.ndarray:
    """Return the part of every sample; `order` is the place of its speaker, and exactly `tested` are tested."""
    part = np.full(len(order), "train")
    first = np.argsort(order, kind="stable")
    part[first[:tested]], part[first[tested : 2 * tested]] = "test", "val"
    return part


def _runs(
    study: str,
    repeat: int,
    part: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    logits: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> Iterator[Run]:
    ids, labels, groups = rows
    seen = {m: own + rng.normal(scale=0.5, size=own.shape) for m, own in logits.items()}
    for head, subset in _models():
        mixed = sum(seen[m] * weight for m, weight in zip(subset, rng.uniform(0.8, 1.2, len(subset)), strict=True))
        e = np.exp(mixed - mixed.max(axis=1, keepdims=True))
        posteriors = (e / e.sum(axis=1, keepdims=True)).astype(np.float32)
        found = [
            Predicted(
                sample_ids=tuple(ids[here]),
                labels=labels[here],
                groups=groups[here],
                posteriors=posteriors[here],
                weights=_shares(rng, int(here.sum())).astype(np.float32) if head in BY_SAMPLE else None,
            )
            for here in (part == "val", part == "test")
        ]
        spec = RunSpec(study=study, head=head, version=1, config={}, modalities=subset, repeat=repeat, training={})
        weighed = {"weighted": (None,), "class_weighted": CLASSES}.get(head, ())
        weights = [(m, label, float(w)) for label in weighed for m, w in zip(subset, _shares(rng, 1)[0], strict=True)]
        yield Run(
            spec=spec,
            seed=repeat,
            val=found[0],
            test=found[1],
            best_epoch=EPOCHS - 5,
            curves=_curve(),
            weights=tuple(weights),
            seconds=1.0,
        )


def _shares(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.dirichlet(np.ones(len(MODALITIES)), n)


def _curve() -> tuple[dict[str, float], ...]:
    return tuple(
        {"epoch": e + 1, "train_loss": 1.6 / (e + 1), "val_loss": 1.6 / (e + 1) + 0.2, "val_accuracy": 0.5}
        for e in range(EPOCHS)
    )


def _facts(total: int) -> dict[str, Any]:
    """Return what `study.json` says of a study, as the flows write it."""
    feature = {
        "weights": "none", "random": False, "encoders": [], "encoder_samples": "reserved", "identity": {},
        "rows": total, "computed_on": {"cpu, float32": total}, "versions": [],
    }  # fmt: skip
    return {
        "name": "benchmark",
        "seed": 0,
        "snapshot": "benchmark",
        "corpus": {
            "name": "benchmark", "pairing": "recorded", "source": "drawn for a benchmark", "licence": "CC0",
            "notes": {}, "dropped": {}, "samples": total,
        },
        "scheme": "emotion",
        "classes": list(CLASSES),
        "modalities": list(MODALITIES),
        "groups": ["speaker"],
        "protocol": {"kind": "repeated", "repeats": REPEATS, "val": 0.15, "test": 0.15, "encoder_share": 0.0},
        "missing": "complete",
        "features": {m: {"ids": [f"{m}-0"], "extractor": m, **feature} for m in MODALITIES},
        "excluded": {},
        "warnings": [],
    }  # fmt: skip


if __name__ == "__main__":
    main()
