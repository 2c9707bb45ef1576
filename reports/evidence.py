"""What a report is made from: the stored predictions of every model, paired by repeat and sample."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """The test part of one repeat: ids, labels and groups (n,), and the class counts (K,) of its training part."""

    repeat: int
    sample_ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    trained_on: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All models scored on the same test parts. `posteriors[model][i]` is (n, K) for `held_out[i]`.

    `weights[model][i]` is (n, modalities) float32, modalities sorted, of a model that weighs every sample by itself.
    """

    facts: Mapping[str, Any]
    models: tuple[Model, ...]
    held_out: tuple[HeldOut, ...]
    posteriors: Mapping[str, tuple[np.ndarray, ...]]
    weights: Mapping[str, tuple[np.ndarray, ...]]
    runs: pa.Table

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.facts["classes"])

    @property
    def pairing(self) -> str:
        return str(self.facts["corpus"]["pairing"])

    @property
    def protocol(self) -> str:
        return str(self.facts["protocol"]["kind"])


def read_evidence(store: StudyStore, run_ids: Sequence[str]) -> Evidence:
    """Read the runs `run_ids` of a study and pair them.

    Raises NotFound for a run that is not there, EvidenceError naming the offending keys if the models were not
    scored on the same repeats and samples.
    """
    runs = _chosen_runs(store, run_ids)
    facts = store.facts()
    tests = _tests_by_run(store.predictions(runs["run_id"].to_pylist()))
    rows = runs.select(["run_id", "model", "head", "modalities", "repeat", "variant"]).to_pylist()
    by_model: dict[str, dict[int, str]] = {}
    for row in rows:
        by_model.setdefault(row["model"], {})[row["repeat"]] = row["run_id"]
    first = next(iter(by_model))
    repeats = sorted(by_model[first])
    for name, own in by_model.items():
        if odd := sorted(set(own) ^ set(repeats)):
            raise EvidenceError(f"{name} and {first} do not share repeats {odd}: run `affuse study` to complete them")
        for repeat in repeats:
            _check_finite(tests[own[repeat]], f"{name}, repeat {repeat}")
            _check_same_samples(tests[by_model[first][repeat]], tests[own[repeat]], f"{name}, repeat {repeat}", first)
    held_out = _held_out(store, len(facts["classes"]), {r: tests[by_model[first][r]] for r in repeats})
    posteriors = {name: tuple(tests[own[r]]["posterior"] for r in repeats) for name, own in by_model.items()}
    weights = {
        name: tuple(tests[own[r]]["weights"] for r in repeats)
        for name, own in by_model.items()
        if all("weights" in tests[own[r]] for r in repeats)
    }
    posteriors[CHANCE] = tuple(
        np.tile((part.trained_on / part.trained_on.sum()).astype(np.float32), (len(part.labels), 1))
        for part in held_out
    )
    models = {
        row["model"]: Model(
            name=row["model"],
            head=row["head"],
            modalities=tuple(row["modalities"].split("+")),
            variant=row["variant"] or "",  # runs of before there were variants have none
        )
        for row in rows
    } | {CHANCE: Model(name=CHANCE, head=CHANCE)}
    return Evidence(
        facts=facts,
        models=tuple(models.values()),
        held_out=held_out,
        posteriors=posteriors,
        weights=weights,
        runs=runs,
    )


def _chosen_runs(store: StudyStore, run_ids: Sequence[str]) -> pa.Table:
    runs = store.runs()
    there = set() if runs is None else set(runs["run_id"].to_pylist())
    if missing := sorted(set(run_ids) - there):
        raise NotFound(f"study {store.id} has no run {missing[0]}: run `affuse study` first")
    if runs is None or not run_ids:
        raise EvidenceError(f"expected at least one run of study {store.id} to report on, got none")
    return runs.filter(pc.is_in(runs["run_id"], pa.array(sorted(run_ids), pa.string())))


def _tests_by_run(table: pa.Table) -> dict[str, dict[str, np.ndarray]]:
    """Cut the predictions, sorted by run and sample, into one block of columns a run."""
    ids = table["run_id"].to_numpy(zero_copy_only=False).astype(str)
    posteriors = table["posterior"].combine_chunks()
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in ("sample_id", "label", "group")}
    columns["posterior"] = posteriors.flatten().to_numpy().reshape(len(table), -1)
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    weights = table["weights"].combine_chunks()
    return {
        ids[start]: {name: column[start:end] for name, column in columns.items()}
        | _weights(weights.slice(start, end - start))
        for start, end in zip(starts, np.r_[starts[1:], len(ids)], strict=True)
    }


def _weights(lists: pa.Array) -> dict[str, np.ndarray]:
    """Return the weights (n, modalities) of one run under their name; nothing of a run without."""
    if lists.null_count:
        return {}
    return {"weights": lists.flatten().to_numpy().reshape(len(lists), -1)}


def _check_same_samples(
    expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], where: str, first: str
) -> None:
    if np.array_equal(expected["sample_id"], got["sample_id"]) and np.array_equal(expected["label"], got["label"]):
        return
    one, other = (Counter(zip(part["sample_id"], part["label"], strict=True)) for part in (expected, got))
    odd = sorted({str(sample_id) for sample_id, _ in (one - other) + (other - one)})
    raise EvidenceError(
        f"{where} was not scored on the samples of {first}: {', '.join(odd[:5])} differ, by id or label; run it again"
    )


def _check_finite(test: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse posteriors that are not numbers: the largest of them would still name a class."""
    if odd := test["sample_id"][~np.isfinite(test["posterior"]).all(axis=1)].tolist():
        raise EvidenceError(f"{where} has posteriors of NaN or infinity for {', '.join(odd[:5])}; run it again")


def _held_out(store: StudyStore, n_classes: int, tests: Mapping[int, Mapping[str, np.ndarray]]) -> tuple[HeldOut, ...]:
    labels = store.samples().select(["sample_id", "label"])
    number = {name: i for i, name in enumerate(store.facts()["classes"])}
    label_of = {row["sample_id"]: number.get(row["label"]) for row in labels.to_pylist()}
    splits = store.splits()
    train = splits.filter(pc.equal(splits["part"], "train")).to_pydict()
    counts = {repeat: np.zeros(n_classes, dtype=np.int64) for repeat in tests}
    for repeat, sample_id in zip(train["repeat"], train["sample_id"], strict=True):
        if repeat in counts and label_of[sample_id] is not None:
            counts[repeat][label_of[sample_id]] += 1
    if empty := [repeat for repeat, count in counts.items() if not count.any()]:
        raise EvidenceError(f"repeats {empty} of study {store.id} train on no labelled sample: its splits are broken")
    return tuple(
        HeldOut(
            repeat=repeat,
            sample_ids=test["sample_id"].astype(str),
            labels=test["label"].astype(np.int64),
            groups=test["group"].astype(str),
            trained_on=counts[repeat],
        )
        for repeat, test in sorted(tests.items())
    )
