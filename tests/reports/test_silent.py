"""A modality in which nothing was planted: whether a fusion gains by it is said, and a gain is not passed over."""

from dataclasses import replace
from typing import Any

import pytest

from reports.chapters.emotions import Emotions
from reports.comparisons import UNTOLD
from reports.config import ReportConfig
from reports.evidence import read_evidence
from reports.findings.gains import MISSED, NOT_LOOKED_FOR, RECOVERED, check_planted, check_silent, find_winners
from reports.measures import measure
from reports.methods import methods_text
from reports.report import read_case
from reports.summary import summary
from reports.words import points

HELPS = "image, which tells nothing, is not found to help {} fusion"


def test_a_gain_by_what_is_said_to_tell_nothing_is_a_null_that_was_missed(report_of: Any) -> None:
    written, told = report_of(), {"image": [], "speech": ["anger", "fear"], "text": ["neutral"]}
    case = read_case(written.store, written.runs, ReportConfig())  # in which the image tells joy and sadness
    case.evidence.facts["corpus"]["notes"]["planted"] = told
    found = case.value(Emotions)
    assert found is not None
    assert {null.effect: null.verdict for null in found.nulls} == {
        HELPS.format("weighted"): MISSED, HELPS.format("concat"): MISSED,
    }  # fmt: skip
    assert not any("tells nothing" in effect.effect for effect in found.planted)
    said = summary(replace(written.content, chapters=written.content.chapters | {"emotions": found}))[-1]
    assert said.startswith("Of 5 effects planted in this synthetic corpus 2 were recovered, and 2 found that were not")
    methods = methods_text(replace(written.content, facts=case.evidence.facts))
    assert "image tells nothing, speech tells anger and fear and text tells neutral" in methods


def test_a_corpus_that_plants_in_every_modality_or_in_none_has_no_null(report_of: Any) -> None:
    assert report_of().content.chapters["emotions"].nulls == ()
    evidence = read_evidence(report_of().store, report_of().runs)
    evidence.facts["corpus"]["notes"]["planted"] = {}
    assert check_silent(evidence, measure(evidence, alpha=0.05, draws=100, seed=0), "accuracy") == ()
    assert check_planted(evidence, (), (), 0.05) == ()


@pytest.mark.parametrize(("gain", "verdict"), [(0.05, MISSED), (-0.05, RECOVERED), (0.0, RECOVERED)])
def test_only_a_gain_that_is_told_misses_the_null(report_of: Any, gain: float, verdict: str) -> None:
    written = report_of()
    evidence = read_evidence(written.store, written.runs)
    evidence.facts["corpus"]["notes"]["planted"] = {"image": [], "speech": ["anger"]}
    measures = measure(evidence, alpha=0.05, draws=100, seed=0)
    for head in ("weighted", "concat"):
        whole, rest = (measures.table[f"{head}[{m}]"]["accuracy"].repeats for m in ("image+speech+text", "speech+text"))
        spread = [0.01, -0.01, 0.02, -0.02, 0.0, 0.0]  # its corrected t is that of `gain` alone
        whole[:] = rest + gain + spread
    found = check_silent(evidence, measures, "accuracy")
    assert [null.verdict for null in found] == [verdict, verdict]
    assert all(null.why.startswith(f"gain {points(gain)} pp, uncorrected interval ") for null in found)


def test_where_no_test_is_possible_nothing_is_recovered_or_missed(report_of: Any, section_of: Any) -> None:
    written = report_of(repeats=2)
    case = read_case(written.store, written.runs, ReportConfig())
    case.evidence.facts["corpus"]["notes"]["planted"] = {"image": [], "speech": ["anger"], "text": ["neutral"]}
    found = case.value(Emotions)
    assert found is not None
    assert len(found.planted) == 4
    assert {effect.verdict for effect in (*found.planted, *found.nulls)} == {NOT_LOOKED_FOR}
    assert all("expected at least 3 repeats, got 2" in effect.why for effect in (*found.planted, *found.nulls))
    said = summary(replace(written.content, chapters=written.content.chapters | {"emotions": found}))[-1]
    assert said.startswith("Of 4 effects planted in this synthetic corpus 0 were recovered, 4 not looked for")
    section = section_of("emotions", found)
    assert section.count('<span class="verdict cannot">not looked for</span>') == 6
    assert "recovered means only that no gain is told" in section


def test_a_modality_that_was_not_run_alone_is_not_missed(report_of: Any) -> None:
    case = report_of().case
    without = replace(case.evidence, models=tuple(m for m in case.evidence.models if m.name != "unimodal[text]"))
    found = check_planted(without, find_winners(without, case.measures), (), 0.05)
    neutral = next(effect for effect in found if "neutral" in effect.effect)
    assert (neutral.verdict, neutral.why) == (NOT_LOOKED_FOR, "unimodal was not run on text")


def test_on_a_composed_corpus_single_modalities_are_judged_and_nothing_is_called_planted(report_of: Any) -> None:
    content = report_of(pairing="composed", protocol="leave-one-group-out").content
    found = content.chapters["emotions"]
    assert {w.label: w.modality for w in found.winners if w.told} == {
        "joy": "image", "sadness": "image", "anger": "speech", "fear": "speech", "neutral": "text",
    }  # fmt: skip
    assert {d.verdict for d in found.dropped} == {UNTOLD}
    assert (found.planted, found.nulls) == ((), ())
    assert not any("planted in this" in text for text in summary(content))
