"""Modality weights: of a head for all samples, and each sample's own, summed up. They describe; nothing is tested."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import HEAT, INK, MODALITY, MUTED, PURPLE, Drawing, Figure, beside, finish, grid
from reports.findings.epochs import WeightPath, weight_paths
from reports.findings.weights import FittedWeight, SampleWeight, fitted_weights, sample_weights
from reports.heads import GIVEN
from reports.results import Results
from reports.selection import shown_first
from reports.words import NONE, labels_of

LINES = {"text": "-", "speech": "--", "image": ":"}
OVERLAPPING = "Interval: of the mean over repeats, with 1/J + n2/n1 for the samples that repeats share."
ALONE = "Interval: of the mean over seeds; it shows the noise of training on this one split, not other recordings."
UNIDENTIFIED = (
    "Weights for each emotion are not identified: the classifier of a modality can take over any scale, so that other "
    "weights would give the same scores; they say something only beside recalls and what is lost without a modality."
)


@dataclass(frozen=True, kw_only=True)
class ModalityWeights:
    """Weights of heads that weigh all samples alike, how these moved in training, and weights of each sample.

    `draws` of groups are behind the intervals of the last.
    """

    draws: int
    fitted: tuple[FittedWeight, ...]
    paths: tuple[WeightPath, ...]
    by_sample: tuple[SampleWeight, ...]


class Weights(Chapter[ModalityWeights]):
    """How much heads lean on each modality."""

    title = "Modality weights"

    def compute(self, case: Case) -> ModalityWeights:
        config, design = case.config, case.measures.design
        return ModalityWeights(
            draws=config.draws,
            fitted=fitted_weights(case.evidence, case.store, design),
            paths=weight_paths(case.evidence, GIVEN),
            by_sample=sample_weights(case.evidence, alpha=design.alpha, draws=config.draws, seed=config.seed),
        )

    def figures(self, value: ModalityWeights, results: Results) -> Iterable[Figure]:
        return [
            *for_all_samples(value.fitted, results),
            *in_training(value.paths, results),
            *by_emotion((*value.fitted, *value.by_sample), results),
        ]

    def tables(self, value: ModalityWeights, results: Results) -> Mapping[str, Rows]:
        return {"weights": [vars(w) for w in value.fitted], "sample_weights": [vars(w) for w in value.by_sample]}

    def context(self, value: ModalityWeights, results: Results) -> Mapping[str, Any]:
        emotional = {w.model for w in value.fitted if w.label is not None}
        return {
            "by_emotion": weights_by_emotion(value, results),
            "draws": value.draws,
            "interval": ALONE if results.method.protocol == "fixed" else OVERLAPPING,
            "unidentified": f" {UNIDENTIFIED}" if emotional else "",
        }


def weights_by_emotion(found: ModalityWeights, results: Results) -> list[dict[str, Any]]:
    """Return the models that learn weights by emotion, then those that weigh each sample by itself.

    `cells` are by modality and emotion, mean and interval as text; `n` counts `unit`s, 0 of an emotion without any.
    """
    learned = {(w.model, w.modality, w.label): w for w in found.fitted if w.label is not None}
    own = {(w.model, w.modality, w.label): w for w in found.by_sample if w.label is not None}
    return [*_emotion_weights(results, learned, "repeats"), *_emotion_weights(results, own, "test predictions")]


def _emotion_weights(
    results: Results, weights: Mapping[tuple[str, str, str], FittedWeight | SampleWeight], unit: str
) -> Iterable[dict[str, Any]]:
    labels = results.labels
    for model in dict.fromkeys(name for name, _, _ in weights):
        modalities = tuple(dict.fromkeys(modality for name, modality, _ in weights if name == model))
        found = [[weights.get((model, modality, label)) for label in labels] for modality in modalities]
        cells, n = [[_spread(w) for w in row] for row in found], [w.n if w else 0 for w in found[0]]
        yield {"model": model, "unit": unit, "modalities": modalities, "cells": cells, "n": n}


def _spread(weight: FittedWeight | SampleWeight | None) -> str:
    if weight is None:
        return NONE
    interval = "" if weight.low is None or weight.high is None else f" ({weight.low:.2f} to {weight.high:.2f})"
    return f"{weight.mean:.2f}{interval}"


def for_all_samples(fitted: Sequence[FittedWeight], results: Results) -> Iterable[Figure]:
    """Draw the weights that all samples share, with their intervals."""
    names, shown = labels_of(results), shown_first(results)
    weights = [weight for weight in fitted if weight.model in shown and weight.label is None]
    models = list(dict.fromkeys(weight.model for weight in weights))
    if not models:
        return
    title = "Modality weights for all samples, mean over repeats and interval"
    with Drawing("weights", height=0.9 + 0.24 * len(weights) + 0.15 * len(models)) as drawing:
        ax, y, ticks = drawing.axes, 0.0, []
        for model in sorted(models, key=lambda name: (name != results.reference, name)):
            own = [weight for weight in weights if weight.model == model]
            for weight in own:
                _bar(drawing, weight, y)
                head = f"{names[model]}{' (given)' if weight.given else ''}:  " if weight is own[0] else ""
                ticks.append((y, f"{head}{weight.modality}"))
                y += 1.0
            ax.plot([1 / len(own)] * 2, [y - len(own) - 0.5, y - 0.5], color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
            y += 0.6
        ax.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        ax.set(ylim=(y - 1.0, -0.6), xlabel="weight (dashed: equal weights)")
        ax.set_xlim(left=0)
        yield finish(drawing, "weights", title)


def _bar(drawing: Drawing, weight: FittedWeight, y: float) -> None:
    colour, end = MODALITY.get(weight.modality, PURPLE), weight.mean
    face = "none" if weight.given else colour
    drawing.axes.barh(y, weight.mean, height=0.8, facecolor=face, edgecolor=colour)
    if weight.low is not None and weight.high is not None:
        drawing.axes.plot([weight.low, weight.high], [y, y], color=INK, linewidth=1.1)
        end = weight.high
    beside(drawing, f"{weight.mean:.2f}", end, y)


def in_training(paths: Sequence[WeightPath], results: Results) -> Iterable[Figure]:
    """Draw how weights moved: a line a modality, the band of quartiles over repeats."""
    names, shown = labels_of(results), shown_first(results)
    models = list(dict.fromkeys(path.model for path in paths if path.model in shown))
    for i, model in enumerate(models):
        own = [path for path in paths if path.model == model]
        with Drawing(f"weights-in-training-{i + 1}", width=3.6, height=2.3) as drawing:
            ax = drawing.axes
            ax.axhline(1 / len(own), color=MUTED, linewidth=0.8)
            for path in own:
                colour, epochs = MODALITY.get(path.modality, PURPLE), range(1, len(path.median) + 1)
                style = LINES.get(path.modality, "-.")
                ax.plot(epochs, path.median, color=colour, linestyle=style, linewidth=1.6, label=path.modality)
                ax.fill_between(epochs, path.low, path.high, color=colour, alpha=0.18, linewidth=0)
            ax.set(xlabel="epoch", ylabel="weight")
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            ax.set_title(names[model], fontsize=10, loc="left", color=INK)
            drawing.figure.legend(loc="outside lower center", ncols=len(own), handlelength=1.8, borderpad=0)
            yield finish(drawing, "weight_paths", f"Modality weights of {names[model]} while it was trained", axis="y")


def by_emotion(weights: Sequence[FittedWeight | SampleWeight], results: Results) -> Iterable[Figure]:
    """Draw the mean weight of every modality for every emotion."""
    names, shown, labels = labels_of(results), shown_first(results), results.labels
    means = {(w.model, w.modality, w.label): w.mean for w in weights if w.label is not None and w.model in shown}
    rows = list(dict.fromkeys((model, modality) for model, modality, _ in means))
    if not rows:
        return
    shares = [[means.get((*row, label)) for label in labels] for row in rows]
    cells = [[(HEAT, mean or 0.0, "–" if mean is None else f"{mean:.2f}", False) for mean in row] for row in shares]
    title, lines = "Mean weight of each modality by emotion", [f"{names[m]}: {of}" for m, of in rows]
    yield grid("weights-by-emotion", "emotion_weights", title, lines, labels, cells)
