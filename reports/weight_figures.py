"""The figures of modality weights: one weight for all samples, and weights by emotion."""

from reports.drawing import HEAT, INK, MODALITY, MUTED, PURPLE, Drawing, Figure, beside, finish, grid
from reports.results import Results
from reports.selection import listed
from reports.weights import FittedWeight, SampleWeight
from reports.words import labels_of


def weight_figures(results: Results) -> list[Figure]:
    """Return what these results have to show, of the models that are shown first."""
    return [*_for_all_samples(results), *_by_emotion(results)]


def _for_all_samples(results: Results) -> list[Figure]:
    names, shown = labels_of(results), listed(results)
    weights = [weight for weight in results.weights if weight.model in shown and weight.label is None]
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


def _by_emotion(results: Results) -> list[Figure]:
    names, shown = labels_of(results), listed(results)
    labels = [count.label for count in results.classes]
    weights: tuple[FittedWeight | SampleWeight, ...] = (*results.weights, *results.sample_weights)
    means = {
        (weight.model, weight.modality, weight.label): weight.mean
        for weight in weights
        if weight.label is not None and weight.model in shown
    }
    rows = list(dict.fromkeys((model, modality) for model, modality, _ in means))
    if not rows:
        return []
    found = [[means.get((*row, label)) for label in labels] for row in rows]
    cells = [[(HEAT, mean or 0.0, "–" if mean is None else f"{mean:.2f}", False) for mean in row] for row in found]
    title = "Mean weight of each modality by emotion"
    return [
        grid("weights-by-emotion", "emotion_weights", title, [f"{names[m]}: {of}" for m, of in rows], labels, cells)
    ]
