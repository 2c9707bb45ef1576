import json
from typing import Any

import pyarrow as pa

from reports.findings.searches import in_words, opened, read_searches, seen_by_choice
from stores.openings import Openings

SEARCH = {
    "method": "bayes",
    "on": "val",
    "folds": None,
    "scope": "repeat",
    "trials": 16,
    "space": {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "tensor.width": {"values": [16, 32]},
        "width": {"values": [64, 128]},
    },
    "version": 1,
}
CHOSEN = [
    {"learning_rate": 1e-3, "width": 64, "tensor.width": 32},
    {"learning_rate": 3e-3, "width": 128, "tensor.width": 32},
    {"learning_rate": 2e-3, "width": 64, "tensor.width": 16},
]


def _runs(search: Any = SEARCH, model: str = "tensor[image+text]", **config: Any) -> list[dict[str, str]]:
    spec = json.dumps({"search": search, "config": config})
    return [{"model": model, "spec": spec, "hyper": json.dumps(hyper)} for hyper in CHOSEN]


def test_what_was_chosen_is_counted_or_for_a_range_its_median_and_extremes() -> None:
    (found,) = read_searches(pa.Table.from_pylist(_runs()))
    assert dict(found.space) == {
        "learning_rate": "0.0001 to 0.01 (log)", "tensor.width": "16, 32", "width": "64, 128",
    }  # fmt: skip
    assert dict(found.chosen) == {
        "learning_rate": "median 0.002 (0.001 to 0.003)", "tensor.width": "16 (1), 32 (2)", "width": "64 (2), 128 (1)",
    }  # fmt: skip


def test_runs_without_a_search_and_combiners_of_searched_runs_have_none() -> None:
    rows = [*_runs(None, "concat[image+text]"), *_runs(model="vote[image+text]", reads={"head": "unimodal"})]
    assert read_searches(pa.Table.from_pylist(rows)) == ()


def test_the_methods_say_how_it_was_searched_and_who_judged() -> None:
    folded = {**SEARCH, "folds": 5, "scope": "study", "method": "grid"}
    searches = read_searches(pa.Table.from_pylist([*_runs(), *_runs(folded, "gated[image+text]")]))
    text = in_words(searches)
    assert (
        "learning_rate, tensor.width, width of 1 model were chosen by 16 trials of Bayesian optimisation (TPE)" in text
    )
    assert "a model, within each repeat anew, by the lowest validation cross-entropy, on the validation part" in text
    assert "a grid of 16 points a model, once, on training and validation of the first repeat" in text
    assert "the mean over 5 folds of training and validation, no group in two folds" in text


def test_settings_are_said_of_the_models_that_have_them_and_unequal_budgets_as_a_span() -> None:
    rate = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    few, many = ({**SEARCH, "space": rate, "trials": trials} for trials in (6, 18))
    ranked = {**SEARCH, "space": {**rate, "width": {"values": [64, 128]}}, "trials": 12}
    rows = [*_runs(few, "concat[text]"), *_runs(many, "gated[text]"), *_runs(ranked, "low_rank[text]")]
    text = in_words(read_searches(pa.Table.from_pylist(rows)))
    assert text.startswith(
        "learning_rate of 2 models, and learning_rate, width of 1 model were chosen by between 6 and 18 trials"
    )


def test_a_choice_for_all_repeats_has_seen_test_samples_unless_all_repeats_share_their_split() -> None:
    once = read_searches(pa.Table.from_pylist(_runs({**SEARCH, "scope": "study"})))
    assert [seen_by_choice(once, kind) for kind in ("repeated", "fixed")] == [True, False]
    assert not seen_by_choice(read_searches(pa.Table.from_pylist(_runs())), "repeated")


def test_openings_are_told_in_one_line() -> None:
    twice = Openings(purposes={"robustness": 20, "score": 1200}, runs=1190, most=2)
    assert opened(twice) == "1,200 to score 1,190 runs, at most 2 times a model and repeat, 20 for robustness"
    killed = Openings(purposes={"score": 8}, runs=6, most=1, interrupted=2)
    assert opened(killed) == (
        "8 to score 6 runs, of them 2 with no score stored, cut short or not done yet, at most once a model and repeat"
    )
    both = Openings(purposes={"score": 8}, runs=6, most=1, at_once=2)
    assert (
        opened(both)
        == "8 to score 6 runs, 2 by two commands at once, with one outcome, at most once a model and repeat"
    )
    assert opened(Openings(purposes={}, runs=0, most=0)) == "no opening was noted"
