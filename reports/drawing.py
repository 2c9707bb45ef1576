"""matplotlib for a page: SVG that takes its colours from CSS and can be inlined beside other SVG; PDF for papers."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends import backend_mixed, backend_pdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle

Colours = Mapping[tuple[float, ...], tuple[float, ...]]
_MIXED: Any = backend_mixed.MixedModeRenderer  # matplotlib declares no types for these
_FILE: Any = backend_pdf.PdfFile
_VECTOR: Any = backend_pdf.RendererPdf
_WANTED: ContextVar[dict[str, bytes] | None] = ContextVar("wanted", default=None)
_UNDATED = {"CreationDate": None, "Creator": None, "Producer": None}
# name: (the colour matplotlib draws, light, dark); after Okabe & Ito, told apart by colour-blind readers
PALETTE = {
    "ink": ("#010203", "#1b1f24", "#e6e9ee"),
    "muted": ("#010204", "#59636e", "#9aa5b1"),
    "line": ("#010205", "#d5dbe1", "#39424d"),
    "blue": ("#0072b2", "#0072b2", "#56b4e9"),
    "orange": ("#d55e00", "#d55e00", "#f0a04b"),
    "green": ("#009e73", "#00825f", "#35c79b"),
    "purple": ("#cc79a7", "#a8507f", "#de9fc3"),
    "heat": ("#56b4e9", "#62b5ea", "#1672b0"),
    "warm": ("#e69f00", "#eda62b", "#9c6200"),
    "paper": ("#010206", "#fdfdfc", "#14181d"),
}
INK, MUTED, LINE, BLUE, ORANGE, GREEN, PURPLE, HEAT, WARM, PAPER = (colours[0] for colours in PALETTE.values())
MODALITY = {"text": BLUE, "speech": ORANGE, "image": GREEN}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # with line styles and hatches, they tell series apart without colour
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "affuse",
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
_PHONE = 400.0  # points; wider figures scroll on a narrow screen
ROW = 0.29  # inches a line of a forest plot or heat map takes


class _InLight(_VECTOR):  # type: ignore[misc]
    """Draws every colour that stands for one of the palette as the light page shows it."""

    def __init__(self, file: Any, dpi: float, height: float, width: float, colours: Colours) -> None:
        super().__init__(file, dpi, height, width)
        self._colours = colours

    def check_gc(self, gc: Any, fillcolor: Any = None) -> None:
        drawn = gc._rgb, gc._hatch_color
        gc._rgb, gc._hatch_color = map(self._light, drawn)
        super().check_gc(gc, self._light(fillcolor))
        gc._rgb, gc._hatch_color = drawn

    def _light(self, colour: Any) -> Any:
        if colour is None:
            return None
        light = self._colours.get(tuple(colour[:3]))
        return colour if light is None else (*light, *colour[3:])


class Drawing:
    """One figure being drawn: use as a context, draw on `axes`, then `svg(title)`.

    Width and height are in inches. The default is narrow, so that 9 pt stay legible on a phone. `panels` are side by
    side on one vertical axis; `axes` is the first.
    """

    def __init__(self, name: str, *, width: float = 5.2, height: float, panels: int = 1) -> None:
        self.name = name
        self._context = mpl.rc_context(_SETTINGS)
        self._size = (width, height)
        self._n_panels = panels

    def __enter__(self) -> "Drawing":
        self._context.__enter__()
        self.figure = Canvas(figsize=self._size, layout="constrained")
        self.panels: list[Axes] = list(self.figure.subplots(1, self._n_panels, sharey=True, squeeze=False)[0])
        self.axes = self.panels[0]
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(None, None, None)

    def svg(self, title: str, told: str = "") -> str:
        """Return the figure as inline SVG: no ids it shares with another, no colour of its own.

        `title` names it to readers who do not see it, `told` gives them what it shows.
        """
        out = io.StringIO()
        with warnings.catch_warnings():
            # a label in a script the font lacks is measured with a box; the reader's browser has the script
            warnings.filterwarnings("ignore", message="Glyph")
            warnings.filterwarnings("ignore", message=".*[Tt]ight layout|constrained_layout not applied.*")
            FigureCanvasSVG(self.figure).print_svg(out, metadata={"Date": None})  # type: ignore[no-untyped-call]
        keep_pdf(self.name, self.figure, PALETTE)
        return _inline(out.getvalue(), self.name, title, told)


def _inline(text: str, name: str, title: str, told: str) -> str:
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(url\(#|href="#)', rf"\1{name}-", body)
    body = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", "Helvetica, Arial, sans-serif", body)
    for colour, (drawn, _, _) in PALETTE.items():
        body = body.replace(drawn, "currentColor" if colour == "ink" else f"var(--{colour})")
    view = re.search(r'viewBox="0 0 ([\d.]+) [^"]+"', body)
    assert view is not None
    wide = float(view[1])
    width = f"max-width: {1.6 * wide:.0f}px"  # so that text has one size in all figures
    if wide > _PHONE:
        width += f"; --least: {wide:.0f}px"  # and is never smaller than 9 px: a phone scrolls
    described = f' aria-describedby="{name}-desc"' if told else ""
    opening = (
        f'<svg class="figure" style="{width}" {view[0]} role="img" aria-labelledby="{name}-title"{described} '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">\n'
        f'<title id="{name}-title">{escape(title)}</title>'
        + (f'<desc id="{name}-desc">{escape(told)}</desc>' if told else "")
    )
    return re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1).strip()


def palette_css() -> str:
    """Return the palette as CSS variables, light first, dark where the reader prefers it."""
    light = " ".join(f"--{name}: {colours[1]};" for name, colours in PALETTE.items())
    dark = " ".join(f"--{name}: {colours[2]};" for name, colours in PALETTE.items())
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


def standalone(svg: str) -> str:
    """Return an inline SVG as a file of its own, with the palette inside."""
    style = f"<style>{palette_css()} svg {{ color: var(--ink); }}</style>"
    return '<?xml version="1.0" encoding="utf-8"?>\n' + svg.replace("</title>", f"</title>\n{style}", 1) + "\n"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """An SVG with its file name and its text alternative. `group` is the place on the page it belongs to."""

    name: str
    group: str
    title: str
    svg: str


def beside(drawing: Drawing, text: str, x: float, y: float) -> None:
    """Write `text` to the right of a point."""
    drawing.axes.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", va="center")


def finish(drawing: Drawing, group: str, title: str, axis: str = "x", told: str = "") -> Figure:
    """Return the drawing as a figure, with grid lines across `axis`; `told` is what it shows, in words."""
    for ax in drawing.panels:
        ax.grid(axis=axis)  # type: ignore[arg-type]
        ax.spines["left"].set_visible(axis == "y")
        ax.tick_params(length=0)
    return Figure(name=drawing.name, group=group, title=title, svg=drawing.svg(title, told))


Cell = tuple[str, float, str, bool]  # colour, strength 0..1, text, bold


_CELL, _UPRIGHT = 0.62, 9  # inches a column takes, letters that fit above it


def shortened(name: str, most: int = 16) -> str:
    """Return a name of at most so many letters, the middle of a longer one left out."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[1 - most // 2 :]}"


def grid(
    name: str, group: str, title: str, rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[Cell]],
    *, margin: float = 1.6, axis_names: tuple[str, str] | None = None, row_height: float = 0.33, told: str = "",
) -> Figure:  # fmt: skip
    """Return a table of cells as a figure; the number carries the value, the colour helps.

    Long names are shortened in the middle, and those of columns stand aslant where they would touch.
    """
    rows, columns = [shortened(name, 24) for name in rows], [shortened(name) for name in columns]
    longest = max(map(len, columns))
    width = max(4.0, max(margin, 0.3 + 0.07 * max(map(len, rows))) + _CELL * len(columns))
    aslant = longest > _UPRIGHT
    above = 0.7 + (0.25 if axis_names else 0) + (0.05 * longest if aslant else 0)
    with Drawing(name, width=width, height=above + row_height * len(rows)) as drawing:
        ax = drawing.axes
        for y, row in enumerate(cells):
            for x, (colour, strength, text, bold) in enumerate(row):
                ax.add_patch(Rectangle((x, y), 0.97, 0.94, facecolor=colour, alpha=0.06 + 0.84 * strength, linewidth=0))
                weight = "bold" if bold else "normal"
                ax.text(x + 0.485, y + 0.47, text, ha="center", va="center", fontweight=weight)
        ax.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
        leaning: Any = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"} if aslant else {}
        ax.set_xticks(np.arange(len(columns)) + 0.485, columns, **leaning)
        ax.set_yticks(np.arange(len(rows)) + 0.47, rows)
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        if axis_names:
            ax.set_ylabel(axis_names[0])
            ax.set_xlabel(axis_names[1])
            ax.xaxis.set_label_position("top")
        return Figure(name=name, group=group, title=title, svg=drawing.svg(title, told))


def whisker(
    drawing: Drawing, estimate: float | None, low: float | None, high: float | None, y: float, colour: str,
    *, marker: str = "o", hollow: bool = False,
) -> None:  # fmt: skip
    """Draw an estimate and its interval, both shares, in percent on line `y`; `hollow` for what cannot be told."""
    if estimate is None:
        return
    if low is not None and high is not None:
        drawing.axes.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    face = PAPER if hollow else colour
    drawing.axes.plot([100 * estimate], [y], marker, color=colour, markerfacecolor=face, markersize=6.5)


@contextmanager
def collect_pdfs() -> Iterator[dict[str, bytes]]:
    """Yield a mapping that gets the PDF of every figure drawn meanwhile, by its name.

    A PDF takes as long as its SVG, since it carries its font; so figures are only drawn twice where it is asked for.
    """
    found: dict[str, bytes] = {}
    token = _WANTED.set(found)
    try:
        yield found
    finally:
        _WANTED.reset(token)


def keep_pdf(name: str, canvas: Canvas, palette: Mapping[str, tuple[str, str, str]]) -> None:
    """Print a figure whose layout is done, if anyone collects; `palette` holds (drawn, light, dark) colours."""
    found = _WANTED.get()
    if found is not None:
        found[name] = _printed(canvas, {to_rgb(drawn): to_rgb(light) for drawn, light, _ in palette.values()})


def _printed(canvas: Canvas, colours: Colours) -> bytes:
    canvas.set_layout_engine("none")
    dpi, (width, height) = canvas.dpi, canvas.get_size_inches()
    out = io.BytesIO()
    file = _FILE(out, metadata=_UNDATED)
    try:
        canvas.dpi = 72  # points
        file.newPage(width, height)
        vector = _InLight(file, dpi, height, width, colours)
        renderer = _MIXED(canvas, width, height, dpi, vector)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a script the font lacks is drawn as boxes
            canvas.draw(renderer)
        renderer.finalize()
        file.finalize()
    finally:
        canvas.dpi = dpi
        file.close()
    return out.getvalue()
