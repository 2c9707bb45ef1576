import gc
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from fusion import choosing
from fusion.development import Development, develop
from fusion.errors import SplitError, TrainingError
from fusion.heads.low_rank import LowRank, LowRankConfig
from fusion.heads.weighted import Weighted, WeightedConfig
from fusion.inputs import to_device
from fusion.plans import HeadPlan
from fusion.search import Search, SearchConfig, Subject, Trial, best_of, plan_search, run_trials
from fusion.splits import Split
from fusion.study import RunBooks, study_of
from fusion.training_config import TrainingConfig
from stores.block import ABSENT, FeatureBlock
from stores.errors import ConfigError
from stores.root import Root
from stores.studies import StudyStore

TRAINING = TrainingConfig(epochs=3, epoch_steps=1, width=8)
PAIR = ("image", "text")
RATES = [1e-9, 3e-2, 1e-8]  # only the second one learns within three epochs
GRID = SearchConfig(method="grid", space={"learning_rate": RATES})
BAYES = SearchConfig(
    method="bayes",
    trials=19,
    space={"learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}, "dropout": [0.0, 0.3]},
)


@pytest.fixture
def make_store(tmp_path: Path) -> Any:
    def make(name: str = "one") -> StudyStore:
        nothing = pa.table({"sample_id": pa.array([], pa.string())})
        return StudyStore.create(Root(tmp_path / name), "study-1", {}, nothing, nothing)

    return make


@pytest.fixture
def store(make_store: Any) -> StudyStore:
    return make_store()


def _plan(search: SearchConfig | None, head: str = "weighted", **changes: Any) -> HeadPlan:
    given = {"subsets": (PAIR,), "training": TRAINING, **changes}
    return HeadPlan(head=head, search=search, **given)


def _run(
    block: FeatureBlock, splits: Sequence[Split], store: StudyStore, *plans: HeadPlan, report: Any = None
) -> RunBooks:
    return study_of(block, splits, plans, store, seed=0, device="cpu", report=report).run()


def _trials(store: StudyStore) -> list[tuple[Any, ...]]:
    """Everything logged of trials but the seconds, in order."""
    rows = store.log("trials").drop(["seconds"]).to_pylist()
    return sorted(tuple(row.values()) for row in rows)


def _used(store: StudyStore, books: RunBooks, name: str = "learning_rate") -> list[Any]:
    runs = store.runs()
    assert runs is not None
    hyper = dict(zip(runs["run_id"].to_pylist(), map(json.loads, runs["hyper"].to_pylist()), strict=True))
    return [hyper[run][name] for run in books.run_ids]


def _develop(block: FeatureBlock, split: Split) -> Development:
    return develop(block, to_device(block, torch.device("cpu")), split, seed=5)


def _search(config: SearchConfig) -> Search:
    return plan_search(config, Weighted, WeightedConfig(), TRAINING)


SUBJECT = Subject(head=Weighted, config=WeightedConfig(), training=TRAINING, modalities=PAIR)


def test_a_grid_takes_the_planted_rate_and_the_run_is_trained_with_it(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    books = _run(block, splits, store, _plan(GRID))
    assert _used(store, books) == [3e-2] * 4
    trials = store.log("trials").to_pylist()
    assert sorted((row["repeat"], row["trial"]) for row in trials) == [(r, t) for r in range(4) for t in range(3)]
    assert {row["head"] for row in trials} == {"weighted"}
    given = [_run(block, splits, store, _plan(None, training=replace(TRAINING, learning_rate=3e-2))).run_ids]
    tables = [store.predictions(ids)["posterior"].to_pylist() for ids in (books.run_ids, given[0])]
    np.testing.assert_allclose(np.sort(tables[0], axis=0), np.sort(tables[1], axis=0), atol=1e-5)


def test_a_trial_is_worth_the_lowest_validation_loss_of_its_training(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    books = _run(block, splits, store, _plan(GRID))
    curves = store.runs().to_pylist()
    lowest = {row["repeat"]: min(p["val_loss"] for p in json.loads(row["curves"])) for row in curves}
    best = {r["repeat"]: r["value"] for r in store.log("trials").to_pylist() if json.loads(r["settings"]) == _point()}
    assert len(books.run_ids) == len(best) == 4
    assert best == pytest.approx(lowest, abs=1e-5)


def _point() -> dict[str, float]:
    return {"learning_rate": 3e-2}


def test_a_run_is_named_before_it_is_searched_whatever_is_chosen(
    block: FeatureBlock, splits: list[Split], make_store: Any
) -> None:
    plan, plain = _plan(GRID), _plan(None)
    scrambled = replace(block, labels=np.random.default_rng(0).permutation(block.labels))
    books = [_run(own, splits, make_store(str(i)), plan) for i, own in enumerate((block, scrambled))]
    assert books[0].run_ids == books[1].run_ids
    assert not set(books[0].run_ids) & set(_run(block, splits, make_store("plain"), plain).run_ids)
    named = [_run(block, splits, make_store("0"), _plan(replace(GRID, trials=budget))) for budget in (3, 50)]
    assert {own.run_ids for own in named} == {books[0].run_ids}
    assert _run(block, splits, make_store("0"), _plan(replace(GRID, on="k-fold"))).trained == 4


def test_nothing_is_searched_again(block: FeatureBlock, splits: list[Split], store: StudyStore) -> None:
    plan = _plan(GRID)
    _run(block, splits, store, plan)
    before = _trials(store)
    again = _run(block, splits, store, plan)
    assert (again.trained, _trials(store)) == (0, before)
    for name in store.root.names(store.folder, "runs"):
        store.root.delete(store.folder, "runs", name)
    assert (_run(block, splits, store, plan).trained, _trials(store)) == (4, before)


def test_a_search_opens_no_test_part(
    block: FeatureBlock, splits: list[Split], make_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, searched = make_store(), make_store("searched")
    _run(block, splits, store, _plan(None))
    _run(block, splits, searched, _plan(replace(GRID, on="k-fold", folds=3)))
    assert len(store.log("openings")) == len(searched.log("openings")) == 4


def test_a_bayesian_search_is_the_same_every_time_and_comes_near_the_best_rate(
    block: FeatureBlock, splits: list[Split], make_store: Any
) -> None:
    stores = [make_store(name) for name in "ab"]
    books = [_run(block, splits[:2], own, _plan(BAYES)) for own in stores]
    assert _trials(stores[0]) == _trials(stores[1])
    assert all(rate > 3e-3 for rate in _used(stores[0], books[0]))
    rates = {(t["repeat"], t["trial"]): _rate(t["settings"]) for t in stores[0].log("trials").to_pylist()}
    assert sorted(rates) == [(repeat, trial) for repeat in range(2) for trial in range(19)]
    assert all(1e-5 <= rate <= 1e-1 for rate in rates.values())
    first, last = ([np.log10(r) for (_, t), r in rates.items() if t in own] for own in (range(8), range(16, 19)))
    assert np.mean(last) > np.mean(first) + 0.5  # later rounds look where it is good


def _rate(settings: str) -> float:
    return float(json.loads(settings)["learning_rate"])


class _Killed(Exception):
    pass


@pytest.mark.parametrize("survives", [1, 2, 3])
def test_a_killed_search_goes_on_as_if_undisturbed(
    block: FeatureBlock, splits: list[Split], make_store: Any, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    """A round of two widths is two stacks, so it is killed between rounds and in the middle of one."""
    search = replace(BAYES, trials=12, space={**BAYES.space, "width": [4, 8]})
    whole, broken = make_store("whole"), make_store("broken")
    plan = _plan(search)
    books = _run(block, splits[:1], whole, plan)
    appended, append = [], StudyStore.append

    def fragile(self: StudyStore, log: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if log == "trials" and len(appended) == survives:
            raise _Killed
        appended.extend([log] if log == "trials" else [])
        append(self, log, rows)

    with monkeypatch.context() as patched:
        patched.setattr(StudyStore, "append", fragile)
        with pytest.raises(_Killed):
            _run(block, splits[:1], broken, plan)
    kept = _trials(broken)
    assert 0 < len(kept) < 12
    assert _run(block, splits[:1], broken, plan).run_ids == books.run_ids
    assert _trials(broken) == _trials(whole)
    assert set(kept) < set(_trials(broken))


@pytest.mark.parametrize("search", [GRID, replace(GRID, on="k-fold", folds=3)], ids=["val", "k-fold"])
def test_what_fits_into_memory_does_not_change_what_is_chosen(
    block: FeatureBlock, splits: list[Split], make_store: Any, monkeypatch: pytest.MonkeyPatch, search: SearchConfig
) -> None:
    together, apart = make_store("together"), make_store("apart")
    books = _run(block, splits, together, _plan(search))
    monkeypatch.setattr("fusion.training.STACK_BYTES", 1)
    assert _used(apart, _run(block, splits, apart, _plan(search))) == _used(together, books)
    (a, b) = ([row[-1] for row in _trials(own)] for own in (together, apart))
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert len(apart.root.names(apart.folder, "trials")) == 12  # one a trial


def test_settings_that_were_tried_are_not_trained_again(
    block: FeatureBlock, splits: list[Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = [1e-2, *(1e-9 * n for n in range(1, 13))]
    search = _search(SearchConfig(method="bayes", trials=12, space={"learning_rate": rates}))
    trained: list[float] = []
    train = choosing.run_trials.__globals__["_values"]

    def counted(subject: Subject, development: Development, tried: Sequence[Mapping[str, Any]]) -> Any:
        trained.extend(settings["learning_rate"] for settings in tried)
        return train(subject, development, tried)

    monkeypatch.setattr("fusion.search._values", counted)
    made = [t for own in run_trials(search, SUBJECT, _develop(block, splits[0]), (), 1) for t in own]
    assert sorted(trial.number for trial in made) == list(range(12))
    assert len(trained) == len(set(trained)) < 12
    assert len({(trial.settings["learning_rate"], trial.value) for trial in made}) == len(trained)


def test_every_head_and_subset_has_the_same_budget(block: FeatureBlock, splits: list[Split], store: StudyStore) -> None:
    search = replace(BAYES, trials=3)
    plans = [_plan(search, subsets=(PAIR, ("image", "speech"))), _plan(search, "unimodal", subsets=(("text",),))]
    _run(block, splits[:2], store, *plans)
    spent: dict[str, int] = {}
    for row in store.log("trials").to_pylist():
        spent[row["search_id"]] = spent.get(row["search_id"], 0) + 1
    assert list(spent.values()) == [3] * 6


def test_once_a_study_means_one_search_in_the_first_repeat_for_all(
    block: FeatureBlock, splits: list[Split], make_store: Any
) -> None:
    once, nested = make_store("once"), make_store("nested")
    search = replace(BAYES, trials=4)
    books = _run(block, splits, once, _plan(replace(search, scope="study")))
    _run(block, splits, nested, _plan(search))
    assert {row["repeat"] for row in once.log("trials").to_pylist()} == {0}
    assert len(once.log("trials")) == 4
    assert len(set(_used(once, books))) == 1
    of_first = [row[4:] for row in _trials(nested) if row[3] == 0]
    assert [row[4] for row in _trials(once)] == [row[0] for row in of_first]


def test_a_variant_is_searched_from_its_own_training(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    smooth = _plan(GRID, training=replace(TRAINING, label_smoothing=0.1), variant="smooth")
    books = _run(block, splits[:2], store, _plan(GRID), smooth)
    assert len({row["search_id"] for row in store.log("trials").to_pylist()}) == 4
    assert _used(store, books, "label_smoothing") == [0.0, 0.0, 0.1, 0.1]


def test_another_base_is_another_search(block: FeatureBlock, splits: list[Split], store: StudyStore) -> None:
    plans = [_plan(GRID, "low_rank", config={"rank": rank}) for rank in (1, 2)]
    _run(block, splits[:1], store, *plans, _plan(replace(GRID, on="k-fold", folds=3), "low_rank", config={"rank": 1}))
    assert len({row["search_id"] for row in store.log("trials").to_pylist()}) == 3


def test_settings_of_the_head_itself_are_searched(block: FeatureBlock, splits: list[Split], store: StudyStore) -> None:
    search = replace(GRID, space={"rank": [1, 3], "learning_rate": [3e-2]})
    books = _run(block, splits[:2], store, _plan(search, "low_rank"))
    tried = {json.loads(row["settings"])["rank"] for row in store.log("trials").to_pylist()}
    assert tried == {1, 3}
    assert set(_used(store, books, "rank")) <= {1, 3}


def test_what_reads_searched_posteriors_is_another_run(
    block: FeatureBlock, splits: list[Split], store: StudyStore
) -> None:
    singles, vote = (("image",), ("text",)), _plan(None, "vote")
    plain = _run(block, splits[:2], store, _plan(None, "unimodal", subsets=singles), vote)
    searched = _run(block, splits[:2], store, _plan(GRID, "unimodal", subsets=singles), vote)
    assert not set(plain.run_ids) & set(searched.run_ids)


def test_folds_hold_whole_groups_and_every_class_and_each_sample_validates_once(
    block: FeatureBlock, splits: list[Split]
) -> None:
    folds = _develop(block, splits[1]).in_folds(5)
    own = folds.block
    assert len(folds.splits) == 5
    for split in folds.splits:
        assert not set(own.groups[split.train]) & set(own.groups[split.val])
        assert len(np.unique(own.labels[split.train])) == len(np.unique(own.labels[split.val])) == 3
        assert len(split.test) == 0
    held = np.concatenate([split.val for split in folds.splits])
    assert sorted(held) == list(range(len(splits[1].train) + len(splits[1].val)))
    again = _develop(block, splits[1]).in_folds(5)
    assert [split.val.tolist() for split in again.splits] == [split.val.tolist() for split in folds.splits]


def test_more_folds_than_groups_are_refused_with_the_numbers(block: FeatureBlock, splits: list[Split]) -> None:
    development = _develop(block, splits[0])
    groups, n = len(np.unique(development.block.groups)), len(development.block.labels)
    with pytest.raises(SplitError, match=rf"on 40 folds.* {n} samples of {groups} groups.*joy: {groups}.*fewer folds"):
        development.in_folds(40)


def test_a_trial_on_folds_is_worth_the_mean_of_its_folds(block: FeatureBlock, splits: list[Split]) -> None:
    search = _search(replace(GRID, on="k-fold", folds=3))
    folds = _develop(block, splits[0]).in_folds(3)
    alone = [replace(folds, splits=(split,)) for split in folds.splits]
    values = [[t.value for own in run_trials(search, SUBJECT, where, (), 0) for t in own] for where in (folds, *alone)]
    np.testing.assert_allclose(values[0], np.mean(values[1:], axis=0), atol=1e-6)


def test_a_fold_reads_views_of_those_it_trains_on_only(varied: FeatureBlock, splits: list[Split]) -> None:
    folds = _develop(varied, splits[2]).in_folds(3)
    viewed = np.isin(folds.block.sample_ids, np.array(varied.sample_ids)[splits[2].train])
    for number, split in enumerate(folds.splits):
        views = folds.block.repeat_views("image", number)
        assert (views[:, split.val] == ABSENT).all()
        assert ((views[:, split.train] != ABSENT) == viewed[split.train]).all()
    search = _search(replace(GRID, on="k-fold", folds=3))
    assert len([t for own in run_trials(search, SUBJECT, folds, (), 0) for t in own]) == 3


def test_a_training_that_diverges_is_never_chosen_and_spoils_no_other(block: FeatureBlock, splits: list[Split]) -> None:
    config = SearchConfig(space={"learning_rate": [3e-2, 1e38], "weight_decay": [0.0]})
    search = plan_search(config, Weighted, WeightedConfig(), replace(TRAINING, optimiser="sgd"))
    subject = replace(SUBJECT, training=replace(TRAINING, optimiser="sgd"))
    trials = [t for own in run_trials(search, subject, _develop(block, splits[0]), (), 0) for t in own]
    assert [np.isfinite(trial.value) for trial in trials] == [True, False]
    assert best_of(trials).settings["learning_rate"] == 3e-2
    with pytest.raises(TrainingError, match="none of the 1 settings"):
        best_of(trials[1:])


def test_memory_that_runs_out_is_said_and_no_trial_of_it_is_logged(
    block: FeatureBlock, splits: list[Split], store: StudyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr("fusion.training.train_stacked", full)
        with pytest.raises(TrainingError, match="memory ran out with a single member"):
            _run(block, splits, store, _plan(GRID))
    assert not len(store.log("trials"))
    assert set(_used(store, _run(block, splits, store, _plan(GRID)))) == {3e-2}


def test_of_equals_the_first_is_taken() -> None:
    trials = [Trial(number=n, settings={"dropout": n / 10}, value=0.5, seconds=1) for n in (2, 0, 1)]
    assert best_of(trials).number == 0


# --- what a search can see of the samples it must not see


def _reachable(*roots: object) -> Iterator[object]:
    """Everything that can be got at from some objects: what they refer to, and the memory behind arrays.

    Classes, modules and functions are code; their closures and defaults are followed.
    """
    seen, waiting = set(), list(roots)
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type | types.ModuleType):
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, types.FunctionType):
            waiting += [found.__closure__, found.__defaults__, found.__kwdefaults__]
            continue
        waiting += gc.get_referents(found)
        waiting += [vars(found)] if hasattr(found, "__dict__") else []
        if isinstance(found, np.ndarray) and found.base is not None:
            waiting.append(found.base)


@pytest.fixture
def handed_over(
    block: FeatureBlock, splits: list[Split], store: StudyStore, monkeypatch: pytest.MonkeyPatch
) -> list[Sequence[object]]:
    """The arguments of every search of a study, one a repeat, with ids and labels that tell whose they are."""
    calls: list[Sequence[object]] = []

    def spied(*arguments: Any) -> Iterator[list[Trial]]:
        calls.append(arguments)
        return run_trials(*arguments)

    monkeypatch.setattr(choosing, "run_trials", spied)
    _run(block, splits, store, _plan(replace(GRID, on="k-fold", folds=3)))
    return calls


def test_no_id_group_or_label_of_a_test_sample_can_be_reached_from_a_search(
    block: FeatureBlock, splits: list[Split], handed_over: list[Sequence[object]]
) -> None:
    assert len(handed_over) == 4
    for split, arguments in zip(splits, handed_over, strict=True):
        ids = {block.sample_ids[i] for i in split.test}
        groups = set(block.groups[split.test])
        sizes = set()
        for found in _reachable(*arguments):
            if isinstance(found, str):
                assert found not in ids | groups
            if isinstance(found, np.ndarray) and found.dtype.kind in "UO":
                assert not set(found.ravel().tolist()) & (ids | groups)
            if isinstance(found, np.ndarray) and found.dtype.kind in "iu":
                sizes.add(found.shape[-1])
            assert not isinstance(found, StudyStore | Root)
        development = len(split.train) + len(split.val)
        assert development in sizes
        assert max(sizes) == development  # no array of integers has a place for the label of a test sample


def test_the_walk_finds_what_is_hidden_in_a_closure_a_view_or_an_attribute(
    block: FeatureBlock, splits: list[Split]
) -> None:
    development = _develop(block, splits[0])
    labels = block.labels
    view = replace(development, block=replace(development.block, labels=labels[: len(development.block.labels)]))
    for hiding in (lambda: labels, view, {"a": [types.SimpleNamespace(b=block)]}):
        assert any(found is labels for found in _reachable(hiding))


def test_no_row_of_a_test_sample_is_among_the_rows_a_search_reads(
    block: FeatureBlock, splits: list[Split], handed_over: list[Sequence[object]]
) -> None:
    for split, arguments in zip(splits, handed_over, strict=True):
        development = next(own for own in arguments if isinstance(own, Development))
        for modality in block.modalities:
            assert development.values[modality].data_ptr() != 0
            read = set(development.block.rows[modality].ravel().tolist())
            assert read == set(block.rows[modality][0, np.concatenate([split.train, split.val])].tolist())
            assert not read & set(block.rows[modality][0, split.test].tolist())


@pytest.mark.parametrize(
    "search", [replace(BAYES, trials=9), replace(GRID, on="k-fold", folds=3)], ids=["val", "folds"]
)
def test_garbage_in_place_of_the_test_samples_changes_no_byte_of_a_search(
    block: FeatureBlock, splits: list[Split], make_store: Any, search: SearchConfig
) -> None:
    clean, spoiled = make_store("clean"), make_store("spoiled")
    split = splits[0]
    rng, values, labels = np.random.default_rng(9), {}, block.labels.copy()
    for modality, rows in block.values.items():
        values[modality] = rows.copy()
        values[modality][split.test] = rng.normal(0, 1000, (len(split.test), rows.shape[1]))
    labels[split.test] = 2
    garbage = replace(block, values=values, labels=labels)
    books = [_run(own, [split], store, _plan(search)) for own, store in ((block, clean), (garbage, spoiled))]
    assert _trials(clean) == _trials(spoiled)
    assert _used(clean, books[0]) == _used(spoiled, books[1])
    tested = [
        store.predictions(own.run_ids)["posterior"].to_pylist()
        for own, store in zip(books, (clean, spoiled), strict=True)
    ]
    assert tested[0] != tested[1]  # the garbage is there


# --- what may be searched


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"space": {"learning_rat": [1e-3]}},
            "of low_rank. has an unknown key 'learning_rat'; did you mean 'learning_",
        ),
        ({"space": {"rnk": [2]}}, "did you mean 'rank'"),
        ({"space": "papers"}, "'papers' is not ready-made; did you mean 'paper'"),
        ({"space": {}}, "is empty"),
        ({"space": {"epochs": [10, 20]}}, "epochs cannot be searched: more of it can only lower"),
        ({"space": {"balance": ["smote"]}}, "balance cannot be searched.*compare .variants"),
        ({"space": {"dropout": [0.1, 1.5]}}, r"dropout should be in \[0, 1\), got 1.5"),
        ({"space": {"rank": [0]}}, "rank should be 1 or more"),
        ({"space": {"width": [8, "16"]}}, "width: Input should be a valid integer"),
        ({"space": {"rank": [1, 2], "low_rank.rank": [3]}}, "rank and low_rank.rank are the same setting"),
        ({"space": {"dropout": 0.1}}, "should be a list of values"),
        ({"space": {"dropout": [0.1, 0.1]}}, "names a value twice"),
        ({"space": {"dropout": {"low": 0.5, "high": 0.1}}}, "low below high"),
        ({"space": {"dropout": {"low": 0.0, "high": 0.1, "log": True}}}, "above 0 if log"),
        ({"space": {"dropout": {"low": 0.1}}}, "lacks the key 'high'"),
        ({"space": {"dropout": {"low": 0.1, "hihg": 0.2}}}, "did you mean 'high'"),
        ({"space": {"classifier": {"low": "linear", "high": "hidden"}}}, "is not a number"),
        ({"space": {"rank": {"low": 1, "high": 4}}}, "rank shapes a head.*give a list"),
        ({"space": {"width": {"low": 8, "high": 16}}}, "width shapes a head.*give a list"),
        ({"space": "default"}, 'dropout is a range, and a grid needs lists.*method = "bayes"'),
        ({"trials": 5}, r"low_rank has 6 points \(2 x 3\), but trials = 5 for every head: raise trials"),
    ],
)
def test_what_cannot_be_searched_is_refused_when_it_is_planned(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _plan(SearchConfig(**config), "low_rank")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"method": "random"}, "^method should be one of grid, bayes"),
        ({"method": "bayesian"}, "did you mean 'bayes'"),
        ({"on": "test"}, "on should be one of val, k-fold, got 'test'"),
        ({"scope": "head"}, "scope should be one of repeat, study"),
        ({"folds": 1}, "folds should be 2 or more"),
        ({"trials": 0}, "trials 1 or more"),
    ],
)
def test_a_search_that_cannot_be_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchConfig(**config)


def test_settings_a_head_cannot_be_built_with_are_refused_when_it_is_planned() -> None:
    plan = _plan(replace(GRID, space={"heads": [2, 4], "width": [8, 16]}), "attention")
    assert plan.searched is not None
    with pytest.raises(ConfigError, match="heads"):
        _plan(replace(GRID, space={"heads": [2, 4], "width": [8, 10]}), "attention")


def test_every_combination_of_what_shapes_a_head_is_tried_out_when_it_is_planned() -> None:
    fine = {"heads": [1, 2, 4], "width": [8 * n for n in range(1, 31)]}
    assert _plan(SearchConfig(method="bayes", space=fine), "attention").searched is not None
    with pytest.raises(ConfigError, match="10 and 4"):
        _plan(SearchConfig(method="bayes", space={**fine, "width": [*fine["width"], 10]}), "attention")


def test_a_bayesian_search_with_no_more_points_than_trials_is_the_grid_of_them() -> None:
    assert _search(SearchConfig(method="bayes", trials=6)) == _search(SearchConfig())
    assert _search(SearchConfig(method="bayes", trials=5)).method == "bayes"


def test_what_trains_nothing_has_nothing_to_search() -> None:
    with pytest.raises(ConfigError, match="vote trains nothing"):
        _plan(GRID, "vote")


def test_the_papers_space_is_its_grid_for_fusion() -> None:
    search = _search(SearchConfig())
    assert search.trials == 6
    assert search.as_dict()["space"] == {
        "learning_rate": {"values": [1e-4, 5e-4]},
        "weight_decay": {"values": [0.0, 1e-5, 1e-4]},
    }
    written = {"weight_decay": [0, 1e-5, 1e-4], "learning_rate": [1e-4, 5e-4]}
    assert _search(SearchConfig(space=written)) == search


def test_a_name_that_both_have_is_the_trainings_unless_it_names_the_head() -> None:
    space = {"width": [8, 16], "tensor.width": [3, 4]}
    plan = _plan(SearchConfig(space=space), "tensor")
    assert plan.searched is not None
    settings = {"width": 16, "tensor.width": 3}
    config, training = choosing.with_settings(settings, plan.settings, plan.training)
    assert (config.width, training.width) == (3, 16)  # type: ignore[attr-defined]
    plain = plan_search(SearchConfig(space={"low_rank.rank": [2, 3]}), LowRank, LowRankConfig(), TRAINING)
    assert list(plain.space) == ["low_rank.rank"]


def test_integers_stay_integers_in_a_range(block: FeatureBlock, splits: list[Split]) -> None:
    search = _search(SearchConfig(method="bayes", trials=3, space={"batch_size": {"low": 16, "high": 32}}))
    trials = [t for own in run_trials(search, SUBJECT, _develop(block, splits[0]), (), 0) for t in own]
    assert all(
        type(trial.settings["batch_size"]) is int and 16 <= trial.settings["batch_size"] <= 32 for trial in trials
    )


class _Told:
    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.finished: list[str] = []

    def start(self, name: str, total: int, unit: str) -> None:
        self.totals[name] = total

    def advance(self, name: str, n: int = 1) -> None:
        self.done[name] = self.done.get(name, 0) + n

    def finish(self, name: str) -> None:
        self.finished.append(name)


def test_trials_have_a_progress_of_their_own(block: FeatureBlock, splits: list[Split], store: StudyStore) -> None:
    told, again = _Told(), _Told()
    _run(block, splits, store, _plan(GRID), report=told)
    assert told.totals == told.done == {"fusion heads": 4, "search": 12}
    assert told.finished == ["search", "fusion heads"]
    _run(block, splits, store, _plan(GRID), report=again)
    assert again.totals == {"fusion heads": 0}


def test_trials_that_are_gone_are_made_again_with_the_runs_they_chose_the_settings_of(
    block: FeatureBlock, splits: list[Split], make_store: Any
) -> None:
    store, plan = make_store("own"), _plan(GRID)
    books, before = _run(block, splits, store, plan), _trials(store)
    used = _used(store, books)
    store.root.delete(store.folder, "trials", store.root.names(store.folder, "trials")[0])
    assert len(_trials(store)) < len(before)
    assert _run(block, splits, store, plan).trained > 0
    assert _trials(store) == before
    assert _used(StudyStore(store.root, store.id), books) == used
    assert _run(block, splits, store, plan).trained == 0
