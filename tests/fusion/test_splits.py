from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from fusion.errors import SplitError
from fusion.splits import ProtocolConfig, Split, make_splits
from stores.dealing import cut, merge_groups, shares
from stores.errors import ConfigError

PARTS = ("train", "val", "test")


def _same(a: Split, b: Split) -> bool:
    return all(np.array_equal(getattr(a, part), getattr(b, part)) for part in (*PARTS, "encoder"))


def _speakers(n_groups: int, each: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups of equal size that hold every class in turn."""
    n = n_groups * each
    return np.arange(n) % n_classes, np.repeat(np.arange(n_groups), each)


def test_samples_that_share_a_value_of_any_kind_are_one_group() -> None:
    speaker = ["a", "a", "b", "c", None, None]
    dialogue = ["1", "2", "2", None, None, "3"]
    groups = merge_groups([speaker, dialogue])
    # a-1, a-2 and b-2 hang together through speaker a and dialogue 2
    assert groups.tolist() == ["0:a", "0:a", "0:a", "0:c", "#4", "1:3"]


def test_one_kind_of_group_keeps_its_names_and_a_sample_without_one_is_its_own() -> None:
    assert merge_groups([["s1", None, "s1", None]]).tolist() == ["s1", "#1", "s1", "#3"]


def test_a_group_named_like_an_ungrouped_sample_stays_apart_from_it() -> None:
    assert len(set(merge_groups([["#1", None]]).tolist())) == 2


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=n, max_size=n), min_size=1, max_size=3
        )
    )
)
def test_merging_agrees_with_joining_sets_until_nothing_changes(columns: list[list[str | None]]) -> None:
    n = len(columns[0])
    sets = [{i} for i in range(n)]
    for column in columns:
        for i in range(n):
            for j in range(n):
                if column[i] is not None and column[i] == column[j] and sets[i] is not sets[j]:
                    joined = sets[i] | sets[j]
                    for k in joined:
                        sets[k] = joined
    groups = merge_groups(columns)
    for i in range(n):
        assert {j for j in range(n) if groups[j] == groups[i]} == sets[i]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), n_groups=st.integers(12, 40), skew=st.floats(0.2, 3))
def test_every_split_is_a_partition_by_groups_with_every_class_in_training(
    seed: int, n_groups: int, skew: float
) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(n_groups, size=300)
    labels = rng.choice(3, size=300, p=np.array([1, 1, skew]) / (2 + skew))
    for split in make_splits(labels, groups, 3, ProtocolConfig(repeats=3), seed):
        parts = [getattr(split, part) for part in PARTS]
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(300))
        owners = [set(groups[part]) for part in parts]
        assert sum(map(len, owners)) == len(set.union(*owners))
        assert set(labels[split.train]) == {0, 1, 2}
        assert split.train.dtype == np.int64
        assert all(a < b for part in parts for a, b in pairwise(part))


def test_part_sizes_and_class_shares_are_near_the_asked_ones() -> None:
    rng = np.random.default_rng(0)
    groups, labels = rng.integers(60, size=1200), rng.choice(4, size=1200, p=[0.4, 0.3, 0.2, 0.1])
    for split in make_splits(labels, groups, 4, ProtocolConfig(), seed=1):
        for part, share in zip(PARTS, (0.7, 0.15, 0.15), strict=True):
            own = getattr(split, part)
            assert len(own) / 1200 == pytest.approx(share, abs=0.03)
            for number in range(4):
                assert np.mean(labels[own] == number) == pytest.approx(np.mean(labels == number), abs=0.08)


def test_samples_without_groups_are_stratified_to_the_sample() -> None:
    labels = np.repeat([0, 1], [60, 40])
    for split in make_splits(labels, np.arange(100), 2, ProtocolConfig(repeats=5), seed=0):
        assert [int(np.sum(labels[getattr(split, part)] == 0)) for part in PARTS] == [42, 9, 9]
        assert [int(np.sum(labels[getattr(split, part)] == 1)) for part in PARTS] == [28, 6, 6]


def test_equal_arguments_give_equal_splits_and_another_seed_gives_others() -> None:
    labels, groups = _speakers(30, 6, 3)
    first, again, other = (make_splits(labels, groups, 3, ProtocolConfig(), seed) for seed in (7, 7, 8))
    assert all(_same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(_same(a, b) for a, b in zip(first, other, strict=True))


def test_all_repeats_differ_and_too_many_are_refused_with_the_number_possible() -> None:
    labels, groups = _speakers(3, 10, 2)
    six = make_splits(labels, groups, 2, ProtocolConfig(repeats=6), seed=0)
    assert len({(s.val.tobytes(), s.test.tobytes()) for s in six}) == 6
    with pytest.raises(SplitError, match=r"asks for 7 different splits, but 3 groups give only 6"):
        make_splits(labels, groups, 2, ProtocolConfig(repeats=7), seed=0)


def test_a_class_with_fewer_groups_than_parts_is_refused_with_the_numbers() -> None:
    labels = np.array([0] * 20 + [1] * 2)
    with pytest.raises(SplitError, match=r"needs 3 groups or more.*0: 20, 1: 2"):
        make_splits(labels, np.arange(22), 2, ProtocolConfig(repeats=2), seed=0)


def test_a_class_nobody_has_is_refused() -> None:
    with pytest.raises(SplitError, match="2: 0"):
        make_splits(np.arange(20) % 2, np.arange(20), 3, ProtocolConfig(repeats=2), seed=0)


def test_leave_one_group_out_tests_each_group_once_and_ignores_repeats() -> None:
    labels, groups = _speakers(9, 12, 4)
    splits = make_splits(labels, groups, 4, ProtocolConfig(kind="leave-one-group-out", repeats=99), seed=0)
    assert [set(groups[s.test].tolist()) for s in splits] == [{g} for g in range(9)]
    for split in splits:
        assert len(split.test) == 12
        assert not set(groups[split.train]) & set(groups[split.val])
        assert len(split.train) + len(split.val) == 96
        assert set(labels[split.train]) == {0, 1, 2, 3}


def test_leave_one_group_out_refuses_a_class_that_would_leave_with_its_group() -> None:
    labels, groups = _speakers(6, 10, 2)
    labels[3] = 2
    with pytest.raises(SplitError, match=r"needs 2 groups or more.*2: 1"):
        make_splits(labels, groups, 3, ProtocolConfig(kind="leave-one-group-out"), seed=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), n_groups=st.integers(30, 60), folds=st.integers(2, 6), rounds=st.integers(1, 3))
def test_every_round_of_k_fold_tests_each_sample_once_and_keeps_groups_apart(
    seed: int, n_groups: int, folds: int, rounds: int
) -> None:
    rng = np.random.default_rng(seed)
    groups, labels = rng.integers(n_groups, size=300), rng.integers(3, size=300)
    splits = make_splits(labels, groups, 3, ProtocolConfig(kind="k-fold", folds=folds, rounds=rounds), seed)
    assert [split.repeat for split in splits] == list(range(rounds * folds))
    for dealt in (splits[start : start + folds] for start in range(0, len(splits), folds)):
        assert np.array_equal(np.sort(np.concatenate([split.test for split in dealt])), np.arange(300))
    for split in splits:
        parts = [getattr(split, part) for part in PARTS]
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(300))
        owners = [set(groups[part]) for part in parts]
        assert sum(map(len, owners)) == len(set.union(*owners))
        assert set(labels[split.train]) == {0, 1, 2}
        assert len(split.val)


def test_k_fold_without_groups_has_every_class_alike_in_every_fold_and_ignores_repeats_and_test() -> None:
    labels = np.repeat([0, 1], [60, 40])
    protocol = ProtocolConfig(kind="k-fold", folds=5, rounds=2, val=0.16, repeats=99, test=0.6)
    splits = make_splits(labels, np.arange(100), 2, protocol, seed=0)
    assert len(splits) == 10
    for split in splits:
        sizes = [[int(np.sum(labels[getattr(split, part)] == k)) for part in PARTS] for k in (0, 1)]
        # a fifth is tested, and a fifth of the rest (0.16 / 0.8) validates: 9.6 and 6.4 samples
        assert sizes in ([[38, 10, 12], [26, 6, 8]], [[39, 9, 12], [25, 7, 8]])


def test_rounds_of_k_fold_differ_and_too_many_are_refused_with_the_number_possible() -> None:
    labels, groups = _speakers(4, 10, 2)
    protocol = ProtocolConfig(kind="k-fold", folds=2, rounds=3)
    tests = [split.test.tobytes() for split in make_splits(labels, groups, 2, protocol, seed=0)]
    assert len(set(tests)) == 6  # 4 groups make 3 pairs of pairs
    with pytest.raises(SplitError, match=r"asks for 4 different rounds of 2 folds, but 4 groups give only 3"):
        make_splits(labels, groups, 2, ProtocolConfig(kind="k-fold", folds=2, rounds=4), seed=0)


@pytest.mark.parametrize("seed", range(20))
def test_a_fold_that_recurs_in_another_round_is_validated_on_others(seed: int) -> None:
    labels, groups = _speakers(4, 10, 2)
    splits = make_splits(labels, groups, 2, ProtocolConfig(kind="k-fold", folds=3, rounds=3), seed)
    assert len({split.test.tobytes() for split in splits}) < 9  # 4 groups make 4 folds of one, and 3 rounds have 6
    assert len({(split.val.tobytes(), split.test.tobytes()) for split in splits}) == 9


def test_k_fold_with_too_few_different_splits_is_refused_with_the_number_possible() -> None:
    labels, groups = _speakers(5, 10, 2)
    # each of the 10 rounds has a pair of its own, and 3 of 5 singles; a single has 4 others to validate with
    with pytest.raises(SplitError, match=r"40 different splits, but 5 groups give only 30"):
        make_splits(labels, groups, 2, ProtocolConfig(kind="k-fold", folds=4, rounds=10), seed=0)


def test_k_fold_refuses_a_class_with_fewer_groups_than_folds_with_the_numbers() -> None:
    labels = np.array([0] * 20 + [1] * 4)
    with pytest.raises(SplitError, match=r"needs 5 groups or more.*0: 20, 1: 4"):
        make_splits(labels, np.arange(24), 2, ProtocolConfig(kind="k-fold", folds=5), seed=0)


def test_a_corpus_with_train_and_dev_only_is_tested_on_dev_with_validation_cut_from_train_by_group() -> None:
    labels, groups = _speakers(40, 5, 2)
    given_parts = ["val" if g >= 30 else "train" for g in groups]
    for split in make_splits(labels, groups, 2, ProtocolConfig(kind="fixed", repeats=2), seed=0, fixed=given_parts):
        assert set(groups[split.test]) == set(range(30, 40))
        assert not set(groups[split.train]) & set(groups[split.val])
        assert len(split.train) + len(split.val) == 150
        assert len(split.val) / 150 == pytest.approx(0.15 / 0.85, abs=0.02)


def test_a_fixed_split_is_the_corpus_own_in_every_repeat() -> None:
    labels, groups = _speakers(10, 6, 2)
    given_parts = [("train", "train", "val", "test", "train")[g % 5] for g in groups]
    splits = make_splits(labels, groups, 2, ProtocolConfig(kind="fixed", repeats=3), seed=0, fixed=given_parts)
    assert [s.repeat for s in splits] == [0, 1, 2]
    for split in splits:
        for part in PARTS:
            assert getattr(split, part).tolist() == [i for i, name in enumerate(given_parts) if name == part]


def test_a_corpus_with_train_and_test_only_has_validation_cut_from_train_by_group() -> None:
    labels, groups = _speakers(40, 5, 2)
    given_parts = ["test" if g >= 30 else "train" for g in groups]
    first, second = make_splits(labels, groups, 2, ProtocolConfig(kind="fixed", repeats=2), seed=0, fixed=given_parts)
    assert _same(first, Split(repeat=0, train=second.train, val=second.val, test=second.test))
    assert set(groups[first.test]) == set(range(30, 40))
    assert not set(groups[first.train]) & set(groups[first.val])
    assert len(first.val) / 150 == pytest.approx(0.15 / 0.85, abs=0.02)


@pytest.mark.parametrize("given_parts", [None, ["train"] * 19 + [None], ["train"] * 19 + ["encoder"], ["train"] * 20])
def test_a_fixed_protocol_refuses_samples_without_a_part_of_the_split(given_parts: list[str | None] | None) -> None:
    labels, groups = _speakers(10, 2, 2)
    with pytest.raises(SplitError, match="fixed protocol needs"):
        make_splits(labels, groups, 2, ProtocolConfig(kind="fixed"), seed=0, fixed=given_parts)


@pytest.mark.parametrize("kind", ["repeated", "leave-one-group-out", "fixed", "k-fold"])
def test_encoders_per_repeat_get_half_of_the_training_groups(kind: str) -> None:
    labels, groups = _speakers(40, 6, 3)
    fixed = ["test" if g < 6 else "val" if g < 12 else "train" for g in groups]
    protocol = ProtocolConfig(kind=kind, repeats=4)
    for split in make_splits(labels, groups, 3, protocol, 0, fixed=fixed, per_repeat_encoders=True):
        owners = [set(groups[part]) for part in (split.train, split.encoder, split.val, split.test)]
        assert sum(map(len, owners)) == len(set.union(*owners)) == 40
        assert len(owners[1]) == pytest.approx(len(owners[0]), abs=1)
        assert set(labels[split.encoder]) == set(labels[split.train]) == {0, 1, 2}


def test_an_encoder_share_of_one_trains_encoders_and_heads_on_the_whole_part() -> None:
    labels, groups = _speakers(30, 6, 3)
    whole = make_splits(labels, groups, 3, ProtocolConfig(repeats=2), 0)
    shared = make_splits(labels, groups, 3, ProtocolConfig(repeats=2, encoder_share=1.0), 0, per_repeat_encoders=True)
    for alone, both in zip(whole, shared, strict=True):
        assert np.array_equal(both.train, alone.train)
        assert np.array_equal(both.encoder, alone.train)
        assert len(alone.encoder) == 0


@pytest.mark.parametrize(
    "setting",
    [
        {"kind": "kfold"},
        {"repeats": 1},
        {"val": 0.0},
        {"val": 0.5, "test": 0.5},
        {"encoder_share": 0.0},
        {"folds": 1},
        {"rounds": 0},
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        ProtocolConfig(**setting)


def _shape(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups of one of the five kinds of corpora in which dealing has been found unfair, or might be."""
    rng = np.random.default_rng(5)
    if name == "balanced":
        return _speakers(24, 24, 4)
    sizes = {
        "random labels": np.full(24, 25),
        "unequal sizes": np.round(200 * 0.8 ** np.arange(20)).astype(int) + 5,
        "own label mixes": np.full(30, 20),
        "two large speakers": np.array([300, 300, *[25] * 16]),
    }[name]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    if name == "own label mixes":
        mixes = rng.dirichlet(np.full(4, 0.5), size=len(sizes))
        return np.array([rng.choice(4, p=mixes[group]) for group in groups]), groups
    return rng.integers(4, size=len(groups)), groups


SHAPES = ("random labels", "balanced", "unequal sizes", "own label mixes", "two large speakers")


def _per_df(counts: np.ndarray, share: float, draws: int) -> float:
    """Return chi-square per degree of freedom of how often each group was drawn, against the same chance for all."""
    expected = counts.mean()
    assert 0 < expected / draws == pytest.approx(share, abs=0.05)
    return float(((counts - expected) ** 2).sum() / (expected * (1 - expected / draws)) / (len(counts) - 1))


@pytest.mark.parametrize("name", SHAPES)
def test_every_group_is_in_a_part_as_often_as_any_other_whatever_its_size_and_labels(name: str) -> None:
    labels, groups = _shape(name)
    number = int(groups.max()) + 1
    protocol = ProtocolConfig(repeats=200)
    splits = make_splits(labels, groups, 4, protocol, seed=1, per_repeat_encoders=True)

    def times(part: str) -> np.ndarray:
        return np.bincount(np.concatenate([np.unique(groups[getattr(s, part)]) for s in splits]), minlength=number)

    assert _per_df(times("test"), 0.15, 200) <= 1.5
    assert _per_df(times("encoder"), 0.35, 200) <= 1.7  # drawn anew each time
    once = make_splits(labels, groups, 4, ProtocolConfig(), seed=1)  # 20 repeats
    tested = np.bincount(np.concatenate([np.unique(groups[s.test]) for s in once]), minlength=number)
    assert set(tested.tolist()) <= {2, 3}


@pytest.mark.parametrize("name", SHAPES)
def test_folds_and_shares_alone_are_drawn_fairly_too(name: str) -> None:
    labels, groups = _shape(name)
    number, rng, everyone = int(groups.max()) + 1, np.random.default_rng(2), np.arange(len(labels))
    cuts = [np.unique(groups[cut(everyone, labels, groups, 0.2, rng)[1]]) for _ in range(200)]
    chance = chi2.isf(1e-4, number - 1) / (number - 1)  # 2.2 to 2.7: what fair draws exceed once in 10,000 tests
    assert _per_df(np.bincount(np.concatenate(cuts), minlength=number), 0.2, 200) <= chance
    first = [np.unique(groups[shares(labels, groups, 0.2, rng, folds=5)[0]]) for _ in range(200)]
    assert _per_df(np.bincount(np.concatenate(first), minlength=number), 0.2, 200) <= chance


def test_what_groups_are_called_changes_no_split() -> None:
    labels, groups = _shape("unequal sizes")
    renamed = np.array([f"s{(7 * group) % 20}" for group in groups])
    both = (make_splits(labels, own, 4, ProtocolConfig(repeats=5), seed=3) for own in (groups, renamed))
    assert all(_same(a, b) for a, b in zip(*both, strict=True))


def test_whole_groups_are_dealt_as_evenly_by_class_as_they_allow() -> None:
    labels, groups = _shape("balanced")
    for split in make_splits(labels, groups, 4, ProtocolConfig(), seed=0):
        assert np.ptp(np.bincount(labels[split.test])) == 0
    labels, groups = _shape("own label mixes")
    total = np.bincount(labels) / len(labels)
    dealt = [labels[split.test] for split in make_splits(labels, groups, 4, ProtocolConfig(repeats=60), seed=0)]
    rng = np.random.default_rng(0)
    blind = [labels[np.isin(groups, rng.permutation(30)[:4])] for _ in range(60)]
    off = [
        np.mean([abs(np.bincount(own, minlength=4) / len(own) - total).max() for own in them])
        for them in (dealt, blind)
    ]
    assert off[0] < 0.8 * off[1]
