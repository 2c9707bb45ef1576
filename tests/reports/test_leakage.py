"""What is said of leaks: scores without the flagged test samples, changed verdicts, and the odometer."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score

from reports.case import Case
from reports.chapters.leakage import Leakage, Leaks
from reports.findings.rescoring import rescore
from stores.openings import Openings
from stores.studies import RADAR, StudyStore

REFERENCE = "weighted[image+speech+text]"
SIGHT = {"stores": 1, "looked": 1, "dimension": 7.0, "ratio": 0.2, "reason": ""}


def write_radar(store: StudyStore, rows: Sequence[Mapping[str, Any]], sights: Mapping[str, Any] | None = None) -> None:
    told = {"modalities": sights or dict.fromkeys(("image", "speech", "text"), SIGHT), "kinds": ["speaker"]}
    table = pa.Table.from_pylist([{"similarity": None, "nearest": "planted/0000"} | dict(row) for row in rows], RADAR)
    store.write_radar(table.replace_schema_metadata({"affuse": json.dumps(told)}))


def flag(case: Case, kind: str, reason: str, wanted: Callable[[int, int], bool]) -> list[dict[str, Any]]:
    """Return the rows that flag the i-th test sample of a repeat where `wanted(repeat, i)`."""
    return [
        {"repeat": part.repeat, "sample_id": name, "kind": kind, "reason": reason, "similarity": 0.99}
        for part in case.evidence.held_out
        for i, name in enumerate(part.sample_ids.tolist())
        if wanted(part.repeat, i)
    ]


@pytest.fixture
def case(own_case: Case) -> Case:
    """Return the study into which every test writes the radar it needs."""
    return own_case


@pytest.fixture
def section(section_of: Callable[..., str]) -> Callable[..., str]:
    """Return the chapter of a case as it stands on the page."""
    return lambda case, **changed: section_of("leakage", leaks_of(case), **changed)


def leaks_of(case: Case) -> Leaks:
    found = Leakage().compute(case)
    assert found is not None
    return found


def test_the_score_without_the_flagged_is_that_of_the_other_test_samples(case: Case) -> None:
    write_radar(case.store, flag(case, "speech", "near", lambda repeat, i: (repeat + i) % 3 == 0))
    [finding] = leaks_of(case).findings
    by_hand = []
    for part, posteriors in zip(case.evidence.held_out, case.evidence.posteriors[REFERENCE], strict=True):
        kept = [i for i in range(len(part.labels)) if (part.repeat + i) % 3]
        by_hand.append(f1_score(part.labels[kept], posteriors[kept].argmax(axis=1), average="macro"))
    assert finding.without.score == pytest.approx(np.mean(by_hand), rel=1e-12)
    assert finding.tests == sum(len(part.labels) for part in case.evidence.held_out) - finding.without.tests
    assert finding.share == finding.tests / (finding.tests + finding.without.tests)


def test_what_lies_near_is_called_possible_and_its_error_rate_nominal(case: Case, section: Callable[..., str]) -> None:
    write_radar(case.store, flag(case, "speech", "near", lambda repeat, i: i == 0))
    text = section(case)
    assert "possibly near that of another speech recording" in text
    assert "The 5 % are nominal" in text


def test_in_a_clustered_design_the_score_is_that_of_all_kept_tests_together(
    report_of: Callable[..., Any],
) -> None:
    case = report_of(protocol="leave-one-group-out").case
    keep = [np.arange(len(part.labels)) % 3 > 0 for part in case.evidence.held_out]
    labels = np.concatenate([part.labels[own] for part, own in zip(case.evidence.held_out, keep, strict=True)])
    posteriors = case.evidence.posteriors[REFERENCE]
    predicted = np.concatenate([values[own].argmax(axis=1) for values, own in zip(posteriors, keep, strict=True)])
    assert rescore(case, keep).score == pytest.approx(f1_score(labels, predicted, average="macro"), rel=1e-12)


def test_with_nothing_taken_away_every_verdict_is_the_reports_own(case: Case) -> None:
    same = rescore(case, [np.ones(len(part.labels), dtype=bool) for part in case.evidence.held_out])
    assert same.score == case.measures.table[REFERENCE]["macro_f1"].estimate
    assert (same.flips, same.untested, same.compared) == ((), 0, len(case.compared("strategies")))


def test_a_verdict_that_hangs_on_the_flagged_is_named_with_both_outcomes(case: Case) -> None:
    [single] = [own for own in case.compared("strategies") if own.b == "unimodal[text]"]
    assert single.verdict == "above"
    right = {
        name: [p.argmax(axis=1) == part.labels for part, p in zip(case.evidence.held_out, values, strict=True)]
        for name, values in case.evidence.posteriors.items()
    }
    write_radar(
        case.store,
        flag(case, "image", "identical", lambda r, i: bool(right[REFERENCE][r][i] > right["unimodal[text]"][r][i])),
    )
    [finding] = leaks_of(case).findings
    [flip] = [flip for flip in finding.without.flips if flip.rival == "unimodal[text]"]
    assert (flip.before, flip.after) == ("above", "cannot tell")


def test_where_too_little_is_left_nothing_is_told(case: Case) -> None:
    write_radar(
        case.store,
        [
            *flag(case, "text", "identical", lambda repeat, i: True),
            *flag(case, "speaker", "group", lambda repeat, i: repeat == 2),
            *flag(case, "image", "near", lambda repeat, i: bool(case.evidence.held_out[repeat].labels[i] == 0)),
        ],
    )
    reasons = {finding.kind: finding.without.reason for finding in leaks_of(case).findings}
    assert reasons == {
        "text": "only 0 test samples are left, of 30 asked for",
        "speaker": "no test sample is left in 1 of 6 repeats",
        "image": "no test sample of joy is left",
    }


def test_findings_that_leave_enough_are_also_taken_away_together(case: Case) -> None:
    image = flag(case, "image", "near", lambda repeat, i: i < 4)
    speech = flag(case, "speech", "identical", lambda repeat, i: 2 <= i < 6)
    write_radar(case.store, [*image, *speech, *flag(case, "text", "identical", lambda repeat, i: True)])
    together = leaks_of(case).together
    keep = [np.arange(len(part.labels)) >= 6 for part in case.evidence.held_out]
    assert together == rescore(case, keep)


def test_a_study_of_before_there_was_a_radar_says_that_nobody_looked(case: Case, section: Callable[..., str]) -> None:
    case.store.root.delete(case.store.folder, "radar.parquet")
    assert leaks_of(case) == Leaks(looked=False)
    assert "was not looked at" in section(case)


def test_a_clean_study_says_what_was_looked_at_and_what_was_not(case: Case, section: Callable[..., str]) -> None:
    blind = SIGHT | {"looked": 0, "dimension": None, "ratio": None, "reason": "only 12 different rows"}
    write_radar(case.store, [], {"image": SIGHT, "speech": blind, "text": SIGHT})
    text = section(case)
    assert "Nothing that test parts share with training parts was found" in text
    assert "Nothing was found in image, text and speaker." in text
    assert "Near-duplicates of speech cannot be told: only 12 different rows." in text


def test_names_are_escaped_and_a_scripted_corpus_is_no_crime(case: Case, section: Callable[..., str]) -> None:
    rows = flag(case, "text", "identical", lambda repeat, i: True)
    write_radar(case.store, [row | {"nearest": "<script>alert(1)</script>"} for row in rows])
    text = section(case)
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "Where a corpus is scripted that is its design" in text
    assert "None" not in text


def test_a_test_part_that_was_opened_twice_for_a_model_is_warned_of(case: Case, section: Callable[..., str]) -> None:
    once = Openings(purposes={"score": 90}, runs=90, most=1)
    assert "was opened" not in section(case, openings=once)
    twice = section(case, openings=replace(once, most=2))
    assert "A test part was opened 2 times to score the same model" in twice
