"""Modality weights: of a head for all samples, and each sample's own, summed up. They describe; nothing is tested."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import HEAT, INK, MODALITY, MUTED, PURPLE, Drawing, Figure, beside, finish, grid
from reports.evidence import Evidence
from reports.results import Results
from reports.selection import listed
from reports.words import NONE, labels_of
from stores.studies import StudyStore

GIVEN = ("fixed",)  # heads whose weights are settings


@dataclass(frozen=True, kw_only=True)
class FittedWeight:
    """Weight of one modality in a head that weighs all samples alike: mean and standard deviation over `n` repeats.

    `label` is the emotion it is for in a head that learns weights for each, else None. `given` says that it is a
    setting, which no one fitted. `sd` is None of a single repeat.
    """

    model: str
    modality: str
    label: str | None
    given: bool
    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class SampleWeight:
    """Weight of one modality for the test samples of one emotion, in a head that weighs every sample by itself.

    Mean and standard deviation over the samples of a repeat, each averaged over the `repeats` that have any; `sd` is
    None if none has two. `n` counts test predictions over all repeats; samples a model sees nothing of are left out.
    """

    model: str
    modality: str
    label: str
    mean: float
    sd: float | None
    n: int
    repeats: int


@dataclass(frozen=True, kw_only=True)
class ModalityWeights:
    """Weights of heads that weigh all samples alike, and of those that weigh each by itself."""

    fitted: tuple[FittedWeight, ...]
    by_sample: tuple[SampleWeight, ...]


class Weights(Chapter[ModalityWeights]):
    """How much heads lean on each modality."""

    title = "Modality weights"

    def compute(self, case: Case) -> ModalityWeights:
        return ModalityWeights(
            fitted=fitted_weights(case.evidence, case.store), by_sample=sample_weights(case.evidence)
        )

    def figures(self, value: ModalityWeights, results: Results) -> Iterable[Figure]:
        return [*_for_all_samples(value, results), *_by_emotion(value, results)]

    def tables(self, value: ModalityWeights, results: Results) -> Mapping[str, Rows]:
        return {"weights": [vars(w) for w in value.fitted], "sample_weights": [vars(w) for w in value.by_sample]}

    def context(self, value: ModalityWeights, results: Results) -> Mapping[str, Any]:
        return {"by_emotion": weights_by_emotion(value, results)}


def fitted_weights(evidence: Evidence, store: StudyStore) -> tuple[FittedWeight, ...]:
    """Return the weights, learned or given, of every model that weighs all samples alike."""
    table = store.weights()
    if table is None:
        return ()
    model_of = dict(zip(evidence.runs["run_id"].to_pylist(), evidence.runs["model"].to_pylist(), strict=True))
    table = table.filter(pc.is_in(table["run_id"], evidence.runs["run_id"].combine_chunks()))
    values: dict[tuple[str, str, int], list[float]] = {}
    for row in table.sort_by([("run_id", "ascending")]).to_pylist():
        number = -1 if row["label"] is None else evidence.classes.index(row["label"])
        values.setdefault((model_of[row["run_id"]], row["modality"], number), []).append(row["weight"])
    given = {model.name for model in evidence.models if model.head in GIVEN}
    return tuple(
        FittedWeight(
            model=model,
            modality=modality,
            label=None if number < 0 else evidence.classes[number],
            given=model in given,
            mean=statistics.fmean(own),
            sd=statistics.stdev(own) if len(own) > 1 else None,
            n=len(own),
        )
        for (model, modality, number), own in sorted(values.items())
    )


def sample_weights(evidence: Evidence) -> tuple[SampleWeight, ...]:
    """Return the weights by emotion of every model that weighs each sample by itself; none of an emotion untested."""
    labels = [part.labels for part in evidence.held_out]
    modalities = {model.name: sorted(model.modalities) for model in evidence.models}
    found = []
    for name, weights in sorted(evidence.weights.items()):
        for m, modality in enumerate(modalities[name]):
            for k, label in enumerate(evidence.classes):
                own = [
                    rows[(actual == k) & rows.any(axis=1), m].astype(np.float64)
                    for actual, rows in zip(labels, weights, strict=True)
                ]
                if seen := [rows for rows in own if len(rows)]:
                    found.append(_summed_up(name, modality, label, seen))
    return tuple(found)


def _summed_up(model: str, modality: str, label: str, rows: Sequence[np.ndarray]) -> SampleWeight:
    spreads = [float(own.std(ddof=1)) for own in rows if len(own) > 1]
    return SampleWeight(
        model=model,
        modality=modality,
        label=label,
        mean=statistics.fmean(float(own.mean()) for own in rows),
        sd=statistics.fmean(spreads) if spreads else None,
        n=sum(map(len, rows)),
        repeats=len(rows),
    )


@dataclass(frozen=True, kw_only=True)
class EmotionWeights:
    """The weights of a model by emotion: `cells[i]` of `modalities[i]` as mean ± deviation, and how many of `unit`.

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
    own = {(w.model, w.modality, w.label): w for w in found.by_sample}
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
    return f"{weight.mean:.2f}" + ("" if weight.sd is None else f" ± {weight.sd:.2f}")


def _for_all_samples(found: ModalityWeights, results: Results) -> list[Figure]:
    names, shown = labels_of(results), listed(results)
    weights = [weight for weight in found.fitted if weight.model in shown and weight.label is None]
    models = list(dict.fromkeys(weight.model for weight in weights))
    if not models:
        return []
    title = "Modality weights for all samples, mean and standard deviation over repeats"
    with Drawing("weights", height=0.9 + 0.24 * len(weights) + 0.15 * len(models)) as drawing:
        ax, y, ticks = drawing.axes, 0.0, []
        for model in sorted(models, key=lambda name: (name != results.reference, name)):
            own = [weight for weight in weights if weight.model == model]
            for weight in own:
                colour, sd = MODALITY.get(weight.modality, PURPLE), weight.sd or 0.0
                face = "none" if weight.given else colour
                ax.barh(y, weight.mean, height=0.8, facecolor=face, edgecolor=colour)
                if not weight.given:
                    ax.errorbar(weight.mean, y, xerr=sd, ecolor=INK, elinewidth=1.1, fmt="none")
                beside(drawing, f"{weight.mean:.2f}", weight.mean + sd, y)
                head = f"{names[model]}{' (given)' if weight.given else ''}:  " if weight is own[0] else ""
                ticks.append((y, f"{head}{weight.modality}"))
                y += 1.0
            ax.plot([1 / len(own)] * 2, [y - len(own) - 0.5, y - 0.5], color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
            y += 0.6
        ax.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        ax.set(ylim=(y - 1.0, -0.6), xlabel="weight (dashed: equal weights)")
        ax.set_xlim(left=0)
        return [finish(drawing, "weights", title)]


def _by_emotion(found: ModalityWeights, results: Results) -> list[Figure]:
    names, shown = labels_of(results), listed(results)
    labels = results.labels
    weights: tuple[FittedWeight | SampleWeight, ...] = (*found.fitted, *found.by_sample)
    means = {
        (weight.model, weight.modality, weight.label): weight.mean
        for weight in weights
        if weight.label is not None and weight.model in shown
    }
    rows = list(dict.fromkeys((model, modality) for model, modality, _ in means))
    if not rows:
        return []
    shares = [[means.get((*row, label)) for label in labels] for row in rows]
    cells = [[(HEAT, mean or 0.0, "–" if mean is None else f"{mean:.2f}", False) for mean in row] for row in shares]
    title = "Mean weight of each modality by emotion"
    return [
        grid("weights-by-emotion", "emotion_weights", title, [f"{names[m]}: {of}" for m, of in rows], labels, cells)
    ]
