"""A comparison of two reports as files: a page in the style of a report, and results.json."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from reports.drawing import BLUE, LINE, ORANGE, ROW, Drawing, Figure, finish
from reports.page.render import render
from reports.report import report_folder
from reports.side_by_side.flips import ScorePair, SideBySide
from reports.words import NAMES, percent, points
from stores.identity import canonical
from stores.root import Root

_MOST = 24  # models of the figure


def write_comparison(root: Root, found: SideBySide) -> tuple[str, str]:
    """Write `reports/<comparison id>/` and return the addresses of page and results.json."""
    folder = report_folder(found.id)
    results = json.dumps(canonical(found), indent=1, ensure_ascii=False) + "\n"
    root.put(results.encode(), folder, "results.json")
    page = render("compare", found=found, figure=_figure(found), **_context(found))
    root.put(page.encode(), folder, "index.html")
    return root.url(folder, "index.html"), root.url(folder, "results.json")


def _shown(found: SideBySide) -> list[ScorePair]:
    """Return the pairs on the primary metric of A that both sides know, best of A first."""
    known = [s for s in found.scores if s.metric == found.first.primary_metric]
    pairs = [s for s in known if s.first is not None and s.second is not None]
    return sorted(pairs, key=lambda pair: (-(pair.first or 0.0), pair.model))


def _figure(found: SideBySide) -> Figure | None:
    pairs = _shown(found)[:_MOST]
    if not pairs:
        return None
    name = NAMES[found.first.primary_metric]
    title = f"{name} of the models that both studies have, in percent"
    with Drawing("sides", height=1.0 + ROW * len(pairs)) as drawing:
        ax, y = drawing.axes, np.arange(len(pairs))[::-1]
        one, other = (100 * np.array([getattr(p, side) for p in pairs], dtype=float) for side in ("first", "second"))
        ax.hlines(y, one, other, color=LINE, linewidth=2)
        ax.plot(one, y, "o", color=BLUE, markersize=6, label="A")
        ax.plot(other, y, "s", color=ORANGE, markersize=6, fillstyle="none", markeredgewidth=1.6, label="B")
        ax.set_yticks(y, [found.labels[pair.model] for pair in pairs])
        ax.set_xlabel(f"{name}, %")
        ax.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0, borderaxespad=0.2)
        return finish(drawing, "sides", title)


def _context(found: SideBySide) -> Mapping[str, Any]:
    """Return the rows of the page as texts."""
    return {
        "flips": [
            {
                "pair": f"{found.labels[flip.a]} v {found.labels[flip.b]}",
                "family": flip.family,
                "metric": NAMES[flip.metric],
                "first": flip.first.verdict,
                "second": flip.second.verdict,
                "how": flip.how,
                "because": "; ".join(flip.because) or "nothing that is written down: read the two reports",
            }
            for flip in found.flips
        ],
        "rows": [
            (
                found.labels[pair.model],
                percent(pair.first),
                percent(pair.second),
                points((pair.second or 0.0) - (pair.first or 0.0)),
            )
            for pair in _shown(found)
        ],
        "metric": NAMES[found.first.primary_metric],
        "answer": _answer(found),
    }


def _answer(found: SideBySide) -> str:
    """Return what came out, in a sentence or two."""
    total = len(found.flips) + found.kept
    if not total:
        return "No verdict is stated on both sides."
    said = f"Of {total:,} verdicts stated on both sides, {len(found.flips):,} flip."
    if not found.flips:
        return said
    if not found.changes:
        return f"{said} Nothing that is written down differs."
    if len(found.changes) == 1:
        return f"{said} One thing differs: {found.changes[0].words}."
    return f"{said} {len(found.changes):,} things differ; which of them did it cannot be told from two studies."
