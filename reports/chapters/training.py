"""Training curves, summed up over repeats."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from reports.case import Case
from reports.chapters._chapter import Chapter
from reports.drawing import BLUE, INK, LINE, ORANGE, Drawing, Figure, finish
from reports.evidence import Evidence
from reports.findings.searches import Searched, in_words, read_searches
from reports.findings.tried import Tried, tried_settings
from reports.results import Results
from reports.selection import listed, on_one_or_all
from reports.words import labels_of, sentence
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


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Curves of heads and encoders, searches of heads, and encoder settings that were tried."""

    curves: tuple[Curve, ...]
    searches: tuple[Searched, ...]
    tried: tuple[Tried, ...]


class Training(Chapter[Trained]):
    """How models were trained, and which settings were tried."""

    title = "Training"

    def compute(self, case: Case) -> Trained:
        return Trained(
            curves=(*head_curves(case.evidence), *encoder_curves(case.evidence, case.store.root)),
            searches=read_searches(case.evidence.runs),
            tried=tuple(tried_settings(case.evidence.facts)),
        )

    def figures(self, value: Trained, results: Results) -> Iterable[Figure]:
        wanted, names = on_one_or_all(results), labels_of(results)
        shown = [curve for curve in value.curves if curve.kind == "encoder" or curve.name in wanted]
        top = max((max(c.val_loss.high + c.train_loss.high) for c in shown if c.kind == "head"), default=1.0)
        losses = [_losses(curve, i, names, top) for i, curve in enumerate(shown)]
        return [*losses, *(_accuracies(curve, i) for i, curve in enumerate(shown) if curve.kind == "encoder")]

    def context(self, value: Trained, results: Results) -> Mapping[str, Any]:
        shown = listed(results)
        return {
            "searched": sentence(in_words(value.searches)),
            "first": [it for it in value.searches if it.model in shown],
            "more": [it for it in value.searches if it.model not in shown],
        }


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


def _losses(curve: Curve, index: int, names: Mapping[str, str], top: float) -> Figure:
    name = names.get(curve.name, curve.name)
    with Drawing(f"curve-{index + 1}", width=3.6, height=2.3) as drawing:
        _pair(drawing, curve, curve.train_loss, curve.val_loss, name)
        highest = top if curve.kind == "head" else max(curve.train_loss.high + curve.val_loss.high)
        drawing.axes.set(ylabel="loss", ylim=(0, 1.05 * highest))
        told = _told(curve, curve.train_loss, curve.val_loss, "loss")
        return finish(drawing, "curves", f"Training of {name}", axis="y", told=told)


def _accuracies(curve: Curve, index: int) -> Figure:
    assert curve.train_accuracy is not None
    assert curve.val_accuracy is not None
    with Drawing(f"accuracy-{index + 1}", width=3.6, height=2.3) as drawing:
        _pair(drawing, curve, curve.train_accuracy, curve.val_accuracy, curve.name)
        drawing.axes.set(ylabel="accuracy", ylim=(0, 1.05))
        title = f"Accuracy of the {curve.name} while it was trained; validation is its own held-back groups"
        told = _told(curve, curve.train_accuracy, curve.val_accuracy, "accuracy")
        return finish(drawing, "curves", title, axis="y", told=told)


def _told(curve: Curve, training: Band, validation: Band, what: str) -> str:
    kept = "" if curve.best_epoch is None else f"; epoch {curve.best_epoch:g} was kept, the median of {curve.n}"
    return (
        f"Median {what} from epoch {curve.epochs[0]} to {curve.epochs[-1]}: training {training.median[0]:.2f} to "
        f"{training.median[-1]:.2f}, validation {validation.median[0]:.2f} to {validation.median[-1]:.2f}{kept}."
    )


def _pair(drawing: Drawing, curve: Curve, training: Band, validation: Band, name: str) -> None:
    """Draw a measure of every epoch: median and quartiles over trainings; a line at the epoch that was kept."""
    ax = drawing.axes
    for label, band, colour, style in (("training", training, BLUE, "--"), ("validation", validation, ORANGE, "-")):
        ax.plot(curve.epochs, band.median, color=colour, linestyle=style, linewidth=1.6, label=label)
        ax.fill_between(curve.epochs, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
    if curve.best_epoch is not None:
        ax.axvline(curve.best_epoch, color=LINE, linewidth=1.2)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_title(name, fontsize=10, loc="left", color=INK)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, handlelength=1.6, borderpad=0, columnspacing=1)
