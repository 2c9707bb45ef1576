"""Models that were not trained to the end: the page says so above any score, and nothing is told to be above them."""

from typing import Any

import pytest

from reports.comparisons import ABOVE, UNFINISHED, UNTOLD
from reports.findings.epochs import unfinished
from reports.methods import methods_text
from reports.summary import summary

WEIGHTED = "weighted[image+speech+text]"
ENDED = {"unimodal[text]": 2, WEIGHTED: 1, "concat[image+speech+text]": 6}  # of 6 runs each


@pytest.fixture(scope="module")
def written(report_of: Any) -> Any:
    return report_of(pairing="recorded", facts={"corpus": _recorded(report_of)}, unfinished=ENDED)


def _recorded(report_of: Any) -> Any:
    return {**report_of().content.facts["corpus"], "pairing": "recorded", "notes": {}}


def test_what_combines_unfinished_models_is_as_unfinished(written: Any) -> None:
    votes = dict.fromkeys(("vote[image+speech+text]", "vote[image+text]", "vote[speech+text]"), 2)
    assert unfinished(written.case.evidence) == {**ENDED, **votes}
    assert written.case.measures.unfinished == {"unimodal[text]", "concat[image+speech+text]", *votes}


def test_nothing_is_above_a_model_that_was_not_trained_to_the_end(written: Any, report_of: Any) -> None:
    before = {(c.family, c.metric, c.a, c.b): c for c in report_of().content.comparisons}
    found = {(c.family, c.metric, c.a, c.b): c for c in written.content.comparisons}
    key = ("strategies", "macro_f1", WEIGHTED, "unimodal[text]")
    assert before[key].verdict == ABOVE
    assert (found[key].verdict, found[key].reason, found[key].holm_p) == (UNTOLD, UNFINISHED, None)
    assert found[key].primary.difference == before[key].primary.difference  # which is still shown
    image = ("strategies", "macro_f1", WEIGHTED, "unimodal[image]")
    assert found[image].verdict == before[image].verdict == ABOVE  # the higher one may be unfinished
    chance = ("chance", "macro_f1", "unimodal[text]", "majority class")
    assert found[chance].verdict == before[chance].verdict == ABOVE


def test_emotions_are_not_contrasted_by_what_was_not_trained_to_the_end(written: Any, report_of: Any) -> None:
    own, before = (it.content.chapters["hypotheses"].interaction for it in (written, report_of()))
    assert (own.refused, before.refused) == ("a model it looks at was not trained to the end", "")


def test_the_page_warns_above_the_scores(written: Any) -> None:
    [banner] = [banner for banner in written.content.banners if banner.kind == "unfinished"]
    for name, runs in ENDED.items():
        assert f"{name} ({runs} of 6 runs)" in banner.text
    page = written.page
    assert 0 < page.index("unimodal[text] (2 of 6 runs)") < page.index('id="scores"')
    assert "to be read with care: not trained to the end" in " ".join(summary(written.content)).lower()
    assert "unimodal\\[text\\] (2 of 6 runs)" in methods_text(written.content)


def test_a_study_that_was_trained_to_the_end_has_no_such_warning(report_of: Any) -> None:
    assert "unfinished" not in [banner.kind for banner in report_of().content.banners]
