"""Figures of modality weights."""

from collections.abc import Iterable, Sequence

from matplotlib.ticker import MaxNLocator

from reports.drawing import HEAT, INK, MODALITY, MUTED, PURPLE, Drawing, Figure, beside, finish, grid
from reports.findings.fitted_weights import FittedWeight
from reports.findings.sample_weights import SampleWeight
from reports.findings.weights_in_training import WeightPath
from reports.results import Results
from reports.selection import shown_first
from reports.words import labels_of

LINES = {"text": "-", "speech": "--", "image": ":"}


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
