from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from fusion.heads._head import FusionHead, HeadConfig
from fusion.heads.attention import Attention, AttentionConfig
from fusion.heads.concat import Concat
from fusion.heads.unimodal import Unimodal
from fusion.heads.vote import Vote
from fusion.heads.weighted import Weighted, WeightedConfig
from fusion.latency import BATCHES, FEWEST, Subject, combination, device_words, measure_latency, one_member, time_calls
from fusion.plans import HeadPlan, subsets
from fusion.splits import Split
from fusion.study import Study, study_of
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock
from stores.logs import LOGS
from stores.root import Root
from stores.studies import StudyStore

CPU = torch.device("cpu")
WIDTHS = {"image": 7, "speech": 5, "text": 6}  # 18 together
TRAINING = TrainingConfig(width=4, epochs=1)
K = 3


@pytest.fixture
def study(block: FeatureBlock, splits: list[Split], tmp_path: Path) -> Study:
    nothing = pa.table({"sample_id": pa.array([], pa.string())})
    store = StudyStore.create(Root(tmp_path), "study-1", {}, nothing, nothing)
    heads = ("unimodal", "weighted", "vote")
    plans = [HeadPlan(head=head, subsets=subsets(block.modalities, head), training=TRAINING) for head in heads]
    return study_of(block, splits[:1], plans, store, seed=0, device="cpu")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few calls are enough where no time is looked at."""
    monkeypatch.setattr("fusion.latency.time_calls", lambda subject, batch: time_calls(subject, batch, calls=2))


def _one(head: type[FusionHead], config: HeadConfig, *modalities: str, training: TrainingConfig = TRAINING) -> Subject:
    return one_member(head, config, training, {m: WIDTHS[m] for m in modalities}, K, CPU)


def test_every_model_has_a_complete_row_at_every_batch_size(study: Study) -> None:
    assert measure_latency(study) == 11 * len(BATCHES)
    rows = study.store.log("latency").to_pylist()
    models = {study.spec(plan, subset, study.splits[0]).model for plan in study.plans for subset in plan.subsets}
    assert sorted((row["model"], row["batch"]) for row in rows) == sorted((m, b) for m in models for b in BATCHES)
    assert all(row[name] is not None for row in rows for name in LOGS["latency"].names)
    assert all(0 < row["median_us"] <= row["p95_us"] for row in rows)
    assert {row["device"] for row in rows} == {device_words(CPU)}
    widths = {row["model"]: row["input_width"] for row in rows}
    assert (widths["unimodal[image]"], widths["vote[speech+text]"], widths["weighted[image+speech+text]"]) == (
        7,
        11,
        18,
    )


def test_a_study_that_has_its_latencies_measures_nothing_and_one_more_head_itself_only(study: Study) -> None:
    measure_latency(study)
    before = len(study.store.log("latency"))
    assert measure_latency(study) == 0
    concat = HeadPlan(head="concat", subsets=(("image", "text"),), training=TRAINING)
    more = replace(study, plans=[*study.plans, concat])
    assert measure_latency(more) == len(BATCHES)
    added = study.store.log("latency").to_pylist()
    assert sorted(row["model"] for row in added).count("concat[image+text]") == len(added) - before == len(BATCHES)


def test_a_model_is_timed_with_the_settings_it_was_trained_with(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = study.plans[0]
    used = {name: getattr(TRAINING, name) for name in TRAINING.__dataclass_fields__} | {"width": 8}
    run = study.spec(plan, ("text",), study.splits[0]).id
    monkeypatch.setattr("fusion.latency.hyper_of", lambda _: {run: used})
    measure_latency(study)
    found = {row["model"]: row["parameters"] for row in study.store.log("latency").to_pylist()}
    assert found["unimodal[text]"] == (6 * 8 + 8) + (8 * K + K)
    assert found["unimodal[image]"] == (7 * 4 + 4) + (4 * K + K)


def test_a_model_with_other_settings_is_timed_again_under_the_run_that_has_them(study: Study) -> None:
    measure_latency(study)
    wider = replace(study, plans=[replace(plan, training=replace(TRAINING, width=8)) for plan in study.plans])
    assert measure_latency(wider) == 11 * len(BATCHES)
    found = {(row["run_id"], row["batch"]): row["parameters"] for row in study.store.log("latency").to_pylist()}
    for own, width in ((study, 4), (wider, 8)):
        spec = own.spec(own.plans[0], ("text",), own.splits[0])
        assert found[spec.id, 1] == found[spec.id, 64] == (6 * width + width) + (width * K + K)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 64])
def test_the_products_are_those_counted_by_hand(batch: int, precision: str) -> None:
    training = TrainingConfig(width=4, precision=precision)
    unimodal = _one(Unimodal, HeadConfig(), "text", training=training)
    assert unimodal.flops(batch) == 2 * batch * (6 * 4 + 4 * K)
    weighted = _one(Weighted, WeightedConfig(), *WIDTHS, training=training)
    assert weighted.flops(batch) == 2 * batch * (18 * 4 + 4 * K)
    concat = _one(Concat, HeadConfig(), *WIDTHS, training=training)
    of_the_absent = 3 * 4  # a row of learned vectors, multiplied by what is missing
    assert concat.flops(batch) == 2 * batch * (18 * 4 + of_the_absent + 4 * K)
    attention = _one(Attention, AttentionConfig(heads=2), *WIDTHS, training=training)
    tokens = 3 * (4 * 12 + 4 * 4) + 2 * (3 * 3 * 4)  # Q, K and V, and O; then Q K' and the weights times V
    assert attention.flops(batch) == 2 * batch * (18 * 4 + tokens + 4 * K)


def test_the_parameters_are_those_counted_by_hand() -> None:
    assert _one(Unimodal, HeadConfig(), "text").parameters == (6 * 4 + 4) + (4 * K + K)
    assert _one(Weighted, WeightedConfig(), *WIDTHS).parameters == (18 * 4 + 3 * 4) + 3 + (4 * K + K)
    assert _one(Concat, HeadConfig(), *WIDTHS).parameters == (18 * 4 + 4) + 3 * 4 + (4 * K + K)


def test_a_combiner_costs_the_heads_it_reads_and_says_what_they_combine_to() -> None:
    voters = {m: _one(Unimodal, HeadConfig(), m) for m in ("image", "text")}
    vote = combination(Vote(HeadConfig()), voters)
    assert vote.parameters == sum(voter.parameters for voter in voters.values())
    assert vote.flops(64) == sum(voter.flops(64) for voter in voters.values())
    assert vote.input_width == 13
    said = {m: voter.prepare(64)().numpy() for m, voter in voters.items()}
    expected = Vote(HeadConfig()).combine(said, {m: np.ones(64, bool) for m in said})
    np.testing.assert_array_equal(vote.prepare(64)().numpy(), expected.posteriors)


def test_a_call_makes_posteriors_of_one_member() -> None:
    posteriors = _one(Weighted, WeightedConfig(), *WIDTHS).prepare(64)()
    assert posteriors.shape == (64, K)
    np.testing.assert_allclose(posteriors.sum(dim=1).numpy(), 1, atol=1e-5)


def test_calls_end_when_there_are_enough_or_no_time_is_left() -> None:
    subject = _one(Unimodal, HeadConfig(), "text")
    assert len(time_calls(subject, 1, calls=17, seconds=60)) == 17
    assert len(time_calls(subject, 1, calls=17, seconds=0)) == FEWEST
