"""The figures of a report: each reads a Results value and returns one SVG."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from reports.comparisons import ABOVE, BELOW, STRATEGIES
from reports.drawing import BLUE, HEAT, INK, LINE, MUTED, ORANGE, WARM, Cell, Drawing, Figure, beside, finish, grid
from reports.evidence import CHANCE
from reports.results import Results
from reports.robustness_figures import noise_figure
from reports.selection import listed, worth_a_curve, worth_a_matrix
from reports.training import Band, Curve
from reports.weight_figures import weight_figures
from reports.words import NAMES, labels_of, percent, points, rival_of

ROW = 0.29  # inches a line of a forest plot or heat map takes


def draw_figures(results: Results) -> tuple[Figure, ...]:
    """Return every figure that these results have something to show for."""
    figures = [_scores(results), _classes(results), _recalls(results)]
    if results.compared(STRATEGIES):
        figures.append(_gains(results))
    figures += weight_figures(results)
    if results.dropped:
        figures.append(_dropped(results))
    figures += noise_figure(results)
    figures += [_confusion(results, name, i) for i, name in enumerate(worth_a_matrix(results))]
    shown = worth_a_curve(results)
    top = max((max(c.val_loss.high + c.train_loss.high) for c in shown if c.kind == "head"), default=1.0)
    figures += [_losses(curve, i, labels_of(results), top) for i, curve in enumerate(shown)]
    figures += [_accuracies(curve, i) for i, curve in enumerate(shown) if curve.kind == "encoder"]
    return tuple(figures)


def _scores(results: Results) -> Figure:
    names, metric, shown = labels_of(results), results.method.primary_metric, listed(results)
    ranking = [score for score in results.ranking() if score.model in shown]
    title = f"{NAMES[metric]} of models in percent, with {_level(results)} intervals"
    with Drawing("scores", height=0.8 + ROW * len(ranking)) as drawing:
        ax = drawing.axes
        for y, score in enumerate(reversed(ranking)):
            colour = INK if score.model == results.reference else MUTED if score.model == CHANCE else BLUE
            _dots(drawing, score.repeats, y)
            _whisker(drawing, score.estimate, score.low, score.high, y, colour)
        ax.set_yticks(range(len(ranking)), [names[score.model] for score in reversed(ranking)])
        ax.set_xlabel(f"{NAMES[metric]}, %")
        return finish(drawing, "scores", title)


def _gains(results: Results) -> Figure:
    names, compared = labels_of(results), results.compared(STRATEGIES)
    title = f"{names[results.reference]} minus each other model, {NAMES[results.method.primary_metric]}, in points"
    with Drawing("gains", height=0.8 + ROW * len(compared)) as drawing:
        ax = drawing.axes
        ax.axvline(0, color=MUTED, linewidth=1)
        for y, c in enumerate(reversed(compared)):
            if c.primary:
                colour = {ABOVE: BLUE, BELOW: ORANGE}.get(c.verdict, MUTED)
                _whisker(drawing, c.primary.difference, c.primary.low, c.primary.high, y, colour)
        ax.set_yticks(range(len(compared)), [f"− {rival_of(results, c)}" for c in reversed(compared)])
        ax.set_xlabel(f"difference in {NAMES[results.method.primary_metric]}, percentage points")
        return finish(drawing, "gains", title)


def _dots(drawing: Drawing, values: Sequence[float], y: float) -> None:
    shares = 100 * np.array(values)
    drawing.axes.scatter(shares, np.full(len(values), y - 0.28), s=8, color=MUTED, alpha=0.5, linewidths=0)


def _whisker(
    drawing: Drawing, estimate: float | None, low: float | None, high: float | None, y: float, colour: str
) -> None:
    if estimate is None:
        return
    if low is not None and high is not None:
        drawing.axes.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    drawing.axes.plot([100 * estimate], [y], "o", color=colour, markersize=6)


def _classes(results: Results) -> Figure:
    title = "Samples by emotion: used, and left out"
    with Drawing("classes", height=0.8 + ROW * len(results.classes)) as drawing:
        ax, y = drawing.axes, np.arange(len(results.classes))[::-1]
        used = np.array([count.used for count in results.classes])
        left_out = np.array([count.excluded for count in results.classes])
        ax.barh(y, used, height=0.62, color=BLUE, label="used")
        ax.barh(y, left_out, left=used, height=0.62, facecolor="none", edgecolor=MUTED, hatch="////", label="left out")
        for at, count, end in zip(y, used, used + left_out, strict=True):
            beside(drawing, str(count), end, at)
        ax.set_yticks(y, [count.label for count in results.classes])
        ax.set_xlabel("samples")
        ax.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0, borderaxespad=0.2)
        return finish(drawing, "classes", title)


def _recalls(results: Results) -> Figure:
    names, shown = labels_of(results), listed(results) - {CHANCE}
    order = [score.model for score in results.ranking() if score.model in shown]
    recall = {(score.model, score.label): score.recall for score in results.class_scores}
    labels = [count.label for count in results.classes]
    values = [[recall[model, label] for label in labels] for model in order]
    cells = [[(HEAT, value or 0.0, percent(value), False) for value in row] for row in values]
    title = "Recall of models on every emotion, in percent"
    return grid("recalls", "recalls", title, [names[model] for model in order], labels, cells)


def _dropped(results: Results) -> Figure:
    result = {(d.modality, d.label): d.result for d in results.dropped}
    modalities = list(dict.fromkeys(d.modality for d in results.dropped))
    labels = [count.label for count in results.classes]
    largest = max((abs(r.difference) for r in result.values() if r), default=0.0) or 1.0
    cells = []
    for label in labels:
        row = []
        for modality in modalities:
            r = result[modality, label]
            gain = r.difference if r else 0.0
            told = bool(r and r.low is not None and r.high is not None and r.low * r.high > 0)
            row.append((HEAT if gain > 0 else WARM, abs(gain) / largest, points(gain) if r else "–", told))
        cells.append(row)
    title = "Recall lost by emotion when one modality is taken away, in percentage points"
    return grid("dropped", "dropped", title, labels, [f"without {modality}" for modality in modalities], cells)


def _confusion(results: Results, model: str, index: int) -> Figure:
    rows = next(confusion.rows for confusion in results.confusions if confusion.model == model)
    labels = [count.label for count in results.classes]
    shares = [[count / max(sum(row), 1) for count in row] for row in rows]
    cells: list[list[Cell]] = [
        [(HEAT if i == j else WARM, share, f"{100 * share:.0f}", i == j) for j, share in enumerate(row)]
        for i, row in enumerate(shares)
    ]
    title = f"Confusion matrix of {labels_of(results)[model]}: percent of each actual emotion"
    name = f"confusion-{index + 1}"
    return grid(name, "confusions", title, labels, labels, cells, margin=1.0, axis_names=("actual", "predicted"))


def _losses(curve: Curve, index: int, names: Mapping[str, str], top: float) -> Figure:
    name = names.get(curve.name, curve.name)
    with Drawing(f"curve-{index + 1}", width=3.6, height=2.3) as drawing:
        _pair(drawing, curve, curve.train_loss, curve.val_loss, name)
        highest = top if curve.kind == "head" else max(curve.train_loss.high + curve.val_loss.high)
        drawing.axes.set(ylabel="loss", ylim=(0, 1.05 * highest))
        return finish(drawing, "curves", f"Training of {name}", axis="y")


def _accuracies(curve: Curve, index: int) -> Figure:
    assert curve.train_accuracy is not None
    assert curve.val_accuracy is not None
    with Drawing(f"accuracy-{index + 1}", width=3.6, height=2.3) as drawing:
        _pair(drawing, curve, curve.train_accuracy, curve.val_accuracy, curve.name)
        drawing.axes.set(ylabel="accuracy", ylim=(0, 1.05))
        title = f"Accuracy of the {curve.name} while it was trained; validation is its own held-back groups"
        return finish(drawing, "curves", title, axis="y")


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


def _level(results: Results) -> str:
    return f"{100 * (1 - results.method.alpha):.0f} %"
