"""A modality in which nothing was planted: whether a fusion gains by it is said, and a gain is not passed over."""

from dataclasses import replace
from typing import Any

import pytest

from reports.chapters.emotions import Emotions
from reports.compute import read_case
from reports.config import ReportConfig
from reports.evidence import read_evidence
from reports.findings.planted import MISSED, RECOVERED, check_planted, check_silent
from reports.measures import measure
from reports.methods import methods_text

HELPS = "image, which tells nothing, is not found to help {} fusion"


def test_a_gain_by_what_is_said_to_tell_nothing_is_a_null_that_was_missed(report_of: Any) -> None:
    written, told = report_of(), {"image": [], "speech": ["anger", "fear"], "text": ["neutral"]}
    case = read_case(written.store, written.runs, ReportConfig())  # in which the image tells joy and sadness
    case.evidence.facts["corpus"]["notes"]["planted"] = told
    found = case.value(Emotions)
    assert found is not None
    nulls = {p.effect: p.verdict for p in found.planted if "tells nothing" in p.effect}
    assert nulls == {HELPS.format("weighted"): MISSED, HELPS.format("concat"): MISSED}
    methods = methods_text(replace(written.paths.content, facts=case.evidence.facts))
    assert "image tells nothing, speech tells anger and fear and text tells neutral" in methods


def test_a_corpus_that_plants_in_every_modality_or_in_none_has_no_null(report_of: Any) -> None:
    assert not any(
        "tells nothing" in planted.effect for planted in report_of().paths.content.chapters["emotions"].planted
    )
    evidence = read_evidence(report_of().store, report_of().runs)
    evidence.facts["corpus"]["notes"]["planted"] = {}
    assert check_silent(evidence, measure(evidence, alpha=0.05, draws=100, seed=0), "accuracy") == ()
    assert check_planted(evidence, (), ()) == ()


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
