"""How it was made: counterparts of the paper's Figs. 1 and 2, and of its tables that hold no result."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.patches import FancyBboxPatch

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.drawing import BLUE, INK, MODALITY, MUTED, Drawing, Figure
from reports.findings.making import Encoder, Making, read_making
from reports.heads import FUSES, UNPROJECTED
from reports.results import Results
from reports.selection import shown_first
from reports.words import NONE, counted, listed, percent, span

WIDTH = 4.0  # inches
_GAP, _ARROW, _PAD = 0.1, 0.26, 0.08  # between boxes of a level, between levels, inside a box
_TITLE, _LINE = 0.19, 0.165  # a line of text takes
_SIZES = {"title": 9.0, "line": 8.0}
_SIGN = 0.069  # inches a sign of a line takes at most
_MEDIA = {"text": "words", "speech": "sound", "image": "picture or video"}


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box with a title in bold and lines that are wrapped to its width."""

    title: str
    lines: tuple[str, ...] = ()
    colour: str = INK


@dataclass(frozen=True, kw_only=True)
class _Laid:
    title: list[str]
    lines: list[str]
    colour: str

    @property
    def height(self) -> float:
        return 2 * _PAD + _TITLE * len(self.title) + _LINE * len(self.lines)


class Workflow(Chapter[Making]):
    """Workflow and architecture as drawn from the study itself."""

    title = "How it was made"

    def compute(self, case: Case) -> Making:
        return read_making(case)

    def figures(self, value: Making, results: Results) -> Iterable[Figure]:
        return [_workflow(value, results), _architecture(value, results)]

    def tables(self, value: Making, results: Results) -> Mapping[str, Rows]:
        return {
            "data": [vars(value.corpus)],
            "encoders": [vars(row) for row in value.encoders],
            "models": [vars(row) for row in value.models],
            "optimisers": [vars(row) for row in value.optimisers],
            "settings": [vars(row) for row in value.settings],
            "strategies": _strategy_rows(value, results),
            "notation": [vars(row) for row in value.notation],
        }

    def context(self, value: Making, results: Results) -> Mapping[str, Any]:
        shown = shown_first(results)
        return {
            "strategies": _strategy_rows(value, results),
            "built": [row for row in value.models if row.model in shown],
            "show": _show,
        }


def _show(value: float | int | str | None, digits: int = 0) -> str:
    """Return a cell: counts with commas, a dash where nothing is stored."""
    if value is None or value == "":
        return NONE
    if isinstance(value, float):
        return f"{value:,.{digits}f}" if digits else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else value


def _strategy_rows(value: Making, results: Results) -> list[dict[str, Any]]:
    """Return each head with its scores on all modalities, in percent as text."""
    rows = []
    for strategy in value.strategies:
        scores = {m: results.score(strategy.model, m) if strategy.model else None for m in ("accuracy", "macro_f1")}
        cells = {
            m: NONE if score is None else f"{percent(score.estimate)} ({span(score.low, score.high)})"
            for m, score in scores.items()
        }
        rows.append({"head": strategy.head, "fuses": strategy.fuses, "subsets": strategy.subsets, **cells})
    return rows


def _workflow(value: Making, results: Results) -> Figure:
    corpus, models = value.corpus, value.models
    heads = list(dict.fromkeys(model.head for model in models))
    by = f"kept apart: {listed(corpus.groups)}" if corpus.groups else "no groups are kept apart"
    sizes = f"{corpus.train:.0f} training, {corpus.val:.0f} validation, {corpus.test:.0f} test samples"
    who = f"{corpus.samples:,} samples, {corpus.used:,} take part"
    levels = [
        [Box(title=f"Corpus {corpus.name} ({corpus.pairing})", lines=(who,))],
        [_box(it, it.extractor, "extractor", _origin(it) if it.trained else it.weights) for it in value.encoders],
        [_box(it, f"{it.modality} features", it.feature_id, f"{it.rows:,} rows") for it in value.encoders],
        [
            Box(
                title=counted(corpus.repeats, "repeat"),
                lines=(f"{sizes}; {by}",),
            )
        ],
        [Box(title=f"{len(heads)} head{'s' * (len(heads) > 1)}, {len(models)} models", lines=(", ".join(heads),))],
        [Box(title=f"{value.predictions:,} predictions", lines=("one posterior a model, repeat and test sample",))],
        [Box(title="This report", lines=(f"{results.method.primary_test}, Holm", results.id), colour=BLUE)],
    ]  # fmt: skip
    return stack("workflow", "workflow", "Workflow of this study, from corpus to report", levels)


def _architecture(value: Making, results: Results) -> Figure:
    reference, corpus = results.model(results.reference), value.corpus
    used = [encoder for encoder in value.encoders if encoder.modality in reference.modalities]
    projected = reference.head not in UNPROJECTED and value.width
    inner = f"projected to {value.width}, normalised" if projected else ""
    levels = [
        [_box(it, it.modality, _MEDIA.get(it.modality, "")) for it in used],
        [_box(it, it.extractor, f"{it.width} numbers" if it.width else "", _origin(it)) for it in used],
        [_box(it, f"z_{it.modality}", inner) for it in used] if projected else [],
        [Box(title=f"{reference.head} (the reference)", lines=(FUSES.get(reference.head, "a head of this study"),))],
        [Box(title=f"{len(corpus.classes)} classes", lines=(", ".join(corpus.classes),), colour=BLUE)],
    ]
    return stack("architecture", "workflow", "Architecture of the reference model, from modalities to classes", levels)


def _origin(encoder: Encoder) -> str:
    if not encoder.trained:
        return "not trained here"
    return "trained here" if encoder.trained == 1 else f"trained here, {encoder.trained} times"


def _box(encoder: Encoder, title: str, *lines: str) -> Box:
    told = tuple(line for line in lines if line)
    return Box(title=title, lines=told, colour=MODALITY.get(encoder.modality, INK))


def stack(name: str, group: str, title: str, levels: Sequence[Sequence[Box]]) -> Figure:
    """Return levels of boxes, an arrow down from every box to what lies below it.

    Two levels next to each other have equally many boxes, or one of them has one.
    """
    laid = [[_lay(box, _wide(len(level))) for box in level] for level in levels if level]
    heights = [max(box.height for box in level) for level in laid]
    total = sum(heights) + _ARROW * (len(laid) - 1)
    with Drawing(name, width=WIDTH + 0.1, height=total + 0.1) as drawing:
        drawing.axes.set(xlim=(-0.05, WIDTH + 0.05), ylim=(total + 0.05, -0.05))
        drawing.axes.set_axis_off()
        top = 0.0
        for i, (level, height) in enumerate(zip(laid, heights, strict=True)):
            _draw_level(drawing, level, top, height)
            if i + 1 < len(laid):
                _arrows(drawing, max(len(level), len(laid[i + 1])), top + height)
            top += height + _ARROW
        return Figure(name=name, group=group, title=title, svg=drawing.svg(title))


def _wide(count: int) -> float:
    return (WIDTH - _GAP * (count - 1)) / count


def _lay(box: Box, width: float) -> _Laid:
    signs = int((width - 2 * _PAD) / _SIGN)
    title = textwrap.wrap(box.title, max(8, int(signs * 0.85))) or [""]
    return _Laid(title=title, lines=[w for line in box.lines for w in textwrap.wrap(line, signs)], colour=box.colour)


def _draw_level(drawing: Drawing, level: Sequence[_Laid], top: float, height: float) -> None:
    width = _wide(len(level))
    for i, box in enumerate(level):
        left = i * (width + _GAP)
        drawing.axes.add_patch(
            FancyBboxPatch(
                (left, top), width, height, boxstyle="round,pad=0,rounding_size=0.06", facecolor="none",
                edgecolor=box.colour, linewidth=1.3,
            )
        )  # fmt: skip
        y = top + (height - box.height) / 2 + _PAD
        for kind, step, lines in (("title", _TITLE, box.title), ("line", _LINE, box.lines)):
            for line in lines:
                drawing.axes.text(
                    left + width / 2, y + step / 2, line, ha="center", va="center", fontsize=_SIZES[kind],
                    fontweight="bold" if kind == "title" else "normal",
                )  # fmt: skip
                y += step


def _arrows(drawing: Drawing, count: int, top: float) -> None:
    width = _wide(count)
    for i in range(count):
        x = i * (width + _GAP) + width / 2
        drawing.axes.annotate(
            "", (x, top + _ARROW - 0.02), xytext=(x, top + 0.02),
            arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
