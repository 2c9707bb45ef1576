"""The forest plot of gains: the first figure of a page."""

from collections.abc import Iterable

from reports.comparisons import ABOVE, BELOW, Comparison
from reports.drawing import BLUE, INK, MUTED, ORANGE, ROW, Drawing, Figure, finish, whisker
from reports.results import Results
from reports.selection import LESS, gains
from reports.words import NAMES, labels_of, listed, points, rival_of, span, verdict_of

HEADINGS = {LESS: "one modality less"}
FEW, CLOSER = 14, 0.235  # lines of a short plot; inches a line of a longer one
LOOK = {ABOVE: (BLUE, "o"), BELOW: (ORANGE, "s")}  # what cannot be told is grey and hollow


def gains_figure(results: Results) -> Figure | None:
    """Return the gains of the reference with their intervals; None where no comparison could be tested."""
    groups = gains(results)
    if not any(c.primary for own in groups.values() for c in own):
        return None
    metric = NAMES[results.method.primary_metric]
    title = f"{labels_of(results)[results.reference]} minus each other model, {metric}, in points"
    lines: list[str | Comparison] = []
    for name, own in groups.items():
        lines += [name, *own]
    with Drawing("gains", width=4.5, height=0.75 + (ROW if len(lines) <= FEW else CLOSER) * len(lines)) as drawing:
        ax = drawing.axes
        ax.axvline(0, color=MUTED, linewidth=1)
        ticks = dict(enumerate(reversed(lines)))
        for y, line in ticks.items():
            if isinstance(line, str):
                heading = HEADINGS.get(line, line)
                ax.text(-0.02, y, heading, transform=ax.get_yaxis_transform(), ha="right", va="center", color=MUTED)
            else:
                _gain(drawing, line, y)
        rows = {
            y: f"− {rival_of(results, line)}".removeprefix("− itself ")
            for y, line in ticks.items()
            if not isinstance(line, str)
        }
        ax.set_yticks(list(rows), list(rows.values()))
        ax.set_ylim(-0.6, len(lines) - 0.4)
        ax.set_xlabel(f"gain in {metric}, percentage points; intervals uncorrected")
        told = _told(results, [c for own in groups.values() for c in own])
        return finish(drawing, "gains", title, told=told)


def _gain(drawing: Drawing, c: Comparison, y: float) -> None:
    ax = drawing.axes
    colour, marker = LOOK.get(c.verdict, (MUTED, "o"))
    said = "no test"
    if c.primary:
        low, high = c.primary.low, c.primary.high
        whisker(drawing, c.primary.difference, low, high, y, colour, marker=marker, hollow=c.verdict not in LOOK)
        said = f"{points(c.primary.difference)}  ({span(low, high, signed=True)})"
    weight = "bold" if c.verdict in LOOK else "normal"
    ax.text(1.01, y, said, transform=ax.get_yaxis_transform(), va="center", fontsize=8, color=INK, fontweight=weight)


def _told(results: Results, compared: Iterable[Comparison]) -> str:
    parts = [
        f"minus {rival_of(results, c)}: "
        + (
            f"{points(c.primary.difference)} ({span(c.primary.low, c.primary.high, signed=True)}), "
            if c.primary
            else ""
        )
        + verdict_of(c)
        for c in compared
    ]
    return f"In percentage points, intervals uncorrected: {listed(parts)}."
