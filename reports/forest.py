"""The forest plot of gains: the first figure of a page."""

from reports.comparisons import ABOVE, BELOW
from reports.drawing import BLUE, MUTED, ORANGE, ROW, Drawing, Figure, finish, whisker
from reports.results import Results
from reports.words import NAMES, labels_of, rival_of


def gains_figure(results: Results) -> Figure | None:
    """Return the gains of the reference with their intervals; None if it is set against nothing."""
    names, compared = labels_of(results), results.compared()
    if not compared:
        return None
    title = f"{names[results.reference]} minus each other model, {NAMES[results.method.primary_metric]}, in points"
    with Drawing("gains", height=0.8 + ROW * len(compared)) as drawing:
        ax = drawing.axes
        ax.axvline(0, color=MUTED, linewidth=1)
        for y, c in enumerate(reversed(compared)):
            if c.primary:
                colour = {ABOVE: BLUE, BELOW: ORANGE}.get(c.verdict, MUTED)
                whisker(drawing, c.primary.difference, c.primary.low, c.primary.high, y, colour)
        ax.set_yticks(range(len(compared)), [f"− {rival_of(results, c)}" for c in reversed(compared)])
        ax.set_xlabel(f"difference in {NAMES[results.method.primary_metric]}, percentage points")
        return finish(drawing, "gains", title)
