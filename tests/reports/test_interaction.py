"""Contrasts of modality by emotion: the numbers by hand, and what they are of draws and of weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reports.chapters.paper import read_paper
from reports.comparisons import ABOVE, UNTOLD
from reports.config import ReportConfig
from reports.errors import StatisticsError
from reports.evidence import Model
from reports.findings.interaction import Interaction, centred, combined, contrast_of, find_interaction
from reports.report import read_case
from reports.statistics._statistic import Design, Measured
from reports.statistics.corrected_resampled_t import CorrectedResampledT
from reports.statistics.paired_t import PairedT
from stores.root import Root

PREDICTED = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]], dtype=bool)  # image, speech, text


def measured(table: np.ndarray) -> list[list[Measured]]:
    """Return scores of a table (J, modalities, emotions)."""
    return [[Measured(repeats=table[:, m, k]) for k in range(table.shape[2])] for m in range(table.shape[1])]


def test_the_contrast_is_the_mean_of_predicted_cells_minus_the_others_without_main_effects() -> None:
    recalls = np.where(PREDICTED, 0.8, 0.2)
    # every emotion has one predicted cell, so only the means of modalities differ: 0.44, 0.44, 0.32 of 0.8 and 0.2;
    # predicted cells then stand at 0.36 (four) and 0.48, others at -0.24 (six) and -0.12 (four)
    by_hand = (4 * 0.36 + 0.48) / 5 - (6 * -0.24 + 4 * -0.12) / 10
    assert by_hand == pytest.approx(0.576)
    assert combined(measured(recalls[None]), contrast_of(PREDICTED)).repeats == pytest.approx([by_hand])
    left = centred(recalls)
    assert left[PREDICTED].mean() - left[~PREDICTED].mean() == pytest.approx(by_hand)


def test_what_a_modality_gains_on_all_emotions_and_an_emotion_on_all_modalities_does_not_count() -> None:
    rng = np.random.default_rng(0)
    recalls = rng.random((4, 3, 5))
    shifted = recalls + rng.random((4, 3, 1)) + rng.random((4, 1, 5))
    contrast = contrast_of(PREDICTED)
    assert combined(measured(shifted), contrast).repeats == pytest.approx(combined(measured(recalls), contrast).repeats)
    assert combined(measured(np.ones((2, 3, 1)) * rng.random((2, 1, 5))), contrast).repeats == pytest.approx([0, 0])


def test_draws_of_groups_are_combined_cell_by_cell() -> None:
    rng = np.random.default_rng(1)
    draws, point = rng.random((50, 3, 5)), rng.random((3, 5))
    table = [
        [Measured(repeats=np.zeros(m), pooled=point[m, k], draws=draws[:, m, k]) for k in range(5)] for m in range(3)
    ]  # one group tests other emotions than the next, so its repeats say nothing
    found, contrast = combined(table, contrast_of(PREDICTED)), contrast_of(PREDICTED)
    assert found.estimate == pytest.approx((point * contrast).sum())
    assert found.draws == pytest.approx((draws * contrast).sum(axis=(1, 2)))


def test_seeds_on_one_split_keep_the_spread_that_training_has() -> None:
    rng = np.random.default_rng(2)
    seeds, contrast = rng.random((4, 3, 5)), contrast_of(PREDICTED)
    table = [[Measured(repeats=seeds[:, m, k], pooled=0.5, draws=np.full(9, 0.5)) for k in range(5)] for m in range(3)]
    assert combined(table, contrast).repeats == pytest.approx((seeds * contrast).sum(axis=(1, 2)))


@pytest.fixture
def masked(write_study: Callable[..., Any], root: Root) -> Callable[[str], tuple[Interaction, int]]:
    """Return a function of the policy: only neutral always has a text, gates ignore the emotion; and who has all."""

    def find(missing: str) -> tuple[Interaction, int]:
        store, runs = write_study(root, facts={"missing": missing})
        names = store.samples()["sample_id"].to_pylist()
        gone = {name for i, name in enumerate(names[:240]) if i % 5 != 4 and (i // 5 + i % 5) % 2}
        lacks = pa.array(["text" if name in gone else None for name in names], pa.string())
        if "lacks" not in store.samples().column_names:
            root.put_table(store.samples().append_column("lacks", lacks), store.folder, "samples.parquet")
        case, rng = read_case(store, runs, ReportConfig()), np.random.default_rng(0)
        rows = []
        for part in case.evidence.held_out:
            own = rng.gamma(8, size=(len(part.labels), 3))
            own[[name in gone for name in part.sample_ids.tolist()], 2] = 0
            rows.append((own / own.sum(axis=1, keepdims=True)).astype(np.float32))
        gated = Model(name="gated[image+speech+text]", head="gated", modalities=("image", "speech", "text"))
        evidence = replace(case.evidence, models=(*case.evidence.models, gated), weights={gated.name: tuple(rows)})
        tested = {name for part in evidence.held_out for name in part.sample_ids.tolist()}
        return find_interaction(replace(case, evidence=evidence), read_paper().predicted), len(tested - gone)

    return find


def test_who_lacks_a_modality_more_often_is_no_weight_by_emotion(
    masked: Callable[[str], tuple[Interaction, int]],
) -> None:
    (found, complete), (of_all, _) = masked("mask"), masked("complete")
    [own], [naive] = ([c for c in it.contrasts if "weight" in c.of] for it in (found, of_all))
    assert (own.verdict, naive.verdict) == (UNTOLD, ABOVE)  # with zeros of the absent it would measure who is absent
    assert own.result is not None
    assert abs(own.result.difference) < 0.02
    assert (found.samples, of_all.samples) == (complete, None)


def test_a_masked_study_that_does_not_say_who_lacks_what_is_refused(write_study: Any, root: Root) -> None:
    case = read_case(*write_study(root, facts={"missing": "mask"}), ReportConfig())
    assert "expected samples with what they lack" in find_interaction(case, read_paper().predicted).refused


def test_an_emotion_that_some_test_part_lacks_is_refused() -> None:
    table = measured(np.ones((4, 3, 5)))
    table[0][0] = Measured(repeats=np.ones(3))
    with pytest.raises(StatisticsError, match="an emotion is absent from some test part"):
        combined(table, contrast_of(PREDICTED))


def test_modalities_that_are_equal_on_every_emotion_are_rarely_told_apart_on_overlapping_splits() -> None:
    rng, studies, repeats, n = np.random.default_rng(0), 150, 20, 1000
    labels, contrast, design = np.arange(n) % 5, contrast_of(PREDICTED), Design(overlap=True, ratio=15 / 70)
    wrong = {"corrected": 0, "naive": 0}
    for _ in range(studies):
        hits = rng.random((3, n)) < 0.6
        recalls = np.empty((repeats, 3, 5))
        for own in recalls:
            test = rng.permutation(n)[:150]
            again = rng.random((3, 150)) < 0.1  # answers that depend on the training part
            right = np.where(again, rng.random((3, 150)) < 0.6, hits[:, test])
            own[:] = np.stack([right[:, labels[test] == k].mean(axis=1) for k in range(5)], axis=1)
        found = combined(measured(recalls), contrast)
        for name, test_of in (("corrected", CorrectedResampledT()), ("naive", PairedT())):
            p = test_of.interval(found, design).p
            assert p is not None
            wrong[name] += p < 0.05
    assert wrong["corrected"] <= 0.06 * studies
    assert wrong["naive"] >= 0.2 * studies  # which takes repeats as independent
