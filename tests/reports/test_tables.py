"""Tables as files: CSV that is read back, LaTeX that a strict reader takes."""

import csv
import io
import re
from typing import Any

import pytest

from reports.chapters._chapter import chapters
from reports.tables import LONGEST, csv_table, latex_scores, latex_table

HOSTILE = ("50 % & $x_1$ #2 {~^\\}", "\\input{/etc/passwd}", "two\n\nlines", "[2pt]", "غضب")
_COMMANDS = {
    "toprule", "midrule", "bottomrule", "endhead", "textbackslash", "textasciitilde", "textasciicircum",
    "cdot", "pm", "times", "geq", "leq", "alpha", "varepsilon", "eta", "omega", "mu", "rightarrow",
}  # fmt: skip


def read_latex(text: str) -> list[list[str]]:
    """Return the cells of a table as LaTeX would split them; fails on whatever LaTeX would stop at."""
    lines = text.splitlines()
    assert lines.pop(0).startswith("% needs \\usepackage{booktabs")
    begin = re.fullmatch(r"\\begin\{(tabular|longtable)\}\{([lrc]+)\}", lines.pop(0))
    assert begin is not None
    assert lines.pop() == f"\\end{{{begin[1]}}}"
    rows = []
    for line in lines:
        if line.startswith("\\") and not line.endswith(" \\\\"):
            assert line in ("\\toprule", "\\midrule", "\\bottomrule", "\\endhead")
            continue
        assert line.endswith(" \\\\")
        cells = re.split(r"(?<!\\) ?& ?", line.removesuffix(" \\\\"))
        assert len(cells) == len(begin[2])
        rows.append([check_cell(cell) for cell in cells])
    return rows


def check_cell(cell: str) -> str:
    """Return the cell: braces and maths balance, only commands we know, no special sign of its own."""
    assert set(re.findall(r"\\([A-Za-z]+)", cell)) <= _COMMANDS
    plain = re.sub(r"\\[A-Za-z]+(\{\})?|\\[&%$#_{}]", "", cell)
    assert plain.count("$") % 2 == 0
    depth = 0
    for sign in plain:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0
    outside = re.sub(r"\$[^$]*\$", "", plain)
    assert not re.search(r"[&%#_^~\\]", outside)
    return cell


def test_csv_is_read_back_as_it_was() -> None:
    rows = [{"name": text, "value": 0.1 + 0.2} for text in HOSTILE]
    back = list(csv.DictReader(io.StringIO(csv_table(rows))))
    assert [row["name"] for row in back] == list(HOSTILE)
    assert {float(row["value"]) for row in back} == {0.1 + 0.2}
    assert csv_table([]) == ""


def test_a_text_that_a_spreadsheet_would_run_is_one_for_it_and_numbers_stay_numbers() -> None:
    rows = [
        {"=name": text, "value": -0.12} for text in ("=1+1", "+cmd|' /C calc'!A0", "-joy", "@SUM(A1)", "\t=1", "\r=1")
    ]
    back = list(csv.DictReader(io.StringIO(csv_table(rows), newline="")))
    assert [row["'=name"] for row in back] == [f"'{row['=name']}".replace("\r", "\n") for row in rows]
    assert {row["value"] for row in back} == {"-0.12"}
    plain = [{"name": text} for text in ("joy", "-0.12", "1e-3", "a=b", "", "'quoted'")]
    assert list(csv.DictReader(io.StringIO(csv_table(plain)))) == plain


def test_latex_escapes_what_comes_from_data_and_takes_no_command_of_it() -> None:
    cells = read_latex(latex_table([{"the_name": text} for text in HOSTILE]))
    assert cells[0] == ["the name"]
    assert cells[1] == [r"50 \% \& \$x\_1\$ \#2 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\}"]
    assert cells[2] == [r"\textbackslash{}input\{/etc/passwd\}"]
    assert cells[3] == ["two lines"]
    assert cells[4] == ["{[}2pt{]}"]
    assert cells[5] == ["غضب"]


def test_latex_rounds_numbers_aligns_them_right_and_shows_what_is_absent_as_a_dash() -> None:
    row = {"model": "a", "p": 0.000123456, "d": -1.5, "n": 12345, "none": None, "told": True, "two": ("x", 0.25)}
    text = latex_table([row])
    assert "{lrrrrll}" in text
    assert read_latex(text)[1] == ["a", "0.0001235", "$-$1.5", "12345", "--", "yes", "x, 0.25"]
    assert latex_table([]) == "% no rows\n"


@pytest.mark.parametrize(("rows", "kind"), [(LONGEST, "tabular"), (LONGEST + 1, "longtable")])
def test_a_table_longer_than_a_page_breaks_over_several(rows: int, kind: str) -> None:
    text = latex_table([{"n": i} for i in range(rows)])
    assert f"\\begin{{{kind}}}" in text
    assert ("\\endhead" in text) == (kind == "longtable")
    assert len(read_latex(text)) == rows + 1


def test_every_table_of_a_report_is_csv_and_latex_that_can_be_read(report_of: Any) -> None:
    results = report_of().content
    tables = {
        table: rows
        for name, chapter in chapters().items()
        if name in results.chapters
        for table, rows in chapter.tables(results.chapters[name], results).items()
    }
    assert {"scores", "repeats", "models", "optimisers", "strategies", "notation", "paper"} <= set(tables)
    for rows in tables.values():
        if rows:
            lines = list(csv.reader(io.StringIO(csv_table(rows))))
            assert len(read_latex(latex_table(rows))) == len(lines) == len(rows) + 1
    assert len(read_latex(latex_scores(results))) > len(results.models)
