"""Patterns of agreement, the oracle, and errors that coincide, against counts by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score

from reports.chapters.agreement import Agreement
from reports.config import ReportConfig
from reports.findings.tallies import Tallies, rate_of
from reports.findings.votes import ALL, ORACLE, camp_sizes, error_overlap, sees
from reports.measures import interval_of, measure
from reports.report import read_case
from reports.statistics._statistic import Measured
from stores.root import Root
from stores.studies import Predicted, Run, RunSpec

FULL = "image+speech+text"
WEIGHTED, VOTE = f"weighted[{FULL}]", f"vote[{FULL}]"
SINGLES = ("unimodal[image]", "unimodal[speech]", "unimodal[text]")


def test_camps_are_counted_among_those_present_and_the_largest_comes_first() -> None:
    votes = np.array([[0, 0, 1, 2, 0], [0, 0, 2, 2, 1], [0, 1, 0, 2, 2]])
    present = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], dtype=bool)
    assert camp_sizes(votes, present, 3).tolist() == [[3, 0, 0], [2, 1, 0], [1, 1, 1], [2, 0, 0], [1, 0, 0]]


def test_two_classes_and_three_voters_have_room_for_three_camps() -> None:
    assert camp_sizes(np.array([[0], [1], [0]]), np.ones((3, 1), dtype=bool), 2).tolist() == [[2, 1, 0]]


def test_error_overlap_of_counts_by_hand() -> None:
    counts = np.array([10, 20, 30, 40, 7])[:, None]  # wrong both, right b, right a, right both, not seen by both
    assert error_overlap(counts).tolist() == pytest.approx([0.1, 0.5, (10 * 40 - 20 * 30) / (10 * 40 + 20 * 30)])


def test_yules_q_is_one_if_errors_coincide_and_undefined_of_a_model_that_never_errs() -> None:
    together, apart, faultless = ([10, 0, 0, 30], [0, 5, 6, 0], [0, 0, 4, 30])
    q = [error_overlap(np.array(counts)[:, None])[2] for counts in (together, apart, faultless)]
    assert q[:2] == [1.0, -1.0]
    assert np.isnan(q[2])


@given(arrays(np.bool_, (2, 40), elements=st.booleans()))
def test_overlaps_of_two_models_agree_with_their_accuracies(right: np.ndarray) -> None:
    a, b = right
    counts = np.bincount(2 * a.astype(int) + b, minlength=4)[:, None]
    double_fault, disagreement, q = error_overlap(counts)
    assert double_fault == pytest.approx(np.mean(~a & ~b))
    assert disagreement == pytest.approx(np.mean(a != b))
    assert a.mean() + b.mean() == pytest.approx(2 * (1 - double_fault) - disagreement)
    covariance = np.mean(a & b) - a.mean() * b.mean()
    if np.isfinite(q) and abs(covariance) > 1e-12:
        assert np.sign(q) == np.sign(covariance)


@pytest.fixture(scope="module")
def found(report_of: Any) -> Any:
    return report_of().content.chapters["agreement"]


def by_pattern(stratified: Any, model: str) -> dict[str, Any]:
    return {s.pattern: s.accuracy.estimate for s in stratified.scores if s.model == model}


def test_patterns_split_the_test_predictions_of_all_repeats(report_of: Any, found: Any) -> None:
    first, *pairs = found.strata
    count = {p.name: p.count for p in first.patterns}
    assert list(count) == [ALL, "3-0", "3-0, right", "3-0, wrong", "2-1", "1-1-1"]
    assert count[ALL] == round(report_of().content.method.test_size * 6)
    assert count[ALL] == count["3-0"] + count["2-1"] + count["1-1-1"]
    assert count["3-0"] == count["3-0, right"] + count["3-0, wrong"]
    for pair in pairs:
        assert [p.name for p in pair.patterns] == [ALL, "2-0", "2-0, right", "2-0, wrong", "1-1"]
    assert [own.modalities for own in found.strata[1:]] == [("image", "speech"), ("image", "text"), ("speech", "text")]


def test_scores_by_pattern_are_those_counted_by_hand(report_of: Any, found: Any) -> None:
    case = report_of().case
    expected: dict[str, list[float]] = {"2-1": [], "1-1-1": []}
    oracle = []
    for i, part in enumerate(case.evidence.held_out):
        votes = [case.evidence.posteriors[name][i].argmax(axis=1) for name in SINGLES]
        own = case.evidence.posteriors[WEIGHTED][i].argmax(axis=1)
        camps = np.array([len(set(column)) for column in zip(*votes, strict=True)])
        for name, kinds in (("2-1", 2), ("1-1-1", 3)):
            expected[name].append(accuracy_score(part.labels[camps == kinds], own[camps == kinds]))
        oracle.append(np.mean([label in column for label, *column in zip(part.labels, *votes, strict=True)]))
    scores = by_pattern(found.strata[0], WEIGHTED)
    assert [scores[name] for name in expected] == pytest.approx([np.mean(own) for own in expected.values()])
    assert by_pattern(found.strata[0], ORACLE)[ALL] == pytest.approx(np.mean(oracle))


def test_the_oracle_is_above_all_that_choose_among_votes_and_unanimity_leaves_a_vote_no_choice(found: Any) -> None:
    for own in found.strata:
        oracle = by_pattern(own, ORACLE)
        for model in (f"vote[{'+'.join(own.modalities)}]", *(f"unimodal[{m}]" for m in own.modalities)):
            for pattern, score in by_pattern(own, model).items():
                assert score <= oracle[pattern] + 1e-12
    vote = by_pattern(found.strata[0], VOTE)
    assert vote["3-0"] == by_pattern(found.strata[0], ORACLE)["3-0"]
    assert (vote["3-0, right"], vote["3-0, wrong"]) == (1.0, 0.0)


def test_intervals_are_the_primary_procedures(report_of: Any, found: Any) -> None:
    case = report_of().case
    [overall] = [s for s in found.strata[0].scores if (s.model, s.pattern) == (WEIGHTED, ALL)]
    score = report_of().content.score(WEIGHTED, "accuracy")
    assert (overall.accuracy.estimate, overall.accuracy.low, overall.accuracy.high) == pytest.approx(
        (score.estimate, score.low, score.high)
    )
    near_0 = rate_of(case.measures, Measured(repeats=np.array([0.01, 0.0, 0.02, 0.0, 0.03, 0.0])), (0.0, 1.0))
    assert near_0.low == 0.0
    refused = rate_of(case.measures, Measured(repeats=np.array([0.5, np.nan, 0.7, 0.6, 0.5, 0.4])), (0.0, 1.0))
    assert refused.estimate == pytest.approx(0.54)
    assert refused.low is None
    assert refused.reason == "undefined in 1 of 6 repeats"


@pytest.mark.parametrize("protocol", ["leave-one-group-out", "fixed"])
def test_in_clustered_designs_intervals_are_those_of_draws_of_whole_groups(report_of: Any, protocol: str) -> None:
    case = report_of(protocol=protocol, **({"pairing": "composed"} if protocol == "fixed" else {})).case
    found = case.value(Agreement)
    [overall] = [s for s in found.strata[0].scores if (s.model, s.pattern) == (WEIGHTED, ALL)]
    assert overall.accuracy.estimate == pytest.approx(case.measures.table[WEIGHTED]["accuracy"].estimate)
    plain = measure(case.evidence, alpha=case.config.alpha, draws=case.config.draws, seed=case.config.seed)
    assert (overall.accuracy.low, overall.accuracy.high) == pytest.approx(interval_of(plain, WEIGHTED, "accuracy"))


def test_overlaps_are_of_all_single_modalities_and_of_the_reference_with_each(found: Any) -> None:
    assert [(o.a, o.b) for o in found.overlaps] == [
        (SINGLES[0], SINGLES[1]), (SINGLES[0], SINGLES[2]), (SINGLES[1], SINGLES[2]), *((WEIGHTED, s) for s in SINGLES)
    ]  # fmt: skip
    for o in found.overlaps:
        assert o.q.low is not None
        assert -1 <= o.q.low < o.q.estimate < o.q.high <= 1
        assert 0 <= o.double_fault.low < o.double_fault.estimate < o.double_fault.high <= 1


def test_a_study_of_one_modality_has_nothing_to_agree_on(report_of: Any) -> None:
    assert report_of(modalities=("text",)).case.value(Agreement) is None


def test_pairs_made_by_label_are_called_so(report_of: Any) -> None:
    assert "Pairs were made by label" in report_of(protocol="fixed", pairing="composed").section("agreement")
    assert "Pairs were made by label" not in report_of().section("agreement")
    rows = report_of().rows("agreement")
    assert {row["pattern"] for row in rows if row["modalities"] == "image+text"} >= {"2-0", "1-1"}


def test_a_head_that_predicts_its_prior_sees_nothing() -> None:
    prior = np.array([[0.2, 0.3, 0.5]] * 3, dtype=np.float32)
    softmax = np.exp(np.log(prior)) / np.exp(np.log(prior)).sum(axis=1, keepdims=True)
    rows = np.stack([softmax[0], [0.2001, 0.2999, 0.5], [0.1, 0.1, 0.8]])
    assert sees(rows, prior).tolist() == [False, True, True]


def mute(store: Any, absent: dict[str, int]) -> list[str]:
    """Return runs in which `absent[modality]` samples of each test part get the training prior of its head."""
    facts, table = store.facts(), store.runs().to_pylist()
    train = [row for row in store.splits().to_pylist() if row["part"] == "train"]
    number = {row["sample_id"]: facts["classes"].index(row["label"]) for row in store.samples().to_pylist()}
    muted = []
    for row in table:
        [modality, *others] = row["modalities"].split("+")
        if others or modality not in absent:
            continue
        labels = [number[t["sample_id"]] for t in train if t["repeat"] == row["repeat"]]
        said = store.predictions([row["run_id"]]).to_pydict()
        posteriors = np.array(said["posterior"], dtype=np.float32)
        posteriors[: absent[modality]] = np.bincount(labels, minlength=len(facts["classes"])) / len(labels)
        part = Predicted(
            sample_ids=tuple(said["sample_id"]), labels=np.array(said["label"]), groups=np.array(said["group"]),
            posteriors=posteriors,
        )  # fmt: skip
        spec = RunSpec(
            study=store.id, head=row["head"], version=2, config={}, modalities=(modality,), repeat=row["repeat"],
            training={},
        )  # fmt: skip
        muted.append(Run(spec=spec, seed=0, val=part, test=part))
    store.write_runs(muted)
    replaced = {f"unimodal[{m}]" for m in absent}
    kept = [row["run_id"] for row in table if row["model"] not in replaced]
    return [*kept, *(run.spec.id for run in muted)]


def test_samples_that_lack_a_modality_are_counted_apart(write_study: Any, root: Root) -> None:
    store, _ = write_study(root, facts={"missing": "mask"})
    case = read_case(store, mute(store, {"image": 3, "text": 1}), ReportConfig())
    found = Agreement().compute(case)
    assert found is not None
    patterns = {p.name: p for p in found.strata[0].patterns}
    repeats = len(case.evidence.held_out)
    assert sum(p.count for p in patterns.values() if p.absent == 1 and p.right is None) == 2 * repeats
    assert patterns["1-0, 2 absent"].count == repeats
    complete = sum(p.count for p in patterns.values() if p.absent == 0 and p.right is None and p.votes)
    assert complete == patterns[ALL].count - 3 * repeats
    overlaps = {(o.a, o.b): o.n for o in found.overlaps}
    assert overlaps[SINGLES[0], SINGLES[2]] == overlaps[SINGLES[0], SINGLES[1]] == patterns[ALL].count - 3 * repeats
    assert overlaps[SINGLES[1], SINGLES[2]] == patterns[ALL].count - repeats
    one_sees = [s.accuracy for s in found.strata[0].scores if (s.model, s.pattern) == (ORACLE, "1-0, 2 absent")]
    alone = [s.accuracy for s in found.strata[0].scores if (s.model, s.pattern) == (SINGLES[1], "1-0, 2 absent")]
    assert one_sees == alone


def test_tallies_count_a_sample_once_a_round(report_of: Any) -> None:
    case = report_of(protocol="fixed", pairing="composed").case
    tallies = Tallies(case)
    n = sum(tallies.sizes)
    first = np.arange(n) < tallies.sizes[0]
    [share] = tallies.rates(
        np.zeros(n, dtype=np.int64), 1, [first.astype(float), None], lambda s: s[..., :1, 0] / s[..., :1, 1], (0, 1)
    )
    assert share.estimate == pytest.approx(1 / len(tallies.sizes))
