"""Rows as files: CSV with every digit, and LaTeX (booktabs) rounded for print."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from reports.metrics import PAPER_METRICS
from reports.results import Results
from reports.words import NAMES, NONE, labels_of, percent

_FORMULA = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")
LONGEST = 45  # rows on one page; a longer table breaks over several
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after a line break it would begin an option
    "]": "{]}",
    "·": r"$\cdot$",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "α": r"$\alpha$",
    "ε": r"$\varepsilon$",
    "η": r"$\eta$",
    "ω": r"$\omega$",
    "²": "$^2$",
    "µ": r"$\mu$",
    "→": r"$\rightarrow$",
}


def csv_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the rows as CSV, headed by the keys of the first; empty if there are none."""
    out, listed = io.StringIO(), list(rows)
    if listed:
        writer = csv.DictWriter(out, fieldnames=list(listed[0]), lineterminator="\n")
        writer.writerow({head: unrun(head) for head in listed[0]})
        writer.writerows({head: unrun(value) for head, value in row.items()} for row in listed)
    return out.getvalue()


def unrun(value: Any) -> Any:
    """Return a text that a spreadsheet would take for a formula with an apostrophe before it; others as they are."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", "\n")  # which alone would end a row
    if not value.startswith(_FORMULA):
        return value
    with suppress(ValueError):
        float(value)
        return value
    return f"'{value}"


def latex_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the rows as LaTeX, headed by the keys of the first: numbers with four digits, None a dash."""
    listed = [dict(row) for row in rows]
    if not listed:
        return "% no rows\n"
    heads = list(listed[0])
    numbers = [all(_is_number(row[head]) for row in listed) for head in heads]
    cells = [[_cell(row[head]) for head in heads] for row in listed]
    return _booktabs([head.replace("_", " ") for head in heads], cells, "".join("lr"[own] for own in numbers))


def latex_scores(results: Results) -> str:
    """Return the scores as LaTeX, in percent, the interval of the primary metric last."""
    names, primary = labels_of(results), results.method.primary_metric
    heads = ["Model", *(NAMES[metric] for metric in PAPER_METRICS), f"interval of {NAMES[primary]}"]
    cells = []
    for row in results.score_rows():
        span = NONE if row["low"] is None else f"[{percent(row['low'])}, {percent(row['high'])}]"
        cells.append([names[row["model"]], *(percent(row[metric]) for metric in PAPER_METRICS), span])
    return _booktabs(heads, cells, f"l{'r' * len(PAPER_METRICS)}c")


def _booktabs(heads: Sequence[str], rows: Sequence[Sequence[str]], columns: str) -> str:
    """Return a table: `tabular` if it fits on a page, else `longtable` with its head on every page."""
    long = len(rows) > LONGEST
    kind, packages = ("longtable", "booktabs, longtable") if long else ("tabular", "booktabs")
    lines = [
        rf"% needs \usepackage{{{packages}}}; names beyond Latin script need LuaLaTeX or XeLaTeX",
        rf"\begin{{{kind}}}{{{columns}}}",
        r"\toprule",
        _line(heads),
        r"\midrule",
        *([r"\endhead"] if long else []),
        *map(_line, rows),
        r"\bottomrule",
        rf"\end{{{kind}}}",
    ]
    return "\n".join([*lines, ""])


def _line(cells: Iterable[str]) -> str:
    return " & ".join(map(_tex, cells)) + r" \\"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−")
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return str(value)


def _tex(text: str) -> str:
    plain = " ".join(text.split())  # a blank line would end the paragraph, and with it the table
    return "".join(_LATEX.get(sign, sign) for sign in plain if sign == " " or sign.isprintable())
