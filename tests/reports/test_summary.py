"""The answer: three sentences, whatever the number of models."""

from dataclasses import replace
from typing import Any

import pytest

from reports.comparisons import ABOVE, BELOW, STRATEGIES, UNTOLD, Comparison
from reports.evidence import Model
from reports.results import Results
from reports.statistics._statistic import PairResult
from reports.summary import gains_figure, summary
from reports.words import exact, plain

FULL = ("image", "speech", "text")


def _against(content: Results, found: dict[str, tuple[float, float, float, str]]) -> Results:
    """Return results in which the reference is set against these heads alone: gain, low, high, verdict."""
    models = tuple(Model(name=f"{head}[image+speech+text]", head=head, modalities=FULL) for head in found)
    comparisons = tuple(
        Comparison(
            family=STRATEGIES, metric="macro_f1", a=content.reference, b=model.name, holm_p=0.01, naive=None,
            verdict=verdict, primary=PairResult(test="t", difference=gain, low=low, high=high, n=6, unit="repeats"),
        )
        for model, (gain, low, high, verdict) in zip(models, found.values(), strict=True)
    )  # fmt: skip
    return replace(content, models=(*content.models, *models), comparisons=comparisons)


def test_the_answer_is_three_sentences_on_score_gain_and_what_is_not_known(report_of: Any) -> None:
    content = report_of().content
    reached, gained, untold = summary(content)
    assert reached.startswith("Weighted reaches a macro F1 of ")
    assert " on 5 emotions and 240 samples, against " in reached
    assert gained.startswith("Weighted is above all 3 single modalities (+")
    assert "of 7 effects planted in this synthetic corpus" in untold.lower()
    assert all(text.endswith(".") and "\n" not in text for text in (reached, gained, untold))


def test_gains_are_given_with_their_interval(report_of: Any) -> None:
    found = {"early": (0.1, 0.05, 0.15, ABOVE), "late": (-0.035, -0.09, 0.019, UNTOLD)}
    assert summary(_against(report_of().content, found))[1] == (
        "Weighted is above early (+10.0 pp, uncorrected interval +5.0 to +15.0); "
        "it cannot be told from late (−3.5 pp, interval −9.0 to +1.9)."
    )


def test_many_rivals_are_counted_and_few_are_named(report_of: Any) -> None:
    found = {f"low{i}": (0.01 * i, 0.005 * i, 0.02 * i, ABOVE) for i in range(1, 9)}
    found |= {"high": (-0.05, -0.08, -0.02, BELOW), "same": (0.0, -0.01, 0.01, UNTOLD)}
    assert summary(_against(report_of().content, found))[1] == (
        "Weighted is above 8 of 10 other strategies (+1.0 to +8.0 pp, uncorrected intervals within +0.5 to +16.0); "
        "it is below high (−5.0 pp, interval −8.0 to −2.0); "
        "it cannot be told from same (+0.0 pp, interval −1.0 to +1.0)."
    )


def test_of_a_composed_corpus_the_answer_is_that_it_cannot_be_told(report_of: Any) -> None:
    gained = summary(report_of(pairing="composed", protocol="fixed").content)[1]
    assert gained.startswith("Whether fusing helps cannot be told: pairs were made by label")


@pytest.mark.parametrize(("verdict", "hollow"), [(ABOVE, False), (UNTOLD, True)])
def test_a_gain_that_cannot_be_told_is_drawn_hollow(report_of: Any, verdict: str, hollow: bool) -> None:
    figure = gains_figure(_against(report_of().content, {"early": (0.1, 0.05, 0.15, verdict)}))
    assert figure is not None
    assert ("fill: var(--paper)" in figure.svg) == hollow
    assert "+10.0  (+5.0 to +15.0)" in figure.svg
    assert "intervals uncorrected" in figure.svg


def test_a_rival_that_scores_higher_is_named_and_the_article_follows_the_metric(report_of: Any) -> None:
    content = report_of().content
    best = content.ranking()[0]
    assert best.model == "concat[image+speech+text]"
    assert "; concat scores highest, " in summary(content)[0]
    assert (
        " reaches an accuracy of "
        in summary(replace(content, method=replace(content.method, primary_metric="accuracy")))[0]
    )


def test_a_test_whose_smallest_p_is_too_large_for_its_family_is_said_to_find_nothing(report_of: Any) -> None:
    content = _against(report_of().content, {"early": (0.1, -0.1, 0.3, UNTOLD), "late": (0.2, -0.1, 0.5, UNTOLD)})
    for smallest, blind in ((0.03, True), (0.02, False)):  # twice 0.03 is not below 0.05, twice 0.02 is
        comparisons = tuple(
            replace(c, primary=replace(c.primary, p=0.5, smallest_p=smallest)) for c in content.comparisons if c.primary
        )
        gained = summary(replace(content, comparisons=comparisons))[1]
        assert gained.startswith("This design cannot find any difference, of whatever size: ") == blind


def test_the_text_of_an_error_becomes_a_clause() -> None:
    assert plain("expected at least 3 repeats, got 1: raise `repeats`") == (
        "it needs at least 3 repeats, and there is 1 (raise `repeats`)"
    )
    assert plain("the interval includes 0") == "the interval includes 0"


def test_p_keeps_three_digits() -> None:
    assert [exact(p) for p in (1.0, 0.002, 4e-14, None)] == ["1.00", "0.00200", "4.00e-14", "undefined"]
