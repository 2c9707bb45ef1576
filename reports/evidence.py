"""What a report is made from: the stored predictions of every model, paired by repeat and sample."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reports.errors import EvidenceError
from stores.errors import NotFound
from stores.studies import StudyStore

CHANCE = "majority class"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One line of the comparison. `name` is `weighted[image+speech+text]`, or CHANCE for the baseline.

    `variant` names a way of training beside the study's own, which is "".
    """

    name: str
    head: str
    modalities: tuple[str, ...] = ()
    variant: str = ""

    @property
    def fused(self) -> bool:
        return len(self.modalities) > 1


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The test part of one repeat: ids, labels and groups (n,), and the class counts (K,) of its training part.

    `by_encoders` more samples were fitted on, not only stopped on, by encoders that this repeat trained; one that was
    trained once for all is no repeat's.
    """

    repeat: int
    sample_ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    trained_on: np.ndarray
    by_encoders: int = 0

    @property
    def fitted(self) -> int:
        """How many samples this repeat fitted anything on: n1 of its corrected tests."""
        return int(self.trained_on.sum()) + self.by_encoders


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All models scored on the same test parts. `posteriors[model][i]` is (n, K) for `held_out[i]`.

    `weights[model][i]` is (n, modalities) float32, modalities sorted, of a model that weighs every sample by itself.
    `refused` is why no two models can be compared on it.
    """

    facts: Mapping[str, Any]
    models: tuple[Model, ...]
    held_out: tuple[HeldOut, ...]
    posteriors: Mapping[str, tuple[np.ndarray, ...]]
    weights: Mapping[str, tuple[np.ndarray, ...]]
    runs: pa.Table
    refused: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.facts["classes"])

    @property
    def pairing(self) -> str:
        return str(self.facts["corpus"]["pairing"])

    @property
    def by_label(self) -> bool:
        """Whether the modalities of a sample were paired by its label: then nothing is told of fusions."""
        return self.pairing == "composed"

    @property
    def protocol(self) -> str:
        return str(self.facts["protocol"]["kind"])

    @property
    def trained(self) -> list[Model]:
        """All models but the majority class."""
        return [model for model in self.models if model.name != CHANCE]

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels of all test parts in a row, (N,) int64."""
        return np.concatenate([part.labels for part in self.held_out])

    @cached_property
    def group_index(self) -> tuple[np.ndarray, np.ndarray]:
        """The names of the groups, sorted, and the number of its group for every test prediction in a row, (N,)."""
        names, index = np.unique(np.concatenate([part.groups for part in self.held_out]), return_inverse=True)
        return names, index

    def predicted(self, model: str) -> np.ndarray:
        """Return the classes a model predicts, all test parts in a row, (N,) int64."""
        return np.concatenate([posteriors.argmax(axis=1) for posteriors in self.posteriors[model]])

    def only(self, keep: Sequence[np.ndarray], models: Iterable[str]) -> "Evidence":
        """Return the evidence of `models` on the test samples in `keep`, (n,) bool a repeat."""
        return replace(
            self,
            held_out=tuple(
                replace(part, sample_ids=part.sample_ids[own], labels=part.labels[own], groups=part.groups[own])
                for part, own in zip(self.held_out, keep, strict=True)
            ),
            posteriors={name: _kept(self.posteriors[name], keep) for name in sorted(models)},
            weights={name: _kept(rows, keep) for name, rows in self.weights.items()},
        )


def _kept(rows: Sequence[np.ndarray], keep: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    return tuple(part[own] for part, own in zip(rows, keep, strict=True))


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """The test predictions of one run, sorted by sample; texts stay in Arrow, since all models share most of them."""

    sample_ids: pa.Array
    groups: pa.Array
    labels: np.ndarray
    posteriors: np.ndarray
    weights: np.ndarray | None


def read_evidence(store: StudyStore, run_ids: Sequence[str]) -> Evidence:
    """Read the runs `run_ids` of a study and pair them.

    Raises NotFound for a run that is not there, EvidenceError naming the offending keys if the models were not
    scored on the same repeats and samples.
    """
    runs = _chosen_runs(store, run_ids)
    facts = store.facts()
    tests = _tests_by_run(store.predictions(runs["run_id"].to_pylist()))
    by_model, repeats = _paired(runs, tests)
    first = next(iter(by_model.values()))
    held_out = _held_out(store, len(facts["classes"]), {r: tests[first[r]] for r in repeats})
    posteriors = {name: tuple(tests[own[r]].posteriors for r in repeats) for name, own in by_model.items()}
    weights = {
        name: tuple(own for own in weighed if own is not None)
        for name, weighed in ((name, [tests[own[r]].weights for r in repeats]) for name, own in by_model.items())
        if all(own is not None for own in weighed)
    }
    posteriors[CHANCE] = tuple(
        np.tile((part.trained_on / part.trained_on.sum()).astype(np.float32), (len(part.labels), 1))
        for part in held_out
    )
    return Evidence(
        facts=facts,
        models=models_of(runs),
        held_out=held_out,
        posteriors=posteriors,
        weights=weights,
        runs=runs,
    )


def _paired(runs: pa.Table, tests: Mapping[str, _Tested]) -> tuple[dict[str, dict[int, str]], list[int]]:
    """Return the run ids by model and repeat, and the repeats, once all models share these and their samples."""
    by_model: dict[str, dict[int, str]] = {}
    for row in runs.select(["run_id", "model", "repeat"]).to_pylist():
        by_model.setdefault(row["model"], {})[row["repeat"]] = row["run_id"]
    first = next(iter(by_model))
    repeats = sorted(by_model[first])
    for name, own in by_model.items():
        if odd := sorted(set(own) ^ set(repeats)):
            raise EvidenceError(f"{name} and {first} do not share repeats {odd}: run `affuse study` to complete them")
        for repeat in repeats:
            _check_finite(tests[own[repeat]], f"{name}, repeat {repeat}")
            _check_same_samples(tests[by_model[first][repeat]], tests[own[repeat]], f"{name}, repeat {repeat}", first)
    return by_model, repeats


def models_of(runs: pa.Table) -> tuple[Model, ...]:
    """Return the models of the runs in their order, and last the majority class."""
    rows = {row["model"]: row for row in runs.select(["model", "head", "modalities", "variant"]).to_pylist()}
    models = [
        Model(
            name=name,
            head=row["head"],
            modalities=tuple(row["modalities"].split("+")),
            variant=row["variant"] or "",  # runs of before there were variants have none
        )
        for name, row in rows.items()
    ]
    return (*models, Model(name=CHANCE, head=CHANCE))


def _chosen_runs(store: StudyStore, run_ids: Sequence[str]) -> pa.Table:
    runs = store.runs()
    there = set() if runs is None else set(runs["run_id"].to_pylist())
    if missing := sorted(set(run_ids) - there):
        raise NotFound(f"study {store.id} has no run {missing[0]}: run `affuse study` first")
    if runs is None or not run_ids:
        raise EvidenceError(f"expected at least one run of study {store.id} to report on, got none")
    return runs.filter(pc.is_in(runs["run_id"], pa.array(sorted(run_ids), pa.string())))


def _tests_by_run(table: pa.Table) -> dict[str, _Tested]:
    """Cut the predictions, sorted by run and sample, into one block of columns a run."""
    runs = pc.run_end_encode(table["run_id"].combine_chunks())
    ends = runs.run_ends.to_numpy()
    sample_ids, groups, posteriors, weights = (
        table[name].combine_chunks() for name in ("sample_id", "group", "posterior", "weights")
    )
    labels, flat = table["label"].to_numpy(), posteriors.flatten().to_numpy().reshape(len(table), -1)
    return {
        run_id: _Tested(
            sample_ids=sample_ids[start:end],
            groups=groups[start:end],
            labels=labels[start:end],
            posteriors=flat[start:end],
            weights=_weights(weights[start:end]),
        )
        for run_id, start, end in zip(runs.values.to_pylist(), np.r_[0, ends[:-1]], ends, strict=True)
    }


def _weights(lists: pa.Array) -> np.ndarray | None:
    """Return the weights (n, modalities) of one run; None of a run without."""
    return None if lists.null_count else lists.flatten().to_numpy().reshape(len(lists), -1)


def _check_same_samples(expected: _Tested, got: _Tested, where: str, first: str) -> None:
    if expected.sample_ids.equals(got.sample_ids) and np.array_equal(expected.labels, got.labels):
        return
    one, other = (Counter(zip(part.sample_ids.to_pylist(), part.labels, strict=True)) for part in (expected, got))
    odd = sorted({str(sample_id) for sample_id, _ in (one - other) + (other - one)})
    raise EvidenceError(
        f"{where} was not scored on the samples of {first}: {', '.join(odd[:5])} differ, by id or label; run it again"
    )


def _check_finite(test: _Tested, where: str) -> None:
    """Refuse posteriors that are not numbers: the largest of them would still name a class."""
    if not np.isfinite(test.posteriors).all():
        odd = test.sample_ids.filter(pa.array(~np.isfinite(test.posteriors).all(axis=1))).to_pylist()
        raise EvidenceError(f"{where} has posteriors of NaN or infinity for {', '.join(odd[:5])}; run it again")


def _trained_on(store: StudyStore, n_classes: int, repeats: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the class counts (K,) int64 of the training part of every repeat, samples without a label left out."""
    samples, splits = store.samples(), store.splits()
    train = splits.filter(pc.equal(splits["part"], "train"))
    labels = pc.index_in(samples["label"], pa.array(store.facts()["classes"], pa.string()))
    places = pc.index_in(train["sample_id"], samples["sample_id"])
    if places.null_count:
        odd = train["sample_id"].filter(pc.is_null(places))[0].as_py()
        raise EvidenceError(f"study {store.id} trains on {odd}, which is none of its samples: its splits are broken")
    of_train = pc.take(labels, places).to_numpy()  # NaN without a label
    repeat = train["repeat"].to_numpy()
    counts = {
        own: np.bincount(of_train[(repeat == own) & ~np.isnan(of_train)].astype(np.int64), minlength=n_classes)
        for own in repeats
    }
    if empty := [own for own, count in counts.items() if not count.any()]:
        raise EvidenceError(f"repeats {empty} of study {store.id} train on no labelled sample: its splits are broken")
    return counts


def _held_out(store: StudyStore, n_classes: int, tests: Mapping[int, _Tested]) -> tuple[HeldOut, ...]:
    counts, by_encoders = _trained_on(store, n_classes, list(tests)), store.facts().get("fitted_by_encoders", {})
    return tuple(
        HeldOut(
            repeat=repeat,
            sample_ids=test.sample_ids.to_numpy(zero_copy_only=False).astype(str),
            labels=test.labels.astype(np.int64),
            groups=test.groups.to_numpy(zero_copy_only=False).astype(str),
            trained_on=counts[repeat],
            by_encoders=by_encoders.get(str(repeat), 0),
        )
        for repeat, test in sorted(tests.items())
    )
