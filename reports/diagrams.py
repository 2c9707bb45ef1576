"""Boxes and arrows from top to bottom, narrow enough to be read on a phone."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.patches import FancyBboxPatch

from reports.drawing import INK, MUTED, Drawing, Figure

WIDTH = 4.0  # inches
_GAP, _ARROW, _PAD = 0.1, 0.26, 0.08  # between boxes of a level, between levels, inside a box
_TITLE, _LINE = 0.19, 0.165  # a line of text takes
_SIZES = {"title": 9.0, "line": 8.0}
_SIGN = 0.069  # inches a sign of a line takes at most


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
