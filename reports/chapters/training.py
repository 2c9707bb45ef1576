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
from reports.findings.epochs import EpochBand, band_by_epoch
from reports.findings.searches import Searched, in_words, read_searches
from reports.results import Results
from reports.selection import on_one_or_all, shown_first
from reports.words import labels_of, percent, sentence
from stores.encoders import EncoderStore
from stores.root import Root

Epochs = Sequence[Mapping[str, float]]  # of one training
_OF_ENCODERS = ("train_accuracy", "val_accuracy", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One setting of a grid over the `n` repeats (1 unless encoders are trained per repeat) it was trained in.

    `val_loss` and `val_accuracy` are means of the best epochs, on the encoder's own held-back groups.
    """

    modality: str
    settings: str
    val_loss: float
    val_accuracy: float
    used: int
    n: int


@dataclass(frozen=True, kw_only=True)
class TrainingCurve:
    """Training of one model, or of the encoders of one modality: mean cross-entropies over `n` trainings.

    Of encoders the accuracies are known as well, and the learning rate (its median) of every epoch.
    """

    name: str
    kind: str
    n: int
    epochs: tuple[int, ...]
    train_loss: EpochBand
    val_loss: EpochBand
    best_epoch: float | None
    train_accuracy: EpochBand | None = None
    val_accuracy: EpochBand | None = None
    learning_rate: EpochBand | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Curves of heads and encoders, searches of heads, and encoder settings that were tried."""

    curves: tuple[TrainingCurve, ...]
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
        order = [results.reference, *(score.model for score in results.ranking())]
        heads = [curve for curve in value.curves if curve.kind == "head" and curve.name in wanted]
        heads.sort(key=lambda curve: order.index(curve.name))
        shown = [*heads, *(curve for curve in value.curves if curve.kind == "encoder")]
        top = max((max(c.val_loss.high + c.train_loss.high) for c in shown if c.kind == "head"), default=1.0)
        losses = [_losses(curve, i, names, top) for i, curve in enumerate(shown)]
        return [*losses, *(_accuracies(curve, i) for i, curve in enumerate(shown) if curve.kind == "encoder")]

    def context(self, value: Trained, results: Results) -> Mapping[str, Any]:
        shown = shown_first(results)
        return {
            "missing": _missing(value, results.facts.get("features", {})),
            "kept": [text for curve in value.curves if (text := _kept(curve))],
            "searched": sentence(in_words(value.searches)),
            "first": [it for it in value.searches if it.model in shown],
            "more": [it for it in value.searches if it.model not in shown],
        }


def _missing(value: Trained, features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return `3 of 20 image` wherever encoders are not in the root that the report was made from."""
    there = {curve.name: curve.n for curve in value.curves}
    made = {m: len(features[m].get("encoders") or ()) for m in sorted(features)}
    lacking = {m: made[m] - there.get(f"{m} encoder", 0) for m in made}
    return [f"{count} of {made[m]} {m}" for m, count in lacking.items() if count]


def _kept(curve: TrainingCurve) -> str:
    """Return how often an encoder is right at the epoch that was kept; nothing of a head."""
    if curve.train_accuracy is None or curve.val_accuracy is None or curve.best_epoch is None:
        return ""
    at = min(range(len(curve.epochs)), key=lambda i: abs(curve.epochs[i] - (curve.best_epoch or 0)))
    seen, unseen = percent(curve.train_accuracy.median[at]), percent(curve.val_accuracy.median[at])
    return f"the {curve.name} is right on {seen} % of its training samples and {unseen} % of its validation samples"


def head_curves(evidence: Evidence) -> tuple[TrainingCurve, ...]:
    """Return one curve a model that trains; combiners have none."""
    rows: dict[str, list[tuple[Epochs, int]]] = {}
    for row in evidence.runs.select(["model", "curves", "best_epoch"]).to_pylist():
        if epochs := json.loads(row["curves"]):
            rows.setdefault(row["model"], []).append((epochs, row["best_epoch"]))
    return tuple(_curve(name, "head", [e for e, _ in own], [b for _, b in own]) for name, own in rows.items())


def encoder_curves(evidence: Evidence, root: Root) -> tuple[TrainingCurve, ...]:
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


def _curve(
    name: str, kind: str, runs: Sequence[Sequence[Mapping[str, float]]], best: Iterable[int | None]
) -> TrainingCurve:
    def band(measure: str) -> EpochBand:
        return band_by_epoch([[epoch[measure] for epoch in run] for run in runs])

    known = [epoch for epoch in best if epoch is not None and epoch >= 0]
    return TrainingCurve(
        name=name,
        kind=kind,
        n=len(runs),
        epochs=tuple(int(epoch["epoch"]) for epoch in max(runs, key=len)),
        train_loss=band("train_loss"),
        val_loss=band("val_loss"),
        best_epoch=float(np.median(known)) if known else None,
        **{key: band(key) for key in _OF_ENCODERS if kind == "encoder"},
    )


def _losses(curve: TrainingCurve, index: int, names: Mapping[str, str], top: float) -> Figure:
    name = names.get(curve.name, curve.name)
    with Drawing(f"curve-{index + 1}", width=3.6, height=2.3) as drawing:
        _pair(drawing, curve, curve.train_loss, curve.val_loss, name)
        highest = top if curve.kind == "head" else max(curve.train_loss.high + curve.val_loss.high)
        drawing.axes.set(ylabel="loss", ylim=(0, 1.05 * highest))
        told = _told(curve, curve.train_loss, curve.val_loss, "loss")
        return finish(drawing, f"{curve.kind}_curves", f"Training of {name}", axis="y", told=told)


def _accuracies(curve: TrainingCurve, index: int) -> Figure:
    assert curve.train_accuracy is not None
    assert curve.val_accuracy is not None
    with Drawing(f"accuracy-{index + 1}", width=3.6, height=2.3) as drawing:
        _pair(drawing, curve, curve.train_accuracy, curve.val_accuracy, curve.name)
        drawing.axes.set(ylabel="accuracy", ylim=(0, 1.05))
        title = f"Accuracy of the {curve.name} while it was trained; validation is its own held-back groups"
        told = _told(curve, curve.train_accuracy, curve.val_accuracy, "accuracy")
        return finish(drawing, "encoder_curves", title, axis="y", told=told)


def _told(curve: TrainingCurve, training: EpochBand, validation: EpochBand, what: str) -> str:
    kept = "" if curve.best_epoch is None else f"; epoch {curve.best_epoch:g} was kept, the median of {curve.n}"
    return (
        f"Median {what} from epoch {curve.epochs[0]} to {curve.epochs[-1]}: training {training.median[0]:.2f} to "
        f"{training.median[-1]:.2f}, validation {validation.median[0]:.2f} to {validation.median[-1]:.2f}{kept}."
    )


def _pair(drawing: Drawing, curve: TrainingCurve, training: EpochBand, validation: EpochBand, name: str) -> None:
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


def tried_settings(facts: Mapping[str, Any]) -> list[Tried]:
    """Return every setting of every grid of a study, by modality and in the order of the grid."""
    found = []
    for modality, feature in sorted(facts.get("features", {}).items()):
        by_settings: dict[str, list[Mapping[str, Any]]] = {}
        for point in (point for grid in feature.get("grids", []) for point in grid):
            by_settings.setdefault(json.dumps(point["settings"]), []).append(point)
        for text, points in by_settings.items():
            found.append(
                Tried(
                    modality=modality,
                    settings=", ".join(f"{name} = {value}" for name, value in json.loads(text).items()),
                    val_loss=float(np.mean([point["val_loss"] for point in points])),
                    val_accuracy=float(np.mean([point["val_accuracy"] for point in points])),
                    used=sum(point["chosen"] for point in points),
                    n=len(points),
                )
            )
    return found
