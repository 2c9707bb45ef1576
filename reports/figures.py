"""All figures of a report, by chapter."""

from collections.abc import Mapping

from reports.chapters._chapter import chapters
from reports.drawing import Figure
from reports.forest import gains_figure
from reports.results import Results


def draw_figures(results: Results) -> Mapping[str, tuple[Figure, ...]]:
    """Return the figures of every chapter by its name; those of the summary are under "summary"."""
    gains = gains_figure(results)
    drawn = {
        name: tuple(chapter.figures(results.chapters[name], results))
        for name, chapter in chapters().items()
        if name in results.chapters
    }
    return {"summary": (gains,) if gains else (), **drawn}
