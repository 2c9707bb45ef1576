"""Who the scores are about: exclusions by emotion, and what hangs on the policy for missing modalities."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reports.case import Case
from reports.chapters.denominators import Denominator, Denominators
from reports.config import ReportConfig
from reports.findings.rescoring import rescore
from reports.report import read_case
from stores.root import Root

Made = Callable[..., Case]


@pytest.fixture
def made(write_study: Callable[..., Any], root: Root) -> Made:
    """Return a function that writes a study of a policy in which samples lack what `lacks` says, by sample id."""

    def made(missing: str, lacks: Mapping[str, str] | None) -> Case:
        store, runs = write_study(root, repeats=3, facts={"missing": missing})
        samples = store.samples()
        if lacks is not None:
            column = pa.array([lacks.get(name) for name in samples["sample_id"].to_pylist()], pa.string())
            root.put_table(samples.append_column("lacks", column), store.folder, "samples.parquet")
        return read_case(store, runs, ReportConfig())

    return made


def found(case: Case) -> Denominator:
    value = Denominators().compute(case)
    assert value is not None
    return value


def test_every_model_has_the_same_tests_and_exclusions_are_counted_by_reason_and_emotion(made: Made) -> None:
    case = made("complete", {})
    value = found(case)
    assert value.tests == tuple(len(part.labels) for part in case.evidence.held_out)
    assert value.models == len(case.evidence.models)
    assert [(own.reason, own.samples, own.counts) for own in value.shares] == [
        ("", 240, (48, 48, 48, 48, 48)),
        ("reserved for encoders", 9, (2, 2, 2, 2, 1)),
        ("absent: image", 3, (1, 1, 0, 0, 1)),
    ]
    absent = value.shares[2]
    assert (absent.furthest, absent.apart) == ("anger", -0.2)  # nobody of 3, and 48 of 240 are used


def test_under_complete_the_bounds_are_those_of_the_worst_and_the_best_case(made: Made) -> None:
    case = made("complete", {"planted/x9": "image", "planted/x10": "image", "planted/x11": "image+speech+text"})
    value = found(case)
    assert value.addable == 2  # the last has nothing to be masked
    accuracy = {name: own["accuracy"].estimate for name, own in case.measures.table.items()}
    bound = next(own for own in value.bounds if own.rival == "unimodal[text]")
    gain = accuracy[case.reference.name] - accuracy["unimodal[text]"]
    right_of_240 = [240 * accuracy[name] for name in (case.reference.name, "unimodal[text]")]
    assert bound.gain == pytest.approx(gain)
    assert bound.low == pytest.approx((right_of_240[0] - (right_of_240[1] + 2)) / 242)
    assert bound.alike == pytest.approx((right_of_240[0] - right_of_240[1]) / 242)
    assert bound.high == pytest.approx((right_of_240[0] + 2 - right_of_240[1]) / 242)


def test_single_modalities_alone_have_no_other_strategy_to_be_held_against(
    write_study: Callable[..., Any], root: Root
) -> None:
    store, runs = write_study(root, modalities=("text",), repeats=3)
    lacks = pa.array([None] * 249 + ["image"] * 3, pa.string())
    root.put_table(store.samples().append_column("lacks", lacks), store.folder, "samples.parquet")
    case = read_case(store, runs, ReportConfig())
    assert [family.name for family in case.families] == ["chance"]
    everything = [np.ones(len(part.labels), dtype=bool) for part in case.evidence.held_out]
    assert (found(case).bounds, rescore(case, everything).compared) == ((), 0)


def test_the_page_says_that_accuracy_stands_in_where_the_verdicts_are_about_another_score(
    made: Made, report_of: Any, section_of: Callable[..., str]
) -> None:
    value = found(made("complete", {"planted/x9": "image"}))
    assert "what becomes of the verdicts on it stays open" in section_of("denominators", value)
    method = replace(report_of().content.method, primary_metric="accuracy")
    assert "stands in" not in section_of("denominators", value, method=method)


def test_under_mask_the_verdicts_are_those_on_samples_that_have_every_modality(made: Made) -> None:
    case = made("mask", {f"planted/{i:04}": "image" for i in range(0, 240, 4)})
    value = found(case)
    keep = [np.array([int(name[-4:]) % 4 > 0 for name in part.sample_ids]) for part in case.evidence.held_out]
    tested = {name for part in case.evidence.held_out for name in part.sample_ids}
    assert value.partial == len([name for name in tested if int(name[-4:]) % 4 == 0])
    assert value.complete == rescore(case, keep)
    assert value.complete is not None
    assert value.complete.score is not None
    assert (value.addable, value.bounds) == (None, ())


@pytest.mark.parametrize(
    ("missing", "lacks", "said"),
    [
        ("mask", None, "Who of them lacks one was not looked at"),
        ("mask", {}, "All test samples have every modality"),
        (
            "mask",
            {f"planted/{i:04}": "text" for i in range(0, 240, 3)},
            "On those that have every modality the macro F1",
        ),
        ("complete", None, "was not looked at"),
        ("complete", {}, "Nobody was left out who has some of them"),
        ("complete", {"planted/x9": "image"}, "The other policy would add 1 sample with"),
    ],
)
def test_the_page_says_what_the_other_policy_would_do(
    made: Made, section_of: Callable[..., str], missing: str, lacks: Mapping[str, str] | None, said: str
) -> None:
    text = section_of("denominators", found(made(missing, lacks)))
    assert said in text
    assert "None" not in text
    assert ("affuse report compare" in text) == ("would add" in said)
