from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fusion.errors import SplitError, TrainingError
from fusion.plans import HeadPlan, subsets
from fusion.splits import Split
from fusion.stack import Stack
from fusion.study import RunBooks, member_seed, study_of
from fusion.training import train_together
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock
from stores.errors import ConfigError, NotFound
from stores.root import Root
from stores.studies import StudyStore

TRAINING = TrainingConfig(learning_rate=3e-3, epochs=3, epoch_steps=1, width=8)
MODALITIES = ("image", "speech", "text")


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    nothing = pa.table({"sample_id": pa.array([], pa.string())})
    return StudyStore.create(Root(tmp_path), "study-1", {}, nothing, nothing)


class _Counted:
    """A Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.done = 0

    def start(self, name: str, total: int, unit: str) -> None:
        self.totals.append(total)

    def advance(self, name: str, n: int = 1) -> None:
        self.done += n

    def finish(self, name: str) -> None:
        pass


def _plans(*heads: str) -> list[HeadPlan]:
    return [HeadPlan(head=head, subsets=subsets(MODALITIES, head), training=TRAINING) for head in heads]


def _run(
    block: FeatureBlock, splits: list[Split], plans: list[HeadPlan], store: StudyStore, report: _Counted | None = None
) -> RunBooks:
    plans = [replace(plan, training=TRAINING) for plan in plans]
    return study_of(block, splits, plans, store, seed=0, device="cpu", report=report).run()


def test_a_unimodal_head_takes_one_modality_and_a_fusion_every_larger_subset() -> None:
    assert subsets(("text", "image"), "unimodal") == (("image",), ("text",))
    pairs_and_all = (("image", "speech"), ("image", "text"), ("speech", "text"), MODALITIES)
    assert subsets(MODALITIES, "weighted") == subsets(MODALITIES, "vote") == pairs_and_all
    assert subsets(("text",), "concat") == ()


def test_every_head_runs_on_every_subset_and_repeat(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    report = _Counted()
    books = _run(block, splits, _plans("vote", "unimodal", "concat", "weighted"), store, report)
    assert (books.cached, books.trained, len(books.run_ids)) == (0, 60, 60)
    assert (report.totals, report.done) == ([60], 60)
    table = store.runs()
    assert table is not None
    models = Counter(table["model"].to_pylist())
    assert len(models) == 15
    assert set(models.values()) == {4}
    assert {"unimodal[text]", "weighted[image+speech+text]", "vote[image+text]"} <= set(models)
    assert set(table["seed"].to_pylist()) == {member_seed(0, repeat) for repeat in range(4)}


def test_what_is_stored_is_each_samples_posterior_with_label_and_group(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    plan = HeadPlan(head="weighted", subsets=(("text", "image"),))
    books = _run(block, splits, [plan], store)
    for run, split in zip(books.run_ids, splits, strict=True):
        for part in ("val", "test"):
            rows = store.predictions([run], part).to_pylist()
            assert [row["sample_id"] for row in rows] == sorted(block.sample_ids[i] for i in getattr(split, part))
            for row in rows:
                i = block.sample_ids.index(row["sample_id"])
                assert (row["label"], row["group"]) == (block.labels[i], block.groups[i])
                assert sum(row["posterior"]) == pytest.approx(1, abs=1e-5)
    weights = store.weights()
    assert weights is not None
    assert Counter(weights["modality"].to_pylist()) == {"image": 4, "text": 4}


def test_a_second_call_trains_nothing_and_another_head_trains_only_itself(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    first = _run(block, splits, _plans("unimodal"), store)
    again = _run(block, splits, _plans("unimodal"), store)
    assert (again.cached, again.trained, again.run_ids) == (12, 0, first.run_ids)
    more = _run(block, splits, _plans("unimodal", "vote"), store)
    assert (more.cached, more.trained) == (12, 16)
    assert more.run_ids[:12] == first.run_ids


def test_only_the_missing_repeats_are_trained_and_they_come_out_the_same(
    block: FeatureBlock, splits: list[Split], store: StudyStore, tmp_path: Path
) -> None:
    plan = HeadPlan(head="concat", subsets=(("image", "text"),))
    _run(block, splits[1:3], [plan], store)
    books = _run(block, splits, [plan], store)
    assert (books.cached, books.trained) == (2, 2)
    other = StudyStore(Root(tmp_path / "other"), "study-1")
    assert _run(block, splits, [plan], other).run_ids == books.run_ids
    parts, whole = (
        np.array(s.predictions(books.run_ids)["posterior"].to_pylist(), dtype=np.float32) for s in (store, other)
    )
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_members_that_do_not_fit_together_train_one_after_the_other(
    block: FeatureBlock, splits: list[Split], store: StudyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = HeadPlan(head="concat", subsets=(("image", "text"),))
    together = _run(block, splits, [plan], store)
    monkeypatch.setattr("fusion.training.STACK_BYTES", 1)
    other = StudyStore(Root(tmp_path / "other"), "study-1")
    apart = _run(block, splits, [plan], other)
    assert apart == together
    a, b = (np.array(s.predictions(apart.run_ids)["posterior"].to_pylist()) for s in (store, other))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_vote_is_the_majority_of_the_stored_unimodal_decisions(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    plans = [*_plans("unimodal"), HeadPlan(head="vote", subsets=(MODALITIES,))]
    books = _run(block, splits, plans, store)
    alone = [np.array(store.predictions([books.run_ids[4 * m]])["posterior"].to_pylist()) for m in range(3)]
    voted = np.array(store.predictions([books.run_ids[12]])["posterior"].to_pylist())
    decisions = np.stack([posteriors.argmax(axis=1) for posteriors in alone])
    for sample in range(decisions.shape[1]):
        counts = np.bincount(decisions[:, sample], minlength=3)
        if counts.max() > 1:
            assert voted[sample].argmax() == counts.argmax()
        else:
            surest = max(range(3), key=lambda m: alone[m][sample].max())
            assert voted[sample].argmax() == decisions[surest, sample]


def test_a_vote_without_its_unimodal_heads_is_refused_before_anything_is_trained(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    with pytest.raises(ConfigError, match=r"reads the posteriors of unimodal.*add \[heads.unimodal\]"):
        _run(block, splits, _plans("concat", "vote"), store)
    assert store.runs() is None


def test_everything_that_decides_a_result_makes_another_run(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    base = HeadPlan(head="weighted", subsets=(("image", "text"),))
    wider = HeadPlan(head="weighted", config={"logit_deviation": 1}, subsets=(("image", "text"),))
    assert _run(block, splits, [base], store).trained == 4
    assert _run(block, splits, [wider], store).trained == 4
    assert _run(block, splits, [replace(wider, config={"logit_deviation": 1.0})], store).trained == 0
    for training in (replace(TRAINING, dropout=0.1), replace(TRAINING, input_norm="layer")):
        plan = replace(base, training=training)
        assert study_of(block, splits, [plan], store, seed=0, device="cpu").run().trained == 4
    named = replace(base, training=TRAINING, variant="again")
    assert study_of(block, splits, [named], store, seed=0, device="cpu").run().trained == 4


def test_a_vote_on_voters_trained_otherwise_is_another_run(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    vote = HeadPlan(head="vote", subsets=(MODALITIES,), training=TRAINING)
    ids = set()
    for training in (TRAINING, replace(TRAINING, epochs=1), replace(TRAINING, precision="bfloat16")):
        voters = HeadPlan(head="unimodal", subsets=subsets(MODALITIES, "unimodal"), training=training)
        books = study_of(block, splits, [voters, vote], store, seed=0, device="cpu").run()
        assert books.trained == 4 * (3 + 1)
        ids |= set(books.run_ids[-4:])
    assert len(ids) == 3 * 4


def test_heads_run_on_one_split_and_are_refused_without_any(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    plan = HeadPlan(head="concat", subsets=(("image", "text"),))
    assert _run(block, splits[2:3], [plan], store).trained == 1
    with pytest.raises(SplitError, match=r"one split or more .* got none"):
        _run(block, [], [plan], store)


def test_a_view_of_a_scored_sample_is_refused_and_nothing_is_stored(
    varied: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    plans = [HeadPlan(head="unimodal", subsets=(("image",),))]
    assert _run(varied, splits, plans, store).trained == 4
    stray = splits[3].test[0]
    varied.views["image"][3, 0, stray] = stray  # its own row, even
    other = StudyStore(Root(store.root.address), "study-2")
    with pytest.raises(ValueError, match=rf"repeat 3 would read image views .*{varied.sample_ids[stray]} of its test"):
        _run(varied, splits, plans, other)
    assert other.runs() is None


def test_a_head_that_cannot_run_is_refused_when_it_is_planned(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    with pytest.raises(NotFound, match="did you mean 'weighted'"):
        HeadPlan(head="weigthed", subsets=())
    with pytest.raises(ConfigError, match="did you mean 'logit_deviation'"):
        HeadPlan(head="weighted", config={"logit_deviaton": 0.1}, subsets=())
    with pytest.raises(ConfigError, match="unimodal takes 1 to 1"):
        HeadPlan(head="unimodal", subsets=(("text", "image"),))
    with pytest.raises(ConfigError, match="weighted takes 2 or more different"):
        HeadPlan(head="weighted", subsets=(("text", "text"),))
    with pytest.raises(ConfigError, match="planned on video"):
        _run(block, splits, [HeadPlan(head="unimodal", subsets=(("video",),))], store)


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: can't allocate memory", "CUDA out of memory"])
def test_when_memory_runs_out_a_stack_is_halved_until_it_fits(
    block: FeatureBlock,
    splits: list[Split],
    store: StudyStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
) -> None:
    plan = HeadPlan(head="concat", subsets=(("image", "text"),))
    together = _run(block, splits, [plan], store)
    sizes: list[int] = []

    def scarce(head: Any, config: Any, block: Any, values: Any, modalities: Any, members: Any) -> Stack:
        sizes.append(len(members))
        if len(members) > 1:
            raise RuntimeError(words)
        return train_together(head, config, block, values, modalities, members)

    monkeypatch.setattr("fusion.study.train_together", scarce)
    other = StudyStore(Root(tmp_path / "other"), "study-1")
    assert _run(block, splits, [plan], other) == together
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    a, b = (np.array(s.predictions(together.run_ids)["posterior"].to_pylist()) for s in (store, other))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_without_memory_for_one_member_that_is_said_and_other_errors_are_not_taken_for_it(
    block: FeatureBlock, splits: list[Split], store: StudyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = HeadPlan(head="concat", subsets=(("image", "text"),))

    def broken(*_: object) -> Stack:
        raise error

    monkeypatch.setattr("fusion.study.train_together", broken)
    error: Exception = MemoryError()
    with pytest.raises(TrainingError, match="memory ran out with a single member"):
        _run(block, splits, [plan], store)
    error = RuntimeError("shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"):
        _run(block, splits, [plan], store)
    assert store.runs() is None


@pytest.mark.parametrize("kind", ["predictions", "weights", "openings", "runs"])
def test_runs_one_of_whose_files_is_gone_are_made_again_and_their_openings_noted(
    block: FeatureBlock, splits: list[Split], store: StudyStore, kind: str
) -> None:
    plans = [
        HeadPlan(head="weighted", subsets=(("image", "text"),)),
        HeadPlan(head="concat", subsets=(("image", "text"),)),
    ]
    first = _run(block, splits, plans, store)
    before = store.predictions(first.run_ids)
    [lost] = [
        path for path in store.root.local(store.folder, kind).iterdir() if _is_of(store, path.name, "weighted", kind)
    ]
    lost.unlink()
    assert (found := _run(block, splits, plans, store)).run_ids == first.run_ids
    assert (found.cached, found.trained) == (len(splits), len(splits))
    assert StudyStore(store.root, store.id).predictions(first.run_ids).equals(before)
    opened = Counter(store.log("openings")["run_id"].to_pylist())
    assert set(opened) == set(first.run_ids)
    assert _run(block, splits, plans, store).trained == 0


def _is_of(store: StudyStore, name: str, head: str, kind: str) -> bool:
    ids = store.root.read_table(store.folder, kind, name)["run_id"].to_pylist()
    return ids[0].startswith(head)
