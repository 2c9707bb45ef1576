"""Modality weights: of a head for all samples, and each sample's own, summed up. They describe; nothing is tested."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.case import Case
from reports.chapters import _weight_figures as drawn
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import Figure
from reports.findings.fitted_weights import FittedWeight, fitted_weights
from reports.findings.sample_weights import SampleWeight, sample_weights
from reports.findings.weights_in_training import WeightPath, weight_paths
from reports.heads import GIVEN
from reports.results import Results
from reports.words import NONE

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
            *drawn.for_all_samples(value.fitted, results),
            *drawn.in_training(value.paths, results),
            *drawn.by_emotion((*value.fitted, *value.by_sample), results),
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


@dataclass(frozen=True, kw_only=True)
class EmotionWeights:
    """The weights of a model by emotion: `cells[i]` of `modalities[i]` as mean and interval, and how many of `unit`.

    An emotion without any has a dash, and n 0.
    """

    model: str
    unit: str
    modalities: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    n: tuple[int, ...]


def weights_by_emotion(found: ModalityWeights, results: Results) -> list[EmotionWeights]:
    """Return the models that learn weights by emotion, then those that weigh each sample by itself."""
    learned = {(w.model, w.modality, w.label): w for w in found.fitted if w.label is not None}
    own = {(w.model, w.modality, w.label): w for w in found.by_sample if w.label is not None}
    return [*_emotion_weights(results, learned, "repeats"), *_emotion_weights(results, own, "test predictions")]


def _emotion_weights(
    results: Results, weights: Mapping[tuple[str, str, str], FittedWeight | SampleWeight], unit: str
) -> Iterable[EmotionWeights]:
    labels = results.labels
    for model in dict.fromkeys(name for name, _, _ in weights):
        modalities = tuple(dict.fromkeys(modality for name, modality, _ in weights if name == model))
        found = [[weights.get((model, modality, label)) for label in labels] for modality in modalities]
        yield EmotionWeights(
            model=model,
            unit=unit,
            modalities=modalities,
            cells=tuple(tuple(_spread(weight) for weight in row) for row in found),
            n=tuple(weight.n if weight else 0 for weight in found[0]),
        )


def _spread(weight: FittedWeight | SampleWeight | None) -> str:
    if weight is None:
        return NONE
    interval = "" if weight.low is None or weight.high is None else f" ({weight.low:.2f} to {weight.high:.2f})"
    return f"{weight.mean:.2f}{interval}"
