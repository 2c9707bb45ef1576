"""Figures as PDF: only where asked for, the same bytes each time, in the colours of the light page."""

import re
from typing import Any

import matplotlib as mpl

from reports.drawing import INK, PALETTE, Drawing, collect_pdfs, finish
from reports.report import draw_figures


def _drawn() -> None:
    with Drawing("dots", height=1.5) as drawing:
        drawing.axes.plot([1, 2], [1, 2], "o", color=INK)
        drawing.axes.barh([1], [2], facecolor="none", edgecolor=PALETTE["muted"][0], hatch="////")
        finish(drawing, "dots", "Two dots and a bar")


def test_a_pdf_is_made_only_while_someone_collects_and_is_the_same_bytes_again() -> None:
    made = []
    for _ in range(2):
        with collect_pdfs() as pdfs:
            _drawn()
        made.append(pdfs)
        _drawn()
    assert list(made[0]) == ["dots"]
    assert made[0] == made[1]
    assert made[0]["dots"].startswith(b"%PDF-")
    assert b"CreationDate" not in made[0]["dots"]


def test_colours_that_stand_for_the_palette_are_printed_as_the_light_page_has_them() -> None:
    with mpl.rc_context({"pdf.compression": 0}), collect_pdfs() as pdfs:
        _drawn()
    light = tuple(int(PALETTE["ink"][1][i : i + 2], 16) / 255 for i in (1, 3, 5))
    found = re.findall(rb"([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+(?:rg|RG)\b", pdfs["dots"])
    colours = {tuple(round(float(number), 6) for number in colour) for colour in found}
    assert tuple(round(number, 6) for number in light) in colours
    assert not {1 / 255, 2 / 255, 3 / 255} & {number for colour in colours for number in colour}


def test_every_figure_of_a_report_has_its_pdf(report_of: Any) -> None:
    with collect_pdfs() as pdfs:
        figures = draw_figures(report_of(modalities=("text",)).content)
    assert set(pdfs) == {figure.name for own in figures.values() for figure in own}
