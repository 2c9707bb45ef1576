"""Accuracy and macro F1 by another route: scikit-learn on the rows of the predictions table, against what is written.

Nothing of `reports/measures.py` or `reports/metrics.py` is used, so an error there cannot hide itself.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from reports.evidence import CHANCE, read_evidence
from reports.findings.leaks import judged_on
from reports.measures import RESAMPLED
from reports.results import Results
from reports.tables import unrun
from reports.words import NAMES, NONE, labels_of
from stores.studies import StudyStore

_FAR = 1e-9  # of a score in a table that has every digit
_ROUNDED = 0.05 + 1e-9  # of a percentage with one decimal
Found = tuple[str, str, str]  # where, stored, recomputed
Scores = Mapping[tuple[str, str], float]  # by model and metric


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """How many written scores were compared, and which differ: (where, stored, recomputed)."""

    scores: int
    mismatches: tuple[Found, ...]


def cross_check(store: StudyStore, run_ids: Sequence[str], results: Results, stored: Mapping[str, bytes]) -> Crossed:
    """Compare `tables/repeats.csv` and the score tables of the page with scores taken straight from the rows."""
    rows = _rows(store, run_ids)
    by_repeat = _by_repeat(rows)
    estimates = _means(by_repeat) if results.method.protocol in RESAMPLED else _pooled(rows)
    checked = [
        *_repeats(stored.get("tables/repeats.csv", b"").decode(errors="replace"), by_repeat),
        *_cells(stored.get("index.html", b"").decode(errors="replace"), results, estimates),
    ]
    wrong = tuple((where, own, again) for where, own, again, same in checked if not same)
    return Crossed(scores=len(checked), mismatches=wrong)


def _rows(store: StudyStore, run_ids: Sequence[str]) -> pd.DataFrame:
    """Return one row a test prediction: model, repeat, sample_id, label, predicted."""
    runs = store.runs()
    assert runs is not None
    table = store.predictions(run_ids)
    rows = table.select(["run_id", "sample_id", "label"]).to_pandas()
    flat = table["posterior"].combine_chunks().flatten().to_numpy()
    rows["predicted"] = flat.reshape(len(rows), -1).argmax(axis=1)
    rows = rows.merge(runs.select(["run_id", "model", "repeat"]).to_pandas(), on="run_id")
    clean, _ = judged_on(read_evidence(store, run_ids), store.radar())
    kept = {(part.repeat, name) for part in clean.held_out for name in part.sample_ids.tolist()}
    return rows[[pair in kept for pair in zip(rows["repeat"], rows["sample_id"], strict=True)]]


def _scores(rows: pd.DataFrame) -> dict[str, float]:
    actual, predicted = rows["label"].to_numpy(), rows["predicted"].to_numpy()
    macro = f1_score(actual, predicted, labels=np.unique(actual), average="macro", zero_division=0)
    return {"accuracy": float(accuracy_score(actual, predicted)), "macro_f1": float(macro)}


def _by_repeat(rows: pd.DataFrame) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for (model, _), own in rows.groupby(["model", "repeat"], sort=True):
        for metric, value in _scores(own).items():
            found.setdefault((model, metric), []).append(value)
    return found


def _means(by_repeat: Mapping[tuple[str, str], list[float]]) -> Scores:
    return {key: float(np.mean(values)) for key, values in by_repeat.items()}


def _pooled(rows: pd.DataFrame) -> Scores:
    """Return the scores of all test parts together; a sample tested in several repeats counts once a round."""
    ordered = rows.sort_values(["model", "repeat"], kind="stable")
    ordered["round"] = ordered.groupby(["model", "sample_id"]).cumcount()
    rounds: dict[tuple[str, str], list[float]] = {}
    for (model, _), own in ordered.groupby(["model", "round"], sort=True):
        for metric, value in _scores(own).items():
            rounds.setdefault((model, metric), []).append(value)
    return _means(rounds)


def _repeats(text: str, by_repeat: Mapping[tuple[str, str], list[float]]) -> Iterator[tuple[str, str, str, bool]]:
    written = {(r["model"], r["metric"], int(r["position"])): r["value"] for r in csv.DictReader(io.StringIO(text))}
    for (model, metric), values in by_repeat.items():
        for i, value in enumerate(values):
            own = written.get((unrun(model), metric, i), NONE)
            same = own != NONE and abs(float(own) - value) <= _FAR
            yield f"tables/repeats.csv: {metric} of {model}, repeat {i}", own, repr(value), same


def _cells(page: str, results: Results, estimates: Scores) -> Iterator[tuple[str, str, str, bool]]:
    names = labels_of(results)
    written = _score_cells(page)
    for (model, metric), value in estimates.items():
        if model == CHANCE:
            continue
        for own in written.get((names[model], NAMES[metric]), [NONE]):
            same = own != NONE and abs(float(own) - 100 * value) <= _ROUNDED
            yield f"index.html, table of scores: {NAMES[metric]} of {names[model]}", own, f"{100 * value:.4f}", same


def _score_cells(page: str) -> dict[tuple[str, str], list[str]]:
    """Return the cells of the tables in the section `scores` by (first cell of the row, head of the column)."""
    reader = _Tables()
    reader.feed(page)
    found: dict[tuple[str, str], list[str]] = {}
    for table in reader.tables:
        head, *rows = table
        for row in rows:
            for column, cell in zip(head[1:], row[1:], strict=False):
                if _is_number(cell):
                    found.setdefault((row[0], column), []).append(cell)
    return found


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


class _Tables(HTMLParser):
    """Collects the texts of all cells of the section `scores`, by table and row."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._inside = self._cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._inside = dict(attrs).get("id") == "scores"
        elif self._inside and tag == "table":
            self.tables.append([])
        elif self._inside and self.tables and tag == "tr":
            self.tables[-1].append([])
        elif self._inside and self.tables and tag in ("th", "td"):
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._cell = False
        elif tag == "section":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside and self._cell:
            self.tables[-1][-1][-1] += data.strip()
