"""What the terminal says of scores: few rows of many models, and which one is the reference."""

from types import SimpleNamespace
from typing import Any

import pytest

import flows.terminal
from flows.terminal import show_robustness, show_scores
from fusion.robustness import RobustnessBooks
from reports.evidence import Model


def _results(variants: int) -> Any:
    """Return what a table of scores reads of results: a reference, and that many models trained otherwise."""
    names = [f"v{i}" for i in range(variants)]
    models = [Model(name=f"concat[text] {v}", head="concat", modalities=("text",), variant=v) for v in names]
    models.append(Model(name="weighted[text]", head="weighted", modalities=("text",)))
    scores = dict.fromkeys(("macro_f1", "accuracy", "auc_macro_ovr", "balanced_accuracy", "low", "high"), 0.5)
    counts = {"groups": 9, "blank": 2, "twins": []}
    return SimpleNamespace(
        models=models,
        reference="weighted[text]",
        method=SimpleNamespace(primary_metric="macro_f1", alpha=0.05),
        model={model.name: model for model in models}.__getitem__,
        score_rows=lambda: [{"model": model.name, **scores} for model in models],
        facts={"group_counts": {"speaker": counts}, "in_two_parts": 3, "groups": ["speaker"]},
        banners=[SimpleNamespace(kind=kind, title="Training has seen 44.0 %") for kind in ("leaks", "note")],
    )


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return (names in the first column, caption) of the tables that are printed."""
    tables: list[Any] = []
    monkeypatch.setattr(
        flows.terminal,
        "show_table",
        lambda title, columns, rows, caption: tables.append(([row[0] for row in rows], caption)),
    )
    return tables


def test_of_many_models_those_are_shown_that_the_page_lists_first(shown: list[Any]) -> None:
    show_scores("many", _results(30))
    assert shown == [
        (["weighted[text] *"], "* the reference, which the others are compared with; 30 more in tables/scores.csv")
    ]


def test_of_few_models_all_are_shown_and_the_reference_is_marked(shown: list[Any]) -> None:
    show_scores("few", _results(2))
    names, caption = shown[0]
    assert names == ["concat[text] v0", "concat[text] v1", "weighted[text] *"]
    assert caption == "* the reference, which the others are compared with"


def test_the_line_on_robustness_counts_the_pairs_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(flows.terminal.console, "print", lambda line, **_: said.append(line))
    show_robustness(RobustnessBooks(runs=30, conditions=7, cached=20, scored=130, openings=30))
    assert said == [
        "robustness: 150 scores of 30 runs under up to 7 conditions (20 cached), "
        "30 openings of test parts counted apart"
    ]


def test_groups_and_leaks_are_told_beside_the_scores(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    show_scores("few", _results(2))
    said = " ".join(capsys.readouterr().err.split())
    assert said == (
        "9 speakers (2 samples without; probable twins: none); 3 by speaker in two parts "
        "Warning: Training has seen 44.0 %."
    )
