"""Who takes part, in which modality, and who was left out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import BLUE, INK, LINE, MUTED, ROW, Drawing, Figure, finish
from reports.results import Results
from reports.words import groups_of, listed, tested_of


@dataclass(frozen=True, kw_only=True)
class Present:
    """Labelled samples of one emotion in one modality: `used`, `left_out`, and those that `lack` it, used or not."""

    modality: str
    label: str
    used: int
    left_out: int
    lack: int


@dataclass(frozen=True, kw_only=True)
class Exclusions:
    """How many samples were left out, by reason: of the study, and while its corpus was read; and who is there."""

    of_study: Mapping[str, int]
    of_corpus: Mapping[str, int]
    present: tuple[Present, ...]


class Data(Chapter[Exclusions]):
    """Samples by emotion and modality, and the exclusions."""

    title = "Data and exclusions"

    def compute(self, case: Case) -> Exclusions:
        facts = case.evidence.facts
        return Exclusions(
            of_study=facts.get("excluded") or {},
            of_corpus=facts["corpus"].get("dropped") or {},
            present=tuple(_present(case)),
        )

    def figures(self, value: Exclusions, results: Results) -> Iterable[Figure]:
        return [_classes(value, results)]

    def tables(self, value: Exclusions, results: Results) -> Mapping[str, Rows]:
        return {"classes": [vars(count) for count in value.present]}

    def context(self, value: Exclusions, results: Results) -> Mapping[str, Any]:
        told = (groups_of(results.facts), tested_of(results.facts))
        return {"tested": "; ".join(filter(None, told))}


def _present(case: Case) -> Iterable[Present]:
    """Yield one entry a modality and emotion.

    A sample that is left out counts in every modality it is not known to lack: of those reserved for encoders, or
    outside the study's parts, nobody has asked.
    """
    modalities = sorted(case.evidence.facts["modalities"])
    counts: Counter[tuple[str, str | None, str]] = Counter()
    for row, m in product(case.sample_counts, modalities):
        counts[m, row["label"], _place(row, m)] += row["n"]
    for m, label in product(modalities, case.evidence.classes):
        number = {place: counts[m, label, place] for place in ("used", "left_out", "lack")}
        yield Present(modality=m, label=label, **number)


def _place(row: Mapping[str, Any], modality: str) -> str:
    if modality in _lacking(row):
        return "lack"
    return "used" if row["excluded"] is None else "left_out"


def _lacking(row: Mapping[str, Any]) -> set[str]:
    """Return what a sample lacks, by its own column or by the reason it takes no part (`absent: image, text`)."""
    if row.get("lacks"):
        return set(row["lacks"].split("+"))
    reasons = (part.partition(": ") for part in (row["excluded"] or "").split("; "))
    return {m for why, _, named in reasons if why in ("absent", "quarantined") for m in named.split(", ")}


def _classes(value: Exclusions, results: Results) -> Figure:
    modalities = tuple(dict.fromkeys(count.modality for count in value.present))
    title = "Samples by emotion and modality: used, left out, and lacking"
    height = 1.0 + ROW * len(results.labels)
    with Drawing("classes", width=4.7, height=height, panels=len(modalities)) as drawing:
        for ax, modality in zip(drawing.panels, modalities, strict=True):
            _panel(ax, [count for count in value.present if count.modality == modality])
            ax.set_title(modality, fontsize=10, loc="left", color=INK)
        drawing.axes.set_yticks(np.arange(len(results.labels))[::-1], results.labels)
        handles, names = drawing.axes.get_legend_handles_labels()
        drawing.figure.legend(handles, names, ncols=3, loc="outside lower center")
        return finish(drawing, "classes", title, told=_told(value))


def _panel(ax: Axes, counts: list[Present]) -> None:
    y, left = np.arange(len(counts))[::-1], np.zeros(len(counts))
    parts = (
        ("used", "used", {"color": BLUE}),
        ("left out", "left_out", {"facecolor": "none", "edgecolor": MUTED, "hatch": "////"}),
        ("lack it", "lack", {"facecolor": LINE, "edgecolor": INK, "linewidth": 0.6}),
    )
    for name, place, look in parts:
        number = np.array([getattr(count, place) for count in counts])
        ax.barh(y, number, left=left, height=0.62, label=name, **look)
        left = left + number
    for at, count, end in zip(y, counts, left, strict=True):
        ax.annotate(str(count.used), (end, at), xytext=(4, 0), textcoords="offset points", va="center")
    ax.margins(x=0.16)
    ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    ax.set_xlabel("samples")


def _told(value: Exclusions) -> str:
    return listed(
        f"{c.modality}, {c.label}: {c.used} used, {c.left_out} left out, {c.lack} lack it" for c in value.present
    )
