"""Rows as files: CSV, and LaTeX with booktabs."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from reports.metrics import PAPER_METRICS
from reports.results import Results
from reports.words import NAMES, labels_of, percent

_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
}


def csv_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the rows as CSV, headed by the keys of the first; empty if there are none."""
    out, listed = io.StringIO(), list(rows)
    if listed:
        writer = csv.DictWriter(out, fieldnames=list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
    return out.getvalue()


def latex_scores(results: Results) -> str:
    """Return the scores as a LaTeX table (booktabs), percent, the interval of the primary metric last."""
    names, primary = labels_of(results), results.method.primary_metric
    heads = " & ".join(_tex(NAMES[metric]) for metric in PAPER_METRICS)
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * len(PAPER_METRICS)}c}}",
        r"\toprule",
        rf"Model & {heads} & interval of {_tex(NAMES[primary])} \\",
        r"\midrule",
    ]
    for row in results.score_rows():
        cells = " & ".join(percent(row[metric]) for metric in PAPER_METRICS)
        span = "--" if row["low"] is None else f"[{percent(row['low'])}, {percent(row['high'])}]"
        lines.append(rf"{_tex(names[row['model']])} & {cells} & {span} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
