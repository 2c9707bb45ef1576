"""Studies: who was compared on what, in which split, and what every run predicted for every sample.

`stores/layout.py` says what lies in `studies/<study id>/`. A run exists only once a sealed part in `runs/` names it,
and while the files that part needs are there. Beside them lie logs that only grow (`stores/logs.py`): each part is one
table, whole or not there. Columns are only ever added, at the end: what an older part lacks reads as null.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stores.errors import DamagedError, NotFound
from stores.identity import canonical, short_id
from stores.logs import LOGS, columns, now
from stores.root import Root

FORMAT = 1
_TEXT, _FLOAT = pa.string(), pa.float64()
# one row a (repeat, test sample, modality or kind of group) that training has too; reason: identical, equal rows, near
# or group; similarity: null for groups
RADAR = columns(repeat=pa.int32(), sample_id=_TEXT, kind=_TEXT, reason=_TEXT, nearest=_TEXT, similarity=_FLOAT)


def model_name(head: str, modalities: Sequence[str], variant: str = "") -> str:
    """Return the name the report uses: `weighted[image+speech+text]`, or `weighted[image+text] smote` of a variant."""
    return f"{head}[{'+'.join(modalities)}] {variant}".strip()


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
    variant: str = ""
    search: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        return short_id(self.head, self)

    @property
    def model(self) -> str:
        """The name of the model this is a run of."""
        return model_name(self.head, self.modalities, self.variant)


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Posteriors (n, classes) float32 of one run for the samples of one part.

    `weights` (n, modalities) are those of a head that weighs by sample, in the sorted order of its modalities.
    """

    sample_ids: tuple[str, ...]
    labels: np.ndarray
    groups: np.ndarray
    posteriors: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run. `curves` has one mapping an epoch: epoch, train_loss, val_loss, val_accuracy.

    Of a head that weighs all samples alike an epoch also has `weight of text` and so on, as the epoch left them.
    `weights` are the fitted (modality, class or None, weight), if the head has such; a combiner has no epochs. `hyper`
    are the settings it was really trained with, `counts` the class counts `before` and `after` balancing. `unfinished`:
    the limit of epochs ended it while its validation loss still fell.
    """

    spec: RunSpec
    seed: int
    val: Predicted
    test: Predicted
    best_epoch: int | None = None
    curves: tuple[Mapping[str, float], ...] = ()
    weights: tuple[tuple[str, str | None, float], ...] = ()
    seconds: float = 0.0
    hyper: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    unfinished: bool = False


class StudyStore:
    """One study on disk."""

    def __init__(self, root: Root, study_id: str) -> None:
        self.root = root
        self.id = study_id
        self.folder = f"studies/{study_id}"
        self._whole: dict[str, tuple[Mapping[str, object], pa.Table]] = {}
        self._lost: dict[str, tuple[str, str, frozenset[str] | None]] = {}

    @classmethod
    def create(
        cls, root: Root, study_id: str, facts: Mapping[str, Any], samples: pa.Table, splits: pa.Table
    ) -> "StudyStore":
        """Write samples, splits and, last, `study.json`; a study that says the same already is left as it is.

        Facts that are not part of the id (licence, pairing, who is left out) may change: the latest are kept.
        """
        store = cls(root, study_id)
        content = canonical({"format_version": FORMAT, "id": study_id, **facts})
        with suppress(FileNotFoundError, DamagedError):
            if (store.facts(), store.samples(), store.splits()) == (content, samples, splits):
                return store
        root.put_table(samples, store.folder, "samples.parquet")
        root.put_table(splits, store.folder, "splits.parquet")
        root.put_json(cast(dict[str, Any], content), store.folder, "study.json")
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

    def samples(self) -> pa.Table:
        """Return one row a sample: sample_id, label, group, excluded (a reason, or null), gender, age, culture, lacks.

        `lacks` are the modalities of the study it lacks, joined by +, or null; older studies have no such column.
        """
        return self.root.read_table(self.folder, "samples.parquet")

    def splits(self) -> pa.Table:
        """Return one row a (repeat, sample): repeat, sample_id, part (train, val, test or encoder)."""
        return self.root.read_table(self.folder, "splits.parquet")

    def write_radar(self, table: pa.Table) -> None:
        """Write what test parts share with training parts, all of it or, if killed, nothing."""
        self.root.put_table(table, self.folder, "radar.parquet")

    def radar(self) -> pa.Table | None:
        """Return one row of `RADAR` a finding, what was looked at in the metadata; None if nobody has looked."""
        if not self.root.exists(self.folder, "radar.parquet"):
            return None
        return self.root.read_table(self.folder, "radar.parquet")

    def write_runs(self, runs: Sequence[Run], needs: Sequence[str] = ()) -> None:
        """Seal finished runs as one part: predictions and weights first, the runs last.

        The seal names these files and those in `needs`, the parts of logs that tell of them: without one of them the
        runs count for nothing, and are made again.
        """
        if not runs:
            return
        part = f"{uuid.uuid4().hex}.parquet"
        parts = [(run.spec.id, name, own) for run in runs for name, own in (("val", run.val), ("test", run.test))]
        predicted = pa.concat_tables([_predicted(*own) for own in parts])
        self.root.put_table(predicted, self.folder, "predictions", part)
        weights = [
            {"run_id": run.spec.id, "modality": modality, "label": label, "weight": weight}
            for run in runs
            for modality, label, weight in run.weights
        ]
        if weights:
            self.root.put_table(pa.Table.from_pylist(weights, _WEIGHTS), self.folder, "weights", part)
        own = [f"{kind}/{part}" for kind in ("predictions", *(["weights"] if weights else []))]
        table = pa.Table.from_pylist([_run_row(run) for run in runs])
        signed = {"affuse": json.dumps({"needs": sorted({*own, *needs})})}
        self.root.put_table(table.replace_schema_metadata(signed), self.folder, "runs", part)

    def append(self, log: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Add rows to one of `LOGS`, all of them or, if killed, none; return the path of the part, if there is one."""
        if not rows:
            return []
        path = f"{log}/{uuid.uuid4().hex}.parquet"
        self.root.put_table(pa.Table.from_pylist(list(rows), LOGS[log]), self.folder, path)
        return [path]

    def log(self, log: str) -> pa.Table:
        """Return all rows of one of `LOGS`, in no order that means anything; empty if nothing was noted.

        What two processes have scored or timed at once is there once.
        """
        table = pa.concat_tables([LOGS[log].empty_table(), *self.log_parts(log).values()])
        return _first_of_each(table, *_ONCE[log]) if log in _ONCE else table

    def log_parts(self, log: str) -> dict[str, pa.Table]:
        """Return the parts of one of `LOGS` by their path in the study's folder."""
        parts = self.root.tables(f"{self.folder}/{log}", LOGS[log])
        whole = {name: _with_later(part, LOGS[log]).select(LOGS[log].names) for name, part in parts.items()}
        return {f"{log}/{name}": part for name, part in whole.items()}

    def open_test(self, run_ids: Sequence[str], purpose: str) -> list[str]:
        """Note, before it happens, that these runs are about to be let see their test part; return where."""
        time = now()
        return self.append("openings", [{"run_id": own, "purpose": purpose, "time": time} for own in run_ids])

    def sealed(self) -> dict[str, pa.Table]:
        """Return the parts of `runs/` by name: those all of whose files are there as they were written."""
        listed = {
            f"{kind}/{name}": stamp
            for kind in ("runs", "predictions", "weights", *LOGS)
            for name, stamp in self.root.stamps(self.folder, kind).items()
        }
        self._lost.clear()
        for path in sorted(listed):
            if path.startswith("runs/") and path.endswith(".parquet"):
                known, _ = self._whole.get(path, ({}, None))
                if not known or not known.items() <= listed.items():
                    self._look(path, listed)
        return {path.removeprefix("runs/"): part for path, (_, part) in self._whole.items() if path in listed}

    def _look(self, path: str, listed: Mapping[str, object]) -> None:
        """Keep a part of `runs/` with the stamps of all its files, or why it counts for nothing."""
        self._whole.pop(path, None)
        file, ids = path, None
        try:
            part = self.root.read_table(self.folder, path)
            ids = frozenset(part["run_id"].to_pylist())
            said = json.loads((part.schema.metadata or {}).get(b"affuse", "{}"))
            beside = [path.replace("runs/", kind) for kind in ("predictions/", "weights/")]  # all an earlier seal has
            needs = said.get("needs", [name for name in beside if name == beside[0] or name in listed])
            for file in needs:
                self.root.read_table(self.folder, file)
            self._whole[path] = {name: listed.get(name) for name in (path, *needs)}, part
        except (FileNotFoundError, DamagedError) as error:
            why = "it is missing" if isinstance(error, FileNotFoundError) else str(error)
            self._lost[path.removeprefix("runs/")] = f"{self.folder}/{file}", why, ids

    def lost(self) -> dict[str, tuple[str, str, bool]]:
        """Return the parts of `runs/` that count for nothing: what is wrong with which file, and whether all of their
        runs have been made again."""
        made = self.run_ids()
        return {name: (path, why, ids is not None and ids <= made) for name, (path, why, ids) in self._lost.items()}

    def run_ids(self) -> set[str]:
        """Return the ids of all sealed runs."""
        return {run_id for part in self.sealed().values() for run_id in part["run_id"].to_pylist()}

    def runs(self) -> pa.Table | None:
        """Return one row a run, with its variant, the settings it was trained with (hyper) and class counts.

        Columns: run_id, model, head, modalities, repeat, seed, best_epoch, seconds, spec, curves, variant, hyper,
        counts, unfinished. Sorted by model and repeat; None if nothing has run. `spec`, `curves`, `hyper` and `counts`
        are JSON.
        """
        table = self._parts("runs")
        if table is None:
            return None
        return _first_of_each(table, "run_id").sort_by([("model", "ascending"), ("repeat", "ascending")])

    def predictions(self, run_ids: Sequence[str], part: str = "test") -> pa.Table:
        """Return one row a (run, sample) of `part`: run_id, sample_id, label, group, posterior, weights.

        `weights` is null unless the head weighs by sample. Sorted by run and sample. Raises NotFound naming a run
        without predictions.
        """
        wanted = pa.array(sorted(run_ids), pa.string())
        table = self._parts("predictions", pc.field("run_id").isin(wanted) & (pc.field("part") == part))
        if table is not None:
            table = _first_of_each(table, "run_id", "sample_id")
        found = set() if table is None else set(table["run_id"].unique().to_pylist())
        if missing := sorted(set(run_ids) - found):
            raise NotFound(f"study {self.id} has no {part} predictions of run {missing[0]}: run `affuse study` first")
        assert table is not None
        return table.drop(["part"]).sort_by([("run_id", "ascending"), ("sample_id", "ascending")])

    def weights(self) -> pa.Table | None:
        """Return one row a (run, modality, label): run_id, modality, weight, label; None if no head has weights.

        `label` is null unless the head weighs by class.
        """
        table = self._parts("weights")
        return None if table is None else _first_of_each(table, "run_id", "modality", "label")

    def _parts(self, kind: str, chosen: pc.Expression | None = None) -> pa.Table | None:
        """Return all sealed rows of a kind, or those chosen; None if there is no part."""
        sealed = self.sealed()
        names = [name for name in self.root.names(self.folder, kind) if name in sealed]
        read = (sealed[name] if kind == "runs" else self.root.read_table(self.folder, kind, name) for name in names)
        whole = (_with_later(table, _SINCE[kind]) for table in read)
        tables = [table if chosen is None else table.filter(chosen) for table in whole]
        return pa.concat_tables(tables, promote_options="default") if tables else None


_ONCE: Mapping[str, Sequence[str]] = {
    "robustness": ("run_id", "condition", "modality", "level", "metric"),
    "latency": ("model", "batch", "run_id"),
}
_WEIGHTS = columns(run_id=_TEXT, modality=_TEXT, weight=_FLOAT, label=_TEXT)
_SINCE: Mapping[str, pa.Schema] = {  # columns that older parts lack, and read as null
    "runs": columns(variant=_TEXT, hyper=_TEXT, counts=_TEXT, unfinished=pa.bool_()),
    "predictions": columns(weights=pa.list_(pa.float32())),
    "weights": columns(label=_TEXT),
}


def _with_later(table: pa.Table, later: pa.Schema) -> pa.Table:
    """Return a part with those of `later` it lacks, as nulls at its end."""
    for column in later:
        if column.name not in table.column_names:
            table = table.append_column(column, pa.nulls(len(table), column.type))
    return table


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
        "variant": run.spec.variant,
        "hyper": json.dumps(dict(run.hyper)),
        "counts": json.dumps({name: list(own) for name, own in run.counts.items()}),
        "unfinished": run.unfinished,
    }


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
            "weights": _lists(predicted.weights, n),
        }
    )


def _lists(rows: np.ndarray | None, n: int) -> pa.Array:
    """Return (n, width) as n lists, or n nulls."""
    if rows is None:
        return pa.nulls(n, pa.list_(pa.float32()))
    flat = pa.array(np.ascontiguousarray(rows, dtype=np.float32).reshape(-1))
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1) * rows.shape[1], pa.int32()), flat)


def _first_of_each(table: pa.Table, *columns: str) -> pa.Table:
    """Keep one row per value of `columns`: two processes may have finished the same run."""
    numbered = table.append_column("_row", pa.array(np.arange(len(table))))
    first = numbered.group_by(list(columns), use_threads=False).aggregate([("_row", "min")])["_row_min"]
    return table.take(first)
