import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from fusion.balance import BALANCES, Roster, grown, make_roster
from fusion.heads.weighted import Weighted, WeightedConfig
from fusion.inputs import Inputs, Reading, to_device
from fusion.plans import HeadPlan
from fusion.splits import Split
from fusion.stack import Member, Stack
from fusion.study import study_of
from fusion.training import train_stacked
from fusion.training_config import TrainingConfig
from stores.block import ABSENT, FeatureBlock
from stores.errors import ConfigError
from stores.root import Root
from stores.studies import StudyStore

MODALITIES = ("image", "text")
FAST = TrainingConfig(learning_rate=3e-3, epochs=6, epoch_steps=1, width=16, batch_size=16)


@pytest.fixture
def skewed(splits: list[Split], block: FeatureBlock) -> list[Split]:
    """The splits, with all of joy, a quarter of anger and half of neutral left in training."""

    def thinned(train: np.ndarray) -> np.ndarray:
        own = [train[block.labels[train] == k][::step] for k, step in enumerate((1, 4, 2))]
        return np.sort(np.concatenate(own))

    return [replace(split, train=thinned(split.train)) for split in splits]


def _roster(
    block: FeatureBlock, split: Split, balance: str, *, target: float = 1.0, modalities: tuple[str, ...] = MODALITIES
) -> Roster:
    return make_roster(block, split.train, modalities, split.repeat, balance=balance, target=target, seed=5)


def _extra(roster: Roster, split: Split) -> np.ndarray:
    assert np.array_equal(roster.samples[: len(split.train)], split.train)
    return roster.samples[len(split.train) :]


@pytest.mark.parametrize(
    ("counts", "target", "expected"),
    [
        ([40, 10, 25, 5], 0.35, [40, 13.5, 25, 6.75]),  # the mean is 20: the second and the fourth are minorities
        ([40, 10, 25, 5], 9.0, [40, 40, 25, 40]),
        ([40, 10, 25, 5], np.inf, [40, 40, 25, 40]),
        ([40, 0, 10], np.inf, [40, 0, 40]),
        ([10, 10, 10], 0.35, [10, 10, 10]),
    ],
)
def test_minorities_grow_by_the_target_up_to_the_largest_class(
    counts: list[int], target: float, expected: list[float]
) -> None:
    assert grown(np.array(counts), target).tolist() == expected


def test_without_balancing_everybody_is_read_once_as_he_is(block: FeatureBlock, skewed: list[Split]) -> None:
    roster = _roster(block, skewed[0], "none")
    assert np.array_equal(roster.samples, skewed[0].train)
    assert roster.class_weights.tolist() == [1, 1, 1]
    assert roster.before.tolist() == roster.after.tolist()


def test_class_weights_raise_a_minoritys_weight_against_the_others_by_the_target_with_mean_1(
    block: FeatureBlock, skewed: list[Split]
) -> None:
    for target in (0.35, 0.6):
        roster = _roster(block, skewed[0], "class_weights", target=target)
        joy, anger, neutral = roster.after / roster.before
        assert roster.class_weights.tolist() == pytest.approx([joy, anger, neutral])
        assert anger / joy == neutral / joy == pytest.approx(1 + target)
        assert np.mean(roster.class_weights[block.labels[roster.samples]]) == pytest.approx(1)
        assert np.array_equal(roster.samples, skewed[0].train)


@pytest.mark.parametrize("balance", ["oversample", "smote", "views"])
def test_what_is_added_is_of_minorities_and_nobody_comes_again_before_all_did(
    varied: FeatureBlock, skewed: list[Split], balance: str
) -> None:
    varied = _of_trainees(varied, skewed)
    for split in skewed:
        before = np.bincount(varied.labels[split.train])
        roster = _roster(varied, split, balance, target=np.inf)
        assert roster.before.tolist() == before.tolist()
        assert roster.after.tolist() == [before[0]] * 3
        assert np.bincount(varied.labels[roster.samples]).tolist() == roster.after.tolist()
        assert set(roster.samples) == set(split.train)
        for k in (1, 2):
            times = np.bincount(roster.samples)[split.train[varied.labels[split.train] == k]]
            assert times.max() - times.min() <= 1


def _of_trainees(block: FeatureBlock, splits: list[Split]) -> FeatureBlock:
    """Leave out the views of samples that these splits do not train on."""
    views = {m: rows.copy() for m, rows in block.views.items()}
    for split in splits:
        for rows in views.values():
            rows[split.repeat][:, np.setdiff1d(np.arange(120), split.train)] = ABSENT
    return replace(block, views=views)


def test_draws_depend_on_the_seed_alone(block: FeatureBlock, skewed: list[Split]) -> None:
    rosters = [
        make_roster(block, skewed[0].train, MODALITIES, 0, balance="smote", target=1.0, seed=seed) for seed in (1, 1, 2)
    ]
    first, again, other = (np.stack([r.samples, r.partners, r.mix]).tobytes() for r in rosters)
    assert first == again != other


def test_only_what_is_added_is_read_in_a_view(varied: FeatureBlock, skewed: list[Split]) -> None:
    roster = _roster(_of_trainees(varied, skewed), skewed[0], "views")
    assert roster.viewed is not None
    assert not roster.viewed[: len(skewed[0].train)].any()
    assert roster.viewed[len(skewed[0].train) :].all()


def test_views_that_are_not_there_are_refused_with_the_remedy(block: FeatureBlock, skewed: list[Split]) -> None:
    with pytest.raises(ConfigError, match=r"image\+text has none: add \[features.image.views\]"):
        _roster(block, skewed[0], "views")


def _standardised(block: FeatureBlock, split: Split) -> np.ndarray:
    parts = []
    for m in MODALITIES:
        x = block.values[m][block.repeat_rows(m, split.repeat)].astype(np.float64)
        parts.append((x - x[split.train].mean(axis=0)) / x[split.train].std(axis=0))
    return np.concatenate(parts, axis=1)


def test_a_smote_partner_is_among_the_five_nearest_of_the_same_class_in_training(
    block: FeatureBlock, skewed: list[Split]
) -> None:
    split = skewed[0]
    roster, space = _roster(block, split, "smote", target=np.inf), _standardised(block, skewed[0])
    assert roster.partners is not None
    extra, partners = _extra(roster, split), roster.partners[len(split.train) :]
    for sample, partner in zip(extra, partners, strict=True):
        own = [i for i in split.train if block.labels[i] == block.labels[sample] and i != sample]
        nearest = sorted(own, key=lambda i: float(np.linalg.norm(space[i] - space[sample])))[:5]
        assert partner in nearest
    assert len(set(partners)) > 5


def test_neighbours_are_looked_for_only_of_who_is_drawn(
    block: FeatureBlock, skewed: list[Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Counted(NearestNeighbors):  # type: ignore[misc]
        def kneighbors(self, X: np.ndarray | None = None, **options: object) -> np.ndarray:
            asked.append(self.n_samples_fit_ if X is None else len(X))
            found: np.ndarray = super().kneighbors(X, **options)
            return found

    monkeypatch.setattr("fusion.balance.NearestNeighbors", Counted)
    roster = _roster(block, skewed[0], "smote", target=0.2)
    assert sum(asked) == len(set(_extra(roster, skewed[0]))) < len(set(skewed[0].train))


def test_a_sample_whose_equals_crowd_it_out_of_its_own_neighbours_has_one_of_them(
    block: FeatureBlock, skewed: list[Split]
) -> None:
    values = {m: np.zeros_like(own) for m, own in block.values.items()}
    roster = _roster(replace(block, values=values), skewed[0], "smote", target=np.inf)
    assert roster.partners is not None
    partners = roster.partners[len(skewed[0].train) :]
    extra = _extra(roster, skewed[0])
    assert np.array_equal(block.labels[partners], block.labels[extra])
    assert not np.any(partners == extra)


def test_a_synthetic_sample_lies_on_the_segment_between_a_sample_and_its_partner(
    block: FeatureBlock, skewed: list[Split]
) -> None:
    split = skewed[0]
    roster = _roster(block, split, "smote")
    assert roster.partners is not None
    assert roster.mix is not None
    extra = np.arange(len(split.train), len(roster.samples))
    assert np.all((roster.mix[extra] >= 0) & (roster.mix[extra] <= 1))
    assert roster.mix[extra].std() > 0.1
    assert not roster.mix[: len(split.train)].any()
    inputs = Inputs(block, to_device(block, torch.device("cpu")), MODALITIES, [split], "none")
    reading = Reading(
        samples=torch.from_numpy(roster.samples)[None],
        real=torch.ones(1, len(roster.samples), dtype=torch.bool),
        partners=torch.from_numpy(roster.partners)[None],
        mix=torch.from_numpy(roster.mix)[None],
    )
    x, _ = inputs.batch(reading, torch.tensor([0]))
    for m in MODALITIES:
        own, other = (block.values[m][where].astype(np.float32) for where in (roster.samples, roster.partners))
        mixed = own + roster.mix[:, None] * (other - own)
        np.testing.assert_allclose(x[m][0].numpy(), mixed, atol=1e-5)
        assert np.array_equal(x[m][0, : len(split.train)].numpy(), own[: len(split.train)])


def test_a_smote_partner_has_the_same_modalities_and_who_is_alone_is_his_own(
    block: FeatureBlock, skewed: list[Split]
) -> None:
    split = skewed[0]
    anger = split.train[block.labels[split.train] == 1]
    rows = {m: own.copy() for m, own in block.rows.items()}
    rows["text"][0, anger[:2]] = rows["image"][0, anger[2]] = ABSENT
    block = replace(block, rows=rows)
    roster = _roster(block, split, "smote", target=np.inf)
    assert roster.partners is not None
    partner = {}
    for sample, own in zip(_extra(roster, split), roster.partners[len(split.train) :], strict=True):
        partner.setdefault(int(sample), set()).add(int(own))
    assert partner[anger[0]] == {anger[1]}
    assert partner[anger[1]] == {anger[0]}
    assert partner[anger[2]] == {anger[2]}
    assert all(partner[i] <= set(anger[3:]) - {i} for i in anger[3:])


def _stack(block: FeatureBlock, splits: list[Split], balances: list[str]) -> Stack:
    inputs = Inputs(block, to_device(block, torch.device("cpu")), MODALITIES, splits, FAST.input_norm)
    members = [
        Member(split=split, seed=11 + split.repeat, training=replace(FAST, balance=balance, balance_target=1.0))
        for split, balance in zip(splits, balances, strict=True)
    ]
    return train_stacked(partial(Weighted, WeightedConfig()), block, inputs, members)


def test_a_member_alone_is_the_member_in_a_stack_whose_others_balance_otherwise(
    varied: FeatureBlock, skewed: list[Split]
) -> None:
    fifth = replace(skewed[0], repeat=0)
    splits, balances = [*skewed, fifth], ["smote", "oversample", "class_weights", "views", "none"]
    block = _of_trainees(varied, skewed)
    together = _stack(block, splits, balances)
    for m, test in enumerate(together.predict("test")):
        alone = _stack(block, [splits[m]], [balances[m]])
        np.testing.assert_allclose(alone.predict("test")[0].posteriors, test.posteriors, atol=1e-5)
        assert [point["val_loss"] for point in alone.fitted[0].curves] == pytest.approx(
            [point["val_loss"] for point in together.fitted[m].curves], abs=1e-5
        )


@pytest.mark.parametrize("balance", BALANCES)
def test_a_study_stores_the_class_counts_of_every_training_and_scores_everybody_once(
    varied: FeatureBlock, skewed: list[Split], tmp_path: Path, balance: str
) -> None:
    nothing = pa.table({"sample_id": pa.array([], pa.string())})
    store = StudyStore.create(Root(tmp_path), "study-1", {}, nothing, nothing)
    training = replace(FAST, epochs=1, balance=balance, balance_target=1.0)
    plan = HeadPlan(head="weighted", subsets=(MODALITIES,), training=training)
    done = study_of(_of_trainees(varied, skewed), skewed, [plan], store, seed=0, device="cpu").run()
    for row, split in zip(store.runs().to_pylist(), skewed, strict=True):
        before = np.bincount(varied.labels[split.train])
        counts = json.loads(row["counts"])
        assert counts["before"] == before.tolist()
        doubled = np.array([before[0], 2 * before[1], min(2 * before[2], before[0])])
        scale = before.sum() / doubled.sum() if balance == "class_weights" else 1
        assert counts["after"] == pytest.approx(before if balance == "none" else doubled * scale)
        for part in ("val", "test"):
            scored = store.predictions([row["run_id"]], part)["sample_id"].to_pylist()
            assert scored == sorted(varied.sample_ids[i] for i in getattr(split, part))
    assert done.trained == len(skewed)


def test_an_endless_target_is_a_setting_like_any_other() -> None:
    assert TrainingConfig(balance_target=float("inf")) == TrainingConfig(balance_target=1e6)
    with pytest.raises(ConfigError, match="balance_target should be a finite number"):
        TrainingConfig(balance_target=float("nan"))
