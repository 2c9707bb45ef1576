"""Training curves, summed up over repeats."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.evidence import Evidence
from stores.encoders import EncoderStore
from stores.root import Root

_OF_ENCODERS = ("train_accuracy", "val_accuracy", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class Band:
    """Median and quartiles over the repeats that reached each epoch."""

    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Training of one model, or of the encoders of one modality: mean cross-entropies over `n` trainings.

    Of encoders the accuracies are known as well, and the learning rate (its median) of every epoch.
    """

    name: str
    kind: str
    n: int
    epochs: tuple[int, ...]
    train_loss: Band
    val_loss: Band
    best_epoch: float | None
    train_accuracy: Band | None = None
    val_accuracy: Band | None = None
    learning_rate: Band | None = None


def head_curves(evidence: Evidence) -> tuple[Curve, ...]:
    """Return one curve a model that trains; combiners have none."""
    rows: dict[str, list[tuple[list[dict[str, float]], int]]] = {}
    for row in evidence.runs.select(["model", "curves", "best_epoch"]).to_pylist():
        if epochs := json.loads(row["curves"]):
            rows.setdefault(row["model"], []).append((epochs, row["best_epoch"]))
    return tuple(_curve(name, "head", [e for e, _ in own], [b for _, b in own]) for name, own in rows.items())


def encoder_curves(evidence: Evidence, root: Root) -> tuple[Curve, ...]:
    """Return one curve a modality whose encoder was trained, over its encoders if there is one a repeat."""
    store, curves = EncoderStore(root), []
    for modality, feature in sorted(evidence.facts.get("features", {}).items()):
        ids = [encoder_id for encoder_id in feature.get("encoders") or () if encoder_id in store]
        if ids:
            epochs = [[vars_of(epoch) for epoch in store.curves(encoder_id)] for encoder_id in ids]
            best = [store.describe(encoder_id)["best_epoch"] for encoder_id in ids]
            curves.append(_curve(f"{modality} encoder", "encoder", epochs, best))
    return tuple(curves)


def vars_of(epoch: object) -> dict[str, float]:
    """Return what the report shows of an encoder's epoch; its seconds stay out."""
    return {name: getattr(epoch, name) for name in ("epoch", "train_loss", "val_loss", *_OF_ENCODERS)}


def _curve(name: str, kind: str, runs: Sequence[Sequence[Mapping[str, float]]], best: Iterable[int | None]) -> Curve:
    longest = max(runs, key=len)
    known = [epoch for epoch in best if epoch is not None and epoch >= 0]
    return Curve(
        name=name,
        kind=kind,
        n=len(runs),
        epochs=tuple(int(epoch["epoch"]) for epoch in longest),
        train_loss=_band(runs, "train_loss", len(longest)),
        val_loss=_band(runs, "val_loss", len(longest)),
        best_epoch=float(np.median(known)) if known else None,
        **{key: _band(runs, key, len(longest)) for key in _OF_ENCODERS if kind == "encoder"},
    )


def _band(runs: Sequence[Sequence[Mapping[str, float]]], key: str, length: int) -> Band:
    quartiles = [np.quantile([run[i][key] for run in runs if i < len(run)], [0.25, 0.5, 0.75]) for i in range(length)]
    low, median, high = (tuple(float(q[part]) for q in quartiles) for part in range(3))
    return Band(median=median, low=low, high=high)
