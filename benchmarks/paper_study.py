"""The reference paper's comparison, whole: 10 models x 20 repeats on 23,500 rows of its widths, into a real store.

`--paper` trains with the paper's batch of 32 and learning rate instead of the `fast` preset.
"""

import argparse
import resource
import tempfile
import time
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks._fusion_block import WIDTHS, planted, splits_of
from benchmarks._measure import tell
from fusion.plans import HeadPlan, subsets
from fusion.study import study_of
from fusion.training_config import TrainingConfig, with_preset
from stores.root import Root
from stores.settings import build
from stores.studies import StudyStore

ROWS, REPEATS = 23_500, 20
ALL = tuple(sorted(WIDTHS))
MODELS: dict[str, tuple[tuple[str, ...], ...]] = {
    "unimodal": subsets(ALL, "unimodal"),
    "weighted": subsets(ALL, "weighted"),  # three pairs, and the paper's proposal
    "concat": (ALL,),
    "vote": (ALL,),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper_study", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--paper", action="store_true", help="batch 32 and learning rate 1e-4 (Table 7)")
    parser.add_argument("--rows", type=int, default=ROWS, help="samples (%(default)s)")
    chosen = parser.parse_args()
    preset = "paper" if chosen.paper else "fast"
    training = build(TrainingConfig, with_preset({"preset": preset}), where="training")
    tell("paper_study", {"preset": preset, **_study(chosen.rows, training)}, chosen.json)


def _study(rows: int, training: TrainingConfig) -> dict[str, Any]:
    block = planted(rows)
    splits = splits_of(block, REPEATS)
    plans = [HeadPlan(head=head, subsets=own, training=training) for head, own in MODELS.items()]
    nothing = pa.table({"sample_id": pa.array([], pa.string())})
    with tempfile.TemporaryDirectory(dir=".") as folder:
        store = StudyStore.create(Root(folder), "study-1", {}, nothing, nothing)
        started = time.perf_counter()
        books = study_of(block, splits, plans, store, seed=0, device="cpu").run()
        seconds = time.perf_counter() - started
        again = time.perf_counter()
        assert study_of(block, splits, plans, store, seed=0, device="cpu").run().trained == 0
        second = time.perf_counter() - again
        scores = _accuracies(store)
    return {
        "seconds": round(seconds, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "second_call_s": round(second, 2),
        "runs": books.trained,
        "val_accuracy": scores,
        "of": f"{len(books.run_ids)} runs, {rows} x {sum(WIDTHS.values())}, batch {training.batch_size}",
    }


def _accuracies(store: StudyStore) -> dict[str, float]:
    """Return each model's mean validation accuracy over its repeats."""
    runs = store.runs()
    assert runs is not None
    model_of = dict(zip(runs["run_id"].to_pylist(), runs["model"].to_pylist(), strict=True))
    table = store.predictions(list(model_of), "val")
    hits = np.array(table["posterior"].to_pylist()).argmax(axis=1) == table["label"].to_numpy()
    found: dict[str, list[bool]] = {}
    for run, hit in zip(table["run_id"].to_pylist(), hits, strict=True):
        found.setdefault(model_of[run], []).append(bool(hit))
    return {model: round(float(np.mean(own)), 4) for model, own in sorted(found.items())}


if __name__ == "__main__":
    main()
