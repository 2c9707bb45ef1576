import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import f1_score

from fusion.choosing import settings_of
from fusion.combining import stored_posteriors
from fusion.errors import NotReproduced
from fusion.heads.tensor import TensorConfig
from fusion.heads.vote import Vote
from fusion.plans import HeadPlan
from fusion.robustness import Noise, Removed, RobustnessBooks, RobustnessConfig, run_robustness, scores_of
from fusion.search import SearchConfig
from fusion.spaces import all_settings
from fusion.splits import Split
from fusion.study import Study, study_of, train_again
from fusion.training_config import TrainingConfig
from stores.block import ABSENT, FeatureBlock
from stores.errors import ConfigError
from stores.plugins import plugin_names
from stores.root import Root
from stores.studies import StudyStore

TRAINING = TrainingConfig(learning_rate=1e-2, epochs=3, epoch_steps=1, width=8)
PAIR = ("image", "text")
ALONE = HeadPlan(head="unimodal", subsets=(("image",), ("text",)), training=TRAINING)
WEIGHTED = HeadPlan(head="weighted", subsets=(PAIR,), training=TRAINING)
VOTE = HeadPlan(head="vote", subsets=(PAIR,), training=TRAINING)
CURVES = RobustnessConfig(noise=(0.0, 2.0))
Scores = dict[tuple[str, str, str | None, float | None, str], float]


@pytest.fixture
def study(block: FeatureBlock, splits: list[Split], tmp_path: Path) -> Study:
    """Two repeats of two unimodal heads, a weighted sum and a vote, all of them run."""
    nothing = pa.table({"sample_id": pa.array([], pa.string())})
    store = StudyStore.create(Root(tmp_path), "study-1", {}, nothing, nothing)
    made = study_of(block, splits[:2], [ALONE, WEIGHTED, VOTE], store, seed=0, device="cpu")
    made.run()
    return made


def _run_id(study: Study, plan: HeadPlan, subset: tuple[str, ...], repeat: int = 0) -> str:
    return study.spec(plan, subset, study.splits[repeat]).id


def _scores(study: Study) -> Scores:
    rows = study.store.log("robustness").to_pylist()
    found = {(r["run_id"], r["condition"], r["modality"], r["level"], r["metric"]): r["value"] for r in rows}
    assert len(found) == len(rows)
    return found


def _clean(study: Study, run: str, repeat: int = 0, part: str = "test") -> np.ndarray:
    return stored_posteriors(study.store, study.block, {run: study.splits[repeat]}, part)[run]


def _openings(study: Study) -> Counter[str]:
    return Counter(study.store.log("openings")["purpose"].to_pylist())


def test_the_scores_are_accuracy_and_macro_f1_over_the_classes_that_are_present() -> None:
    rng = np.random.default_rng(0)
    labels, posteriors = rng.choice([0, 1, 3], 50), rng.random((50, 5))
    said = posteriors.argmax(axis=1)
    expected = f1_score(labels, said, labels=[0, 1, 3], average="macro", zero_division=0)
    assert scores_of(labels, posteriors) == pytest.approx({"accuracy": np.mean(said == labels), "macro_f1": expected})


def test_every_run_has_its_curve_and_openings_are_counted_apart(study: Study) -> None:
    assert _openings(study) == {"score": 8}
    books = run_robustness(study, CURVES)
    alone, pairs = 4 * (1 + 2), 4 * (2 + 2)
    assert books == RobustnessBooks(runs=8, conditions=4, cached=0, scored=alone + pairs, openings=8)
    assert _openings(study) == {"score": 8, "robustness": 8}
    scores = _scores(study)
    assert len(scores) == 2 * (alone + pairs)
    points = {key[1:4] for key in scores if key[0] == _run_id(study, WEIGHTED, PAIR)}
    assert points == {
        ("removed", "image", None), ("removed", "text", None), ("noise", None, 0.0), ("noise", None, 2.0),
    }  # fmt: skip


def test_a_second_call_opens_nothing_and_trains_nothing(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_robustness(study, CURVES)
    before = sorted(map(str, study.store.log("robustness").to_pylist()))
    monkeypatch.setattr(Study, "trained", lambda *_: pytest.fail("a run was trained again"))
    assert run_robustness(study, CURVES) == replace(first, cached=first.scored, scored=0)
    assert sorted(map(str, study.store.log("robustness").to_pylist())) == before
    assert _openings(study)["robustness"] == 8


def test_no_noise_scores_as_the_stored_predictions_do_and_much_noise_scores_worse(study: Study) -> None:
    run_robustness(study, CURVES)
    scores = _scores(study)
    worse = []
    for repeat, split in enumerate(study.splits):
        for plan, subset in ((WEIGHTED, PAIR), (VOTE, PAIR), (ALONE, ("text",))):
            run = _run_id(study, plan, subset, repeat)
            clean = scores_of(study.block.labels[split.test], _clean(study, run, repeat))
            assert scores[run, "noise", None, 0.0, "accuracy"] == clean["accuracy"]
            assert scores[run, "noise", None, 0.0, "macro_f1"] == clean["macro_f1"]
            worse.append(clean["accuracy"] - scores[run, "noise", None, 2.0, "accuracy"])
    assert np.mean(worse) > 0.1


def test_a_removed_modality_scores_as_if_no_sample_of_the_test_part_had_it(study: Study) -> None:
    run_robustness(study, CURVES)
    split = study.splits[0]
    rows = np.repeat(study.block.rows["image"], 2, axis=0)
    rows[0, split.test] = ABSENT
    masked = replace(study, block=replace(study.block, rows={**study.block.rows, "image": rows}))
    [[_, stack]] = list(train_again(masked, WEIGHTED, [(study.spec(WEIGHTED, PAIR, split), split)]))
    [said] = stack.predict("test")
    scores, run = _scores(study), _run_id(study, WEIGHTED, PAIR)
    for metric, value in scores_of(study.block.labels[split.test], said.posteriors).items():
        assert scores[run, "removed", "image", None, metric] == value


def test_a_head_that_loses_its_only_modality_predicts_the_prior(study: Study) -> None:
    run_robustness(study, RobustnessConfig(noise=()))
    split, labels = study.splits[0], study.block.labels
    prior = np.bincount(labels[split.train]) / len(split.train)
    expected = scores_of(labels[split.test], np.tile(prior, (len(split.test), 1)))
    run = _run_id(study, ALONE, ("text",))
    assert {metric: _scores(study)[run, "removed", "text", None, metric] for metric in expected} == expected


def test_a_vote_without_one_voter_is_what_the_other_says(study: Study) -> None:
    run_robustness(study, RobustnessConfig(noise=()))
    scores, labels = _scores(study), study.block.labels[study.splits[0].test]
    text = _clean(study, _run_id(study, ALONE, ("text",)))
    alone = np.eye(3)[text.argmax(axis=1)]  # the only vote is unanimous
    for metric, value in scores_of(labels, alone).items():
        assert scores[_run_id(study, VOTE, PAIR), "removed", "image", None, metric] == value


def test_a_vote_under_noise_is_the_vote_of_the_noisy_voters(study: Study) -> None:
    run_robustness(study, CURVES)
    split = study.splits[1]
    votes = {}
    for m in PAIR:
        [[_, stack]] = list(train_again(study, ALONE, [(study.spec(ALONE, (m,), split), split)]))
        [said] = stack.predict("test", Noise(2.0).on([member.seed for member in stack.members]))
        votes[m] = said.posteriors
    combined = Vote(VOTE.settings).combine(votes, {m: np.ones(len(split.test), bool) for m in PAIR})
    expected = scores_of(study.block.labels[split.test], combined.posteriors)
    scores, run = _scores(study), _run_id(study, VOTE, PAIR, repeat=1)
    assert {metric: scores[run, "noise", None, 2.0, metric] for metric in expected} == expected


def test_another_level_scores_itself_only(study: Study) -> None:
    run_robustness(study, RobustnessConfig(noise=(2.0,)))
    before = _scores(study)
    books = run_robustness(study, RobustnessConfig(noise=(2.0, 1.0)))
    assert (books.cached, books.scored, books.openings) == (20, 8, 16)
    after = _scores(study)
    assert {key: after[key] for key in before} == before
    assert {key[3] for key in after.keys() - before.keys()} == {1.0}


def test_a_combiner_that_is_added_asks_its_voters_again_and_the_score_is_the_same(
    study: Study, block: FeatureBlock, tmp_path: Path
) -> None:
    run_robustness(study, CURVES)
    nothing = pa.table({"sample_id": pa.array([], pa.string())})
    store = StudyStore.create(Root(tmp_path / "other"), "study-1", {}, nothing, nothing)
    first = replace(study, plans=[ALONE], store=store)
    first.run()
    run_robustness(first, CURVES)
    later = replace(study, plans=[ALONE, VOTE], store=store)
    later.run()
    books = run_robustness(later, CURVES)
    assert (books.scored, books.openings) == (8, 4 + 4 + 2)  # the voters were opened twice
    expected, run = _scores(study), _run_id(study, VOTE, PAIR)
    assert {key: v for key, v in _scores(later).items() if key[0] == run} == {
        key: v for key, v in expected.items() if key[0] == run
    }


def test_a_killed_pass_resumes_and_the_opening_it_noted_stays(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    append, appended = StudyStore.append, []

    def killed(store: StudyStore, log: str, rows: list[dict[str, Any]]) -> None:
        if log == "robustness":
            appended.append(len(rows))
            if len(appended) == 2:
                raise KeyboardInterrupt
        append(store, log, rows)

    with monkeypatch.context() as patched:
        patched.setattr(StudyStore, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            run_robustness(study, CURVES)
    left = run_robustness(study, CURVES)
    assert (left.cached, left.scored) == (6, 22)
    assert len(_scores(study)) == 2 * 28
    assert left.openings == 2 + 2 + 8  # image twice: its vote still has to hear it


def test_a_run_that_cannot_be_repeated_is_told(study: Study) -> None:
    other = replace(study, seed=1)
    with pytest.raises(
        NotReproduced, match=r"unimodal\[image\], repeat 0: trained again, it differs .* expected at most"
    ):
        run_robustness(other, CURVES)
    assert _openings(study) == {"score": 8}


def test_a_run_whose_settings_were_searched_is_repeated_with_those(
    block: FeatureBlock, splits: list[Split], tmp_path: Path
) -> None:
    nothing = pa.table({"sample_id": pa.array([], pa.string())})
    store = StudyStore.create(Root(tmp_path / "searched"), "study-2", {}, nothing, nothing)
    search = SearchConfig(space={"learning_rate": [1e-9, 3e-2], "tensor.width": [2]})
    slow = replace(TRAINING, learning_rate=1e-9)
    plan = HeadPlan(head="tensor", subsets=(PAIR,), training=slow, search=search)
    study = study_of(block, splits[:2], [plan], store, seed=0, device="cpu")
    study.run()
    run_robustness(study, CURVES)
    clean = scores_of(block.labels[splits[0].test], _clean(study, _run_id(study, plan, PAIR)))
    assert clean["accuracy"] == _scores(study)[_run_id(study, plan, PAIR), "noise", None, 0.0, "accuracy"] > 0.5
    assert {json.loads(text)["tensor.width"] for text in store.runs()["hyper"].to_pylist()} == {2}  # type: ignore[index]


def test_samples_that_lack_a_modality_are_scored_with_what_they_have(
    block: FeatureBlock, splits: list[Split], tmp_path: Path
) -> None:
    gaps = replace(block, rows={m: own.copy() for m, own in block.rows.items()})
    gaps.rows["image"][0, ::3] = ABSENT
    gaps.rows["text"][0, 1::5] = ABSENT
    nothing = pa.table({"sample_id": pa.array([], pa.string())})
    store = StudyStore.create(Root(tmp_path / "gaps"), "study-3", {}, nothing, nothing)
    confidence = HeadPlan(head="confidence", subsets=(PAIR,), training=TRAINING)
    study = study_of(gaps, splits[:2], [ALONE, WEIGHTED, confidence], store, seed=0, device="cpu")
    study.run()
    run_robustness(study, RobustnessConfig(noise=(0.0,)))
    for plan, subset in ((WEIGHTED, PAIR), (confidence, PAIR), (ALONE, ("image",))):
        run = _run_id(study, plan, subset)
        clean = scores_of(block.labels[splits[0].test], _clean(study, run))
        assert {metric: _scores(study)[run, "noise", None, 0.0, metric] for metric in clean} == clean


@pytest.mark.parametrize("head", [name for name in plugin_names("fusion.heads") if name != "unimodal"])
def test_a_run_is_repeated_with_the_settings_it_was_really_trained_with(head: str) -> None:
    plan = HeadPlan(head=head, subsets=(), training=TRAINING)
    used = replace(TRAINING, width=4, dropout=0.0)
    stored = json.loads(json.dumps(all_settings(head, plan.settings, used)))
    assert settings_of(plan, stored) == (plan.settings, used)
    assert settings_of(plan, {}) == (plan.settings, TRAINING)


def test_a_setting_of_the_head_that_was_searched_counts() -> None:
    stored = {"tensor.width": 5, "width": 4}
    config, training = settings_of(HeadPlan(head="tensor", subsets=(), training=TRAINING), stored)
    assert (config, training) == (TensorConfig(width=5), replace(TRAINING, width=4))


def test_noise_is_normal_with_its_level_and_leaves_alone_what_is_absent() -> None:
    x = {"image": torch.zeros(2, 400, 50), "text": torch.zeros(2, 400, 30, dtype=torch.bfloat16)}
    present = torch.ones(2, 400, 2, dtype=torch.bool)
    present[1, :, 0] = False
    noisy, there = Noise(0.5).on([7, 8])(x, present, [0, 1])
    assert there.equal(present)
    assert noisy["image"][0].std().item() == pytest.approx(0.5, rel=0.02)
    assert noisy["image"][0].mean().item() == pytest.approx(0, abs=0.02)
    assert not noisy["image"][1].any()
    assert noisy["text"].dtype == torch.bfloat16
    assert not noisy["text"][0].equal(noisy["text"][1])


def test_a_members_noise_depends_on_its_seed_alone_whatever_it_is_stacked_with_and_dealt_by() -> None:
    x, present = {"text": torch.zeros(2, 6, 3)}, torch.ones(2, 6, 1, dtype=torch.bool)
    whole, _ = Noise(1.0).on([7, 8])(x, present, [0, 1])
    alone = Noise(1.0).on([8])
    pieces = [alone({"text": torch.zeros(1, n, 3)}, present[:1, :n], [0])[0]["text"] for n in (4, 2)]
    assert torch.cat(pieces, dim=1).equal(whole["text"][1:])
    other, _ = Noise(2.0).on([8])({"text": torch.zeros(1, 6, 3)}, present[:1], [0])
    assert not torch.allclose(other["text"], 2 * whole["text"][1:])


def test_removing_takes_features_and_presence_and_nothing_else() -> None:
    x, present = {"image": torch.ones(1, 2, 3), "text": torch.ones(1, 2, 4)}, torch.ones(1, 2, 2, dtype=torch.bool)
    left, there = Removed("text").on([0])(x, present, [0])
    assert there.tolist() == [[[True, False]] * 2]
    assert present.all()
    assert (left["image"].sum().item(), left["text"].sum().item()) == (6, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": (-1.0,)}, "standard deviations of 0 or more, got -1.0"),
        ({"noise": (float("nan"),)}, "standard deviations"),
        ({"noise": (1.0, 1.0)}, "each level once"),
        ({"noise": (), "remove": False}, "asks for nothing"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RobustnessConfig(**settings)
