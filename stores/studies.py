"""Studies: who was compared on what, in which split, and what every run predicted for every sample.

`studies/<study id>/` holds `study.json`, `samples.parquet`, `splits.parquet`, and three folders of parts: `runs/`
(the seal: one row a run), `predictions/` (one row a run and sample) and `weights/` (fitted modality weights).
A run exists only once a sealed part in `runs/` names it.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stores.errors import NotFound
from stores.identity import canonical, short_id
from stores.root import Root, json_text

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What a run is; a change of any field is another run."""

    study: str
    head: str
    version: int
    config: Mapping[str, Any]
    modalities: tuple[str, ...]
    repeat: int
    training: Mapping[str, Any]
    precision: str = "float32"

    @property
    def id(self) -> str:
        return short_id(self.head, self)

    @property
    def model(self) -> str:
        """The name the report uses: `weighted[image+speech+text]`."""
        return f"{self.head}[{'+'.join(self.modalities)}]"


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Posteriors (n, classes) float32 of one run for the samples of one part."""

    sample_ids: tuple[str, ...]
    labels: np.ndarray
    groups: np.ndarray
    posteriors: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run. `curves` has one mapping an epoch: epoch, train_loss, val_loss, val_accuracy.

    `weights` are the fitted modality weights, if the head has such; a combiner has no epochs.
    """

    spec: RunSpec
    seed: int
    val: Predicted
    test: Predicted
    best_epoch: int | None = None
    curves: tuple[Mapping[str, float], ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class StudyStore:
    """One study on disk."""

    def __init__(self, root: Root, study_id: str) -> None:
        self.root = root
        self.id = study_id
        self.folder = f"studies/{study_id}"

    @classmethod
    def create(
        cls, root: Root, study_id: str, facts: Mapping[str, Any], samples: pa.Table, splits: pa.Table
    ) -> "StudyStore":
        """Write samples, splits and, last, `study.json`; a study that says the same already is left as it is.

        Facts that are not part of the id (licence, pairing, who is left out) may change: the latest are kept.
        """
        store = cls(root, study_id)
        text = json_text({"format_version": FORMAT, "id": study_id, **dict(facts)}).encode()
        same = root.exists(store.folder, "study.json") and root.read(store.folder, "study.json") == text
        if not same or not store.samples().equals(samples):
            root.put_table(samples, store.folder, "samples.parquet")
            root.put_table(splits, store.folder, "splits.parquet")
            root.put(text, store.folder, "study.json")
        return store

    @classmethod
    def open(cls, root: Root, study_id: str) -> "StudyStore":
        """Open a study by id. Raises NotFound naming the studies there are."""
        if not root.exists("studies", study_id, "study.json"):
            there = ", ".join(root.names("studies")) or "none"
            raise NotFound(f"no study {study_id!r} under {root.address}; there are: {there}")
        return cls(root, study_id)

    def facts(self) -> dict[str, Any]:
        """Return `study.json`."""
        return self.root.read_json(self.folder, "study.json")

    def check(self) -> None:
        """Raise DamagedError, or NotFound, unless everything a sealed run needs is there and as it was written."""
        self.facts()
        self.samples()
        self.splits()
        self.weights()
        runs = self.runs()
        if runs is not None:
            for part in ("val", "test"):
                self.predictions(runs["run_id"].to_pylist(), part)

    def samples(self) -> pa.Table:
        """Return one row a sample: sample_id, label, group, excluded (a reason, or null), gender, age, culture."""
        return self.root.read_table(self.folder, "samples.parquet")

    def splits(self) -> pa.Table:
        """Return one row a (repeat, sample): repeat, sample_id, part (train, val, test or encoder)."""
        return self.root.read_table(self.folder, "splits.parquet")

    def write_runs(self, runs: Sequence[Run]) -> None:
        """Seal finished runs as one part: predictions and weights first, the runs last."""
        if not runs:
            return
        part = f"{uuid.uuid4().hex}.parquet"
        self.root.put_table(_predictions(runs), self.folder, "predictions", part)
        weights = [
            {"run_id": run.spec.id, "modality": modality, "weight": float(weight)}
            for run in runs
            for modality, weight in sorted(run.weights.items())
        ]
        if weights:
            self.root.put_table(pa.Table.from_pylist(weights), self.folder, "weights", part)
        self.root.put_table(pa.Table.from_pylist([_run_row(run) for run in runs]), self.folder, "runs", part)

    def runs(self) -> pa.Table | None:
        """Return one row a run (run_id, model, head, modalities, repeat, seed, best_epoch, seconds, spec, curves).

        Sorted by model and repeat; None if nothing has run. `spec` and `curves` are JSON text.
        """
        table = self._parts("runs")
        if table is None:
            return None
        return _first_of_each(table, "run_id").sort_by([("model", "ascending"), ("repeat", "ascending")])

    def predictions(self, run_ids: Sequence[str], part: str = "test") -> pa.Table:
        """Return one row a (run, sample) of `part`: run_id, sample_id, label, group, posterior.

        Sorted by run and sample. Raises NotFound naming a run without predictions.
        """
        table = self._parts("predictions")
        wanted = pa.array(sorted(run_ids), pa.string())
        if table is not None:
            chosen = pc.and_(pc.is_in(table["run_id"], wanted), pc.equal(table["part"], part))
            table = _first_of_each(table.filter(chosen), "run_id", "sample_id")
        found = set() if table is None else set(table["run_id"].to_pylist())
        if missing := sorted(set(run_ids) - found):
            raise NotFound(f"study {self.id} has no {part} predictions of run {missing[0]}: run `affuse study` first")
        assert table is not None
        return table.drop(["part"]).sort_by([("run_id", "ascending"), ("sample_id", "ascending")])

    def weights(self) -> pa.Table | None:
        """Return one row a (run, modality): run_id, modality, weight; None if no head has weights."""
        table = self._parts("weights")
        return None if table is None else _first_of_each(table, "run_id", "modality")

    def _parts(self, kind: str) -> pa.Table | None:
        sealed = self.root.names(self.folder, "runs")
        names = [name for name in self.root.names(self.folder, kind) if name in sealed]
        return pa.concat_tables([self.root.read_table(self.folder, kind, n) for n in names]) if names else None


def _run_row(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.spec.id,
        "model": run.spec.model,
        "head": run.spec.head,
        "modalities": "+".join(run.spec.modalities),
        "repeat": run.spec.repeat,
        "seed": run.seed,
        "best_epoch": -1 if run.best_epoch is None else run.best_epoch,
        "seconds": run.seconds,
        "spec": json.dumps(canonical(run.spec)),
        "curves": json.dumps([dict(epoch) for epoch in run.curves]),
    }


def _predictions(runs: Sequence[Run]) -> pa.Table:
    return pa.concat_tables(
        [
            _predicted(run.spec.id, part, predicted)
            for run in runs
            for part, predicted in (("val", run.val), ("test", run.test))
        ]
    )


def _predicted(run_id: str, part: str, predicted: Predicted) -> pa.Table:
    n, classes = predicted.posteriors.shape
    flat = pa.array(np.ascontiguousarray(predicted.posteriors, dtype=np.float32).reshape(-1))
    return pa.table(
        {
            "run_id": pa.array([run_id] * n, pa.string()),
            "part": pa.array([part] * n, pa.string()),
            "sample_id": pa.array(predicted.sample_ids, pa.string()),
            "label": pa.array(predicted.labels, pa.int16()),
            "group": pa.array([str(group) for group in predicted.groups], pa.string()),
            "posterior": pa.FixedSizeListArray.from_arrays(flat, classes),
        }
    )


def _first_of_each(table: pa.Table, *columns: str) -> pa.Table:
    """Keep one row per value of `columns`: two processes may have finished the same run."""
    numbered = table.append_column("_row", pa.array(np.arange(len(table))))
    first = numbered.group_by(list(columns), use_threads=False).aggregate([("_row", "min")])["_row_min"]
    return table.take(first)
