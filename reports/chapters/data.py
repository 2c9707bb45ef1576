"""Who takes part, and who was left out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter
from reports.drawing import BLUE, MUTED, ROW, Drawing, Figure, beside, finish
from reports.results import Results


@dataclass(frozen=True, kw_only=True)
class Exclusions:
    """How many samples were left out, by reason: of the study, and while its corpus was read."""

    of_study: Mapping[str, int]
    of_corpus: Mapping[str, int]


class Data(Chapter[Exclusions]):
    """Samples by emotion, and the exclusions."""

    title = "Data and exclusions"

    def compute(self, case: Case) -> Exclusions:
        facts = case.evidence.facts
        return Exclusions(of_study=facts.get("excluded") or {}, of_corpus=facts["corpus"].get("dropped") or {})

    def figures(self, value: Exclusions, results: Results) -> Iterable[Figure]:
        return [_classes(results)]


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
