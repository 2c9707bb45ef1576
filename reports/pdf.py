"""Figures as PDF, for papers: drawn from the canvas of the SVG, in the colours of the light page."""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from matplotlib.backends import backend_mixed, backend_pdf
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas

Colours = Mapping[tuple[float, ...], tuple[float, ...]]
_MIXED: Any = backend_mixed.MixedModeRenderer  # matplotlib declares no types for these
_FILE: Any = backend_pdf.PdfFile
_VECTOR: Any = backend_pdf.RendererPdf
_WANTED: ContextVar[dict[str, bytes] | None] = ContextVar("wanted", default=None)
_UNDATED = {"CreationDate": None, "Creator": None, "Producer": None}


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
