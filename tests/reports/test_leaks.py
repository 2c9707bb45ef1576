"""What is left of a report once training has seen some of its test samples: one rule for scores, verdicts, answers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reports.banners import find_banners
from reports.case import Case
from reports.chapters._chapter import told as told_in
from reports.config import ReportConfig
from reports.errors import StatisticsError
from reports.measures import measure
from reports.methods import methods_text
from reports.page.render import render_page
from reports.report import evaluate, read_case
from reports.results import Results
from reports.statistics.wilcoxon import Wilcoxon
from reports.summary import summary
from reports.tables import csv_table
from stores.root import Root
from stores.studies import RADAR, StudyStore
from tests.reports.cross_check import cross_check

SIGHT = {"stores": 1, "looked": 1, "dimension": 7.0, "ratio": 0.2, "reason": ""}
TITLE = "Training has seen {} % of the test samples, in whole, nearly or by their group: {}"
Write = Callable[..., tuple[StudyStore, list[str]]]
Flag = Callable[[int, int], bool]  # of the i-th test sample of a repeat


class Leaky:
    """The planted study with a radar that a test writes."""

    def __init__(self, store: StudyStore, runs: Sequence[str]) -> None:
        self.store, self.runs = store, runs
        self.clean = read_case(store, runs, ReportConfig())

    def flag(self, kind: str, reason: str, wanted: Flag, unsure: Flag = lambda repeat, i: False) -> float:
        """Write the radar, with rows of which it is `unsure`; return the share of all tests that it flags."""
        parts = self.clean.evidence.held_out
        rows = [
            {"repeat": part.repeat, "sample_id": name, "kind": kind, "reason": why, "nearest": "planted/0000"}
            for part in parts
            for i, name in enumerate(part.sample_ids.tolist())
            for why, flagged in ((reason, wanted), ("near, unsure", unsure))
            if flagged(part.repeat, i)
        ]
        told = {
            "modalities": dict.fromkeys(("image", "speech", "text"), SIGHT),
            "kinds": ["speaker", "sentence"],
            "said": ["sentence"],
        }
        table = pa.Table.from_pylist([row | {"similarity": None} for row in rows], RADAR)
        self.store.write_radar(table.replace_schema_metadata({"affuse": json.dumps(told)}))
        return len(rows) / sum(len(part.labels) for part in parts)

    def case(self) -> Case:
        return read_case(self.store, self.runs, ReportConfig())

    def results(self) -> Results:
        return evaluate(self.store.root, self.store.id, self.runs, ReportConfig())


@pytest.fixture(scope="module")
def leaky(write_study: Write, tmp_path_factory: pytest.TempPathFactory) -> Leaky:
    return Leaky(*write_study(Root(tmp_path_factory.mktemp("root")), facts={"corpus": CORPUS}))


CORPUS = {
    "name": "people", "pairing": "recorded", "source": "tests", "licence": "CC0", "notes": {}, "dropped": {},
    "samples": 252,
}  # fmt: skip


def sizes(case: Case) -> list[int]:
    return [len(part.labels) for part in case.evidence.held_out]


def titles(results: Results) -> list[str]:
    return [banner.title for banner in results.banners if banner.kind == "leaks"]


def test_above_one_percent_scores_and_verdicts_are_those_of_the_other_test_samples(leaky: Leaky) -> None:
    share = leaky.flag("image", "near", lambda repeat, i: (repeat + i) % 5 == 0)
    found, clean = leaky.case(), leaky.clean
    keep = [(part.repeat + np.arange(len(part.labels))) % 5 > 0 for part in clean.evidence.held_out]
    expected = measure(clean.evidence.only(keep, clean.evidence.posteriors), alpha=0.05, draws=2000, seed=0)
    for name, own in expected.table.items():
        assert found.measures.table[name]["macro_f1"].repeats.tolist() == own["macro_f1"].repeats.tolist()
    [compared] = [c for c in found.compared("strategies") if c.b == "unimodal[text]"]
    table = expected.table
    by_hand = expected.primary.compare(table[compared.a]["macro_f1"], table[compared.b]["macro_f1"], expected.design)
    assert compared.primary is not None
    assert (compared.primary.p, compared.primary.low) == (by_hand.p, by_hand.low)
    results = leaky.results()
    assert titles(results) == [TITLE.format(f"{100 * share:.1f}", "scores and verdicts rest on the others")]
    assert results.chapters["leakage"].score == clean.measures.table[clean.reference.name]["macro_f1"].estimate
    assert results.chapters["leakage"].findings[0].share == share


def test_rows_that_are_near_only_if_all_lie_equally_dense_warn_of_nothing_and_are_left_out_with_others(
    leaky: Leaky,
) -> None:
    unsure = leaky.flag("image", "near", lambda repeat, i: False, lambda repeat, i: i % 5 == 1)
    results = leaky.results()
    assert titles(results) == []
    assert sizes(leaky.case()) == sizes(leaky.clean)
    assert [(f.reason, f.share) for f in results.chapters["leakage"].findings] == [("near, unsure", unsure)]
    both = leaky.flag("image", "near", lambda repeat, i: (repeat + i) % 5 == 0, lambda repeat, i: (repeat + i) % 5 == 1)
    assert titles(leaky.results()) == [TITLE.format(f"{100 * both:.1f}", "scores and verdicts rest on the others")]
    left = [int(((repeat + np.arange(size)) % 5 > 1).sum()) for repeat, size in enumerate(sizes(leaky.clean))]
    assert sizes(leaky.case()) == left


def test_the_warning_stands_above_any_score_and_scores_hold_by_another_route(leaky: Leaky) -> None:
    share = leaky.flag("image", "identical", lambda repeat, i: i < 3)
    results = leaky.results()
    page, [title] = render_page(results, dict.fromkeys(("summary", *results.chapters), ())), titles(results)
    assert f"{100 * share:.1f} %" in title
    first_score = page.index(" reaches a macro F1 of ")
    assert page.index('<aside class="banner leaks"') < first_score
    assert page.index(f"<p>{title}.</p>") < first_score
    assert page.count(f"<strong>{title}.</strong>") == 1
    assert title in methods_text(results)
    tables = [chapter.tables(value, results) for _, chapter, value in told_in(results)]
    [rows] = [own["repeats"] for own in tables if "repeats" in own]
    written = {"index.html": page.encode(), "tables/repeats.csv": csv_table(rows).encode()}
    checked = cross_check(leaky.store, leaky.runs, results, written)
    assert (checked.mismatches, checked.scores > 100) == ((), True)


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        (lambda repeat, i: i % 5 < 3, ""),
        (lambda repeat, i: repeat == 2, ", and without them no test sample is left in 1 of 6 repeats"),
    ],
    ids=["most", "a whole repeat"],
)
def test_where_too_little_is_left_table_answers_and_sentences_all_say_so(leaky: Leaky, flag: Flag, why: str) -> None:
    share = leaky.flag("speaker", "group, encoder", flag)
    results = leaky.results()
    reason = f"training has seen {100 * share:.1f} % of the test samples{why}"
    assert titles(results) == [TITLE.format(f"{100 * share:.1f}", "no verdict is given")]
    assert {(c.verdict, c.reason, c.primary, c.naive) for c in results.comparisons} == {
        ("cannot tell", reason, None, None)
    }
    answers = results.chapters["hypotheses"].answers
    assert {a.verdict for a in answers} == {"cannot be told"}
    assert all(reason in a.why for a in answers if a.id in ("H1", "H2"))
    told = summary(results)
    assert told[0] == f"{titles(results)[0]}."
    assert f"cannot be compared with 8 models: {reason}" in told[2]
    assert not [winner for winner in results.chapters["emotions"].winners if winner.told]
    assert {lost.verdict for lost in results.chapters["emotions"].dropped} == {"cannot tell"}
    score = results.score(results.reference, "macro_f1")
    assert score.low is not None  # what is reached is shown with its interval; no difference is


def test_a_class_that_is_gone_without_them_leaves_no_verdict(leaky: Leaky) -> None:
    parts = leaky.clean.evidence.held_out
    leaky.flag("speaker", "group", lambda repeat, i: bool(parts[repeat].labels[i] == 0))
    assert {c.reason[-32:] for c in leaky.case().comparisons} == {"them no test sample of joy is left"[-32:]}


@pytest.mark.parametrize(
    ("kind", "reason", "few"),
    [
        ("image", "equal rows", True),
        ("text", "identical", False),
        ("text", "near", False),
        ("sentence", "group", False),
    ],
)
def test_little_or_what_recurs_by_design_changes_nothing(leaky: Leaky, kind: str, reason: str, few: bool) -> None:
    share = leaky.flag(kind, reason, lambda repeat, i: repeat + i == 0 if few else True)
    assert share < 0.01 if few else share == 1
    case = leaky.case()
    assert (case.comparisons, case.whole) == (leaky.clean.comparisons, None)
    banners = find_banners(case.evidence, {}, None, seen=case.seen)
    assert "leaks" not in {banner.kind for banner in banners}
    notes = [banner for banner in banners if banner.title == "Shared by design"]
    assert [(note.kind, note.see) for note in notes] == ([] if few else [("note", "leakage")])
    assert all("(100.0 % of the tests)" in note.text for note in notes)


def test_a_kind_the_study_splits_by_counts_whatever_it_is_called(write_study: Write, tmp_path: Path) -> None:
    leaky = Leaky(*write_study(Root(tmp_path), facts={"groups": ["sentence"], "corpus": CORPUS}))
    share = leaky.flag("sentence", "group", lambda repeat, i: i % 10 == 0)
    seen = leaky.case().seen
    assert seen is not None
    assert seen.share == pytest.approx(share, rel=1e-12)


def test_a_design_that_is_refused_refuses_every_test_of_two_models_and_no_interval_of_one(leaky: Leaky) -> None:
    case = leaky.clean
    a, b = (case.measures.table[m]["macro_f1"] for m in (case.reference.name, "unimodal[text]"))
    refused = replace(case.measures.design, refused="seen")
    for test in (case.measures.primary, Wilcoxon()):
        with pytest.raises(StatisticsError, match=r"^seen$"):
            test.compare(a, b, refused)
    assert case.measures.primary.limits(a, refused) == case.measures.primary.limits(a, case.measures.design)
