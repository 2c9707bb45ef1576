"""Scores by gender, age and culture: by hand, with whole groups resampled, and silent where too few are there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score
from statsmodels.stats.multitest import multipletests

from reports.case import Case
from reports.chapters.subgroups import Division, PooledTests, Subgroups

REFERENCE = "weighted[image+speech+text]"
Told = Callable[..., Case]


@pytest.fixture
def told(own_case: Case) -> Told:
    """Return a function that writes traits, a value for every group, into the samples of the study."""

    def told(**traits: Callable[[str], str | None]) -> Case:
        samples = own_case.store.samples()
        for i, name in enumerate(samples.column_names):
            if name in ("gender", "age", "culture"):
                values = [traits[name](group) if name in traits else None for group in samples["group"].to_pylist()]
                samples = samples.set_column(i, name, pa.array(values, pa.string()))
        own_case.store.root.put_table(samples, own_case.store.folder, "samples.parquet")
        return own_case

    return told


def found(case: Case) -> Division:
    value = Subgroups().compute(case)
    assert value is not None
    return value


def by_parity(group: str) -> str:
    return "female" if int(group[1:]) % 2 else "male"


def x_aside(of: Callable[[str], str | None]) -> Callable[[str], str | None]:
    return lambda group: None if group == "x" else of(group)


def pooled(case: Case, model: str, keep: Callable[[str], bool]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, predictions and groups of all tests whose group is kept."""
    parts, posteriors = case.evidence.held_out, case.evidence.posteriors[model]
    labels, groups = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "groups"))
    chosen = np.array([keep(group) for group in groups])
    return labels[chosen], np.concatenate([p.argmax(axis=1) for p in posteriors])[chosen], groups[chosen]


def spoilt_for_men(case: Case) -> Case:
    """Return the case with a reference that is nearly always wrong about one of two genders."""
    spoilt = tuple(
        np.where(np.array([by_parity(g) == "male" for g in part.groups])[:, None], np.roll(p, 1, axis=1), p)
        for part, p in zip(case.evidence.held_out, case.evidence.posteriors[REFERENCE], strict=True)
    )
    changed = {**case.evidence.posteriors, REFERENCE: spoilt}
    return replace(case, evidence=replace(case.evidence, posteriors=changed))


def test_a_score_is_that_of_all_tests_of_the_subgroup_and_the_gap_the_difference(told: Told) -> None:
    case = told(gender=x_aside(by_parity))
    value = found(case)
    by_hand = {}
    for gender in ("female", "male"):
        labels, predicted, groups = pooled(case, REFERENCE, lambda group, g=gender: by_parity(group) == g)  # type: ignore[misc]
        by_hand[gender] = f1_score(labels, predicted, average="macro")
        [score] = [s for s in value.scores if (s.value, s.model) == (gender, REFERENCE)]
        assert score.score == pytest.approx(by_hand[gender], rel=1e-12)
        [own] = [s for s in value.traits[0].subgroups if s.value == gender]
        assert own.groups == len(set(groups))
    gap = next(gap for gap in value.gaps if gap.model == REFERENCE)
    assert gap.result is not None
    assert gap.result.difference == pytest.approx(by_hand["female"] - by_hand["male"], rel=1e-12)
    assert [gap.model for gap in value.gaps] == list(value.models)


def test_a_draw_is_the_score_of_the_groups_that_were_drawn(told: Told) -> None:
    case = told(gender=x_aside(by_parity))
    tests = PooledTests(case)
    mask = np.array([by_parity(tests.group_names[group]) == "female" for group in tests.groups])
    draws = tests.measure(REFERENCE, mask).draws
    labels, predicted, groups = pooled(case, REFERENCE, lambda group: by_parity(group) == "female")
    assert draws is not None
    for draw, weights in zip(draws[:4], tests.weights[:4], strict=True):
        times = weights[np.searchsorted(tests.group_names, groups)].astype(int)
        drawn = f1_score(np.repeat(labels, times), np.repeat(predicted, times), average="macro")
        assert draw == pytest.approx(drawn, rel=1e-12)


def test_equal_subgroups_have_no_gap_and_one_that_is_always_wrong_has(told: Told) -> None:
    case = told(gender=x_aside(by_parity))
    assert {gap.verdict for gap in found(case).gaps if gap.model == REFERENCE} == {"cannot tell"}
    gap = next(gap for gap in found(spoilt_for_men(case)).gaps if gap.model == REFERENCE)
    assert (gap.value, gap.other, gap.verdict) == ("female", "male", "above")


def test_too_few_groups_or_samples_are_not_judged_and_the_rest_still_is(told: Told) -> None:
    cultures = {f"s{i:02}": "few" if i < 4 else ("a", "b")[i % 2] for i in range(40)}
    value = found(told(culture=lambda group: cultures.get(group)))
    reasons = {own.value: own.reason for own in value.traits[0].subgroups}
    assert reasons == {"a": "", "b": "", "few": "fewer than 30 test samples or 5 groups"}
    assert {gap.value for gap in value.gaps} == {"a"}
    assert {score.value for score in value.scores} == {"a", "b"}


def test_of_several_each_is_set_against_all_others(told: Told) -> None:
    value = found(told(culture=x_aside(lambda group: "abc"[int(group[1:]) % 3])))
    for model in value.models:
        gaps = [gap for gap in value.gaps if gap.model == model]
        assert [(gap.value, gap.other) for gap in gaps] == [(culture, "all others") for culture in "abc"]


def test_holm_counts_the_gaps_of_the_reference_in_all_traits_and_others_have_no_verdict(told: Told) -> None:
    halves = x_aside(lambda group: "ab"[int(group[1:]) // 2 % 2])
    value = found(told(gender=x_aside(by_parity), culture=halves))
    own, others = ([gap for gap in value.gaps if (gap.model == REFERENCE) == wanted] for wanted in (True, False))
    p = [gap.result.p for gap in own if gap.result and gap.result.p is not None]
    assert len(p) == 2
    assert [gap.holm_p for gap in own] == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert None not in {gap.verdict for gap in own}
    assert {(gap.holm_p, gap.verdict, gap.result is None) for gap in others} == {(None, None, False)}


def test_a_gap_of_fewer_than_ten_groups_has_an_interval_and_no_verdict(told: Told) -> None:
    value = found(told(culture=x_aside(lambda group: "abc"[int(group[1:]) % 3])))
    for gap in (gap for gap in value.gaps if gap.model == REFERENCE):
        assert gap.result is not None
        assert gap.result.low is not None
        assert (gap.result.p, gap.verdict) == (None, "cannot tell")
        assert "too few for a verdict" in gap.reason


def test_where_pairs_were_made_by_label_no_gap_of_a_fused_model_is_told(
    told: Told, section_of: Callable[..., str]
) -> None:
    case = told(gender=x_aside(by_parity))
    facts = {**case.evidence.facts, "corpus": {**case.evidence.facts["corpus"], "pairing": "composed"}}
    composed = spoilt_for_men(replace(case, evidence=replace(case.evidence, facts=facts)))
    [gap] = [gap for gap in found(composed).gaps if gap.model == REFERENCE]
    assert (gap.verdict, gap.reason) == ("cannot tell", "pairs were made by label")
    assert gap.holm_p is not None
    assert gap.holm_p < 0.05
    assert "pairs were made by label" in section_of("subgroups", found(composed))
    [alone] = [model for model in case.evidence.models if model.name == "unimodal[text]"]
    assert [g.reason for g in found(replace(composed, reference=alone)).gaps if g.model == alone.name] != [gap.reason]


def test_ages_stand_in_bands_unless_one_is_no_number_and_who_has_none_is_counted(told: Told) -> None:
    ages = {f"s{i:02}": str(20 + i) for i in range(40)}

    def bands(case: Case) -> Sequence[str]:
        return [own.value for own in found(case).traits[0].subgroups]

    case = told(age=lambda group: None if group == "s00" else ages.get(group))
    assert bands(case) == ["18 to 29", "30 to 44", "45 to 59"]
    tested = {name for part in case.evidence.held_out for name in part.sample_ids[part.groups == "s00"]}
    assert found(case).traits[0].unknown == len(tested)
    assert "adult" in bands(told(age=x_aside(lambda group: "adult" if int(group[1:]) % 2 else "44")))


def test_a_corpus_that_tells_nobody_apart_has_no_such_chapter(told: Told) -> None:
    assert Subgroups().compute(told()) is None
    assert Subgroups().compute(told(gender=x_aside(lambda group: "female"))) is None


def test_values_are_escaped_and_figures_name_the_subgroups(
    told: Told, report_of: Any, section_of: Callable[..., str]
) -> None:
    hostile = ("<script>alert(1)</script>", "$x_{")
    value = found(told(culture=x_aside(lambda group: hostile[int(group[1:]) % 2])))
    figures = list(Subgroups().figures(value, report_of().content))
    text = section_of("subgroups", value, figures)
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "$x_{" in figures[0].svg
    assert (figures[0].name, len(figures)) == ("by-culture", 1)
    assert "None" not in text
