from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from fusion.balance import make_roster
from fusion.errors import FeatureError, TrainingError
from fusion.heads._head import HeadConfig
from fusion.heads.concat import Concat
from fusion.heads.weighted import Weighted, WeightedConfig
from fusion.inputs import Inputs, to_device
from fusion.splits import ProtocolConfig, Split, make_splits
from fusion.stack import Member, Stack, Trainee, epoch_readings
from fusion.training import cross_entropies, train_stacked
from fusion.training_config import TrainingConfig
from stores.block import ABSENT, FeatureBlock
from stores.errors import ConfigError


@dataclass(frozen=True)
class _Fitted:
    """A member's training, and what it says of its parts."""

    best_epoch: int
    curves: tuple[Mapping[str, float], ...]
    weights: dict[str, float]
    val: np.ndarray
    test: np.ndarray


FAST = TrainingConfig(learning_rate=3e-3, epochs=12, epoch_steps=1, least_gain=0, width=16, batch_size=16)
SEEDS = [11, 12, 13, 14]


def _train(
    block: FeatureBlock,
    splits: list[Split],
    training: TrainingConfig = FAST,
    *,
    members: tuple[int, ...] = (0, 1, 2, 3),
    modalities: tuple[str, ...] = ("image", "text"),
    settings: Sequence[Mapping[str, Any]] = ({}, {}, {}, {}),
) -> list[_Fitted]:
    """Train members of a stack; `settings` are each member's own."""
    own = [splits[m] for m in members]
    values = to_device(block, torch.device("cpu"))
    inputs = Inputs(block, values, modalities, own, training.input_norm, training.precision)
    build = partial(Weighted, WeightedConfig())
    return _told(
        train_stacked(
            build,
            block,
            inputs,
            [Member(split=splits[m], seed=SEEDS[m], training=replace(training, **settings[m])) for m in members],
        ),
        modalities,
    )


def _told(stack: Stack, modalities: tuple[str, ...]) -> list[_Fitted]:
    return [
        _Fitted(
            best_epoch=fitted.best_epoch,
            curves=fitted.curves,
            weights={}
            if fitted.weights is None
            else dict(zip(sorted(modalities), fitted.weights.tolist(), strict=True)),
            val=fitted.val.posteriors,
            test=test.posteriors,
        )
        for fitted, test in zip(stack.fitted, stack.predict("test"), strict=True)
    ]


def _uneven(splits: list[Split]) -> list[Split]:
    """The same splits with training parts of 84, 63, 42 and 20 samples or so: other numbers of steps."""
    return [replace(s, train=s.train[: len(s.train) * (4 - i) // 4]) for i, s in enumerate(splits)]


def _hard(block: FeatureBlock) -> FeatureBlock:
    """The same block with every third label drawn anew: validation loss soon rises again."""
    labels = block.labels.copy()
    labels[::3] = np.random.default_rng(1).integers(3, size=40)
    return replace(block, labels=labels)


def _of_trainees(block: FeatureBlock, splits: list[Split]) -> FeatureBlock:
    """Leave out the views of samples that these splits do not train on."""
    views = {m: rows.copy() for m, rows in block.views.items()}
    for split in splits:
        for rows in views.values():
            rows[split.repeat][:, np.setdiff1d(np.arange(120), split.train)] = ABSENT
    return replace(block, views=views)


def test_a_planted_signal_is_found(block: FeatureBlock, splits: list[Split]) -> None:
    for fitted, split in zip(_train(block, splits), splits, strict=True):
        assert fitted.test.shape == (len(split.test), 3)
        assert fitted.test.dtype == np.float32
        assert np.allclose(fitted.test.sum(axis=1), 1, atol=1e-5)
        assert np.mean(fitted.test.argmax(axis=1) == block.labels[split.test]) > 0.8


def test_noise_is_not_mistaken_for_a_signal(block: FeatureBlock, splits: list[Split]) -> None:
    shuffled = replace(block, labels=np.random.default_rng(0).permutation(block.labels))
    hits = [
        np.mean(fitted.test.argmax(axis=1) == shuffled.labels[split.test])
        for fitted, split in zip(_train(shuffled, splits), splits, strict=True)
    ]
    assert np.mean(hits) < 0.6


def test_equal_seeds_give_equal_bytes(block: FeatureBlock, splits: list[Split]) -> None:
    first, again = (_train(block, splits)[0] for _ in range(2))
    assert first.test.tobytes() == again.test.tobytes()
    assert first.curves == again.curves


def test_halved_batches_and_longer_epochs_are_a_members_own(block: FeatureBlock, splits: list[Split]) -> None:
    training = replace(FAST, batch_size=64, epoch_steps=3, epochs=4)  # batches of 32, as 120 samples are 2 of 64
    stacked = _train(block, _uneven(splits), training)
    assert [len(fitted.curves) for fitted in stacked] == [4, 8, 8, 12]  # 3, 2, 2 steps and 1 in an epoch
    for m in range(4):
        (alone,) = _train(block, _uneven(splits), training, members=(m,))
        np.testing.assert_allclose(alone.test, stacked[m].test, atol=1e-5)


@pytest.mark.parametrize("views", [False, True])
@pytest.mark.parametrize("input_norm", ["batch", "layer"])
def test_a_member_alone_is_the_member_in_a_stack_whatever_the_others_do(
    block: FeatureBlock, varied: FeatureBlock, splits: list[Split], input_norm: str, views: bool
) -> None:
    uneven = _uneven(splits)
    block = _of_trainees(_hard(varied), uneven) if views else _hard(block)
    training = replace(FAST, input_norm=input_norm, patience=2, plateau_epochs=1, learning_rate=1e-2, epochs=15)
    stacked = _train(block, uneven, training)
    assert len({len(fitted.curves) for fitted in stacked}) > 1  # some stop before others
    for m in range(4):
        (alone,) = _train(block, uneven, training, members=(m,))
        assert alone.best_epoch == stacked[m].best_epoch
        np.testing.assert_allclose(alone.test, stacked[m].test, atol=1e-5)
        np.testing.assert_allclose(alone.val, stacked[m].val, atol=1e-5)
        for mine, theirs in zip(alone.curves, stacked[m].curves, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-5)


OWN_SETTINGS: list[dict[str, Any]] = [
    {"learning_rate": 1e-2, "dropout": 0.0, "weight_decay": 0.1},
    {"label_smoothing": 0.2, "epochs": 5, "patience": 2},
    {"modality_dropout": 0.4, "plateau_epochs": 1},
    {"balance": "class_weights", "balance_target": 2.0, "plateau_decay": 0.1},
]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd", "rmsprop"])
def test_members_of_one_stack_may_be_trained_each_in_its_own_way(
    block: FeatureBlock, splits: list[Split], optimiser: str, precision: str
) -> None:
    tolerance = 1e-5 if precision == "float32" else 2e-2
    training = replace(FAST, optimiser=optimiser, precision=precision, classifier="residual", epochs=6)
    stacked = _train(_hard(block), splits, training, settings=OWN_SETTINGS)
    plain = _train(_hard(block), splits, training)
    for m in range(4):
        (alone,) = _train(_hard(block), splits, training, members=(m,), settings=OWN_SETTINGS)
        np.testing.assert_allclose(alone.test, stacked[m].test, atol=tolerance)
        assert len(alone.curves) == len(stacked[m].curves)
        assert not np.allclose(plain[m].test, stacked[m].test, atol=1e-3)  # its settings matter


def test_what_saves_memory_traffic_changes_no_result(
    block: FeatureBlock, splits: list[Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _train(block, splits)
    monkeypatch.setattr("fusion.optimiser._WIDE", 1)
    monkeypatch.setattr("fusion.inputs._IN_CACHE", 1)
    for mine, theirs in zip(_train(block, splits), plain, strict=True):
        np.testing.assert_allclose(mine.test, theirs.test, atol=1e-5)
        assert mine.best_epoch == theirs.best_epoch


def test_label_smoothing_is_torchs_for_each_member() -> None:
    logits = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(14).reshape(2, 7) % 4
    losses = cross_entropies(logits, labels, torch.tensor([[0.0], [0.3]]))
    for m, smoothing in enumerate((0.0, 0.3)):
        plain = torch.nn.functional.cross_entropy(logits[m], labels[m], reduction="none", label_smoothing=smoothing)
        torch.testing.assert_close(losses[m], plain)


def test_modality_dropout_hides_its_share_and_never_everything(block: FeatureBlock, splits: list[Split]) -> None:
    block.rows["text"][0, splits[0].train[:20]] = ABSENT
    inputs = Inputs(block, to_device(block, torch.device("cpu")), ("image", "text"), splits[:1], "batch")
    member = Member(split=splits[0], seed=1, training=replace(FAST, modality_dropout=0.3, batch_size=1000))
    roster = make_roster(block, splits[0].train, ("image", "text"), 0, balance="none", target=0.35, seed=1)
    trainee = Trainee(place=0, batch=1000, member=member, roster=roster)
    shares = []
    for _ in range(60):
        ((reading, _),) = epoch_readings(inputs, [trainee])
        assert reading.hidden is not None
        present = inputs.batch(reading, torch.tensor([0]))[1][0, : len(splits[0].train)]
        assert present.any(dim=1).all()
        both = inputs.there[0][reading.samples[0, : len(splits[0].train)]].all(dim=1)
        shares.append((~present[both]).float().mean().item())
    assert np.mean(shares) == pytest.approx(0.3 - 0.3**2 / 2, abs=0.01)  # of two, one stays where both were drawn


def test_the_best_epochs_weights_are_kept(block: FeatureBlock, splits: list[Split]) -> None:
    training = replace(FAST, learning_rate=0.05, epochs=30, patience=4)
    block = _hard(block)
    for fitted, split in zip(_train(block, splits, training), splits, strict=True):
        losses = [point["val_loss"] for point in fitted.curves]
        assert fitted.best_epoch == 1 + int(np.argmin(losses))
        assert [point["epoch"] for point in fitted.curves] == list(range(1, len(losses) + 1))
        assert len(losses) == min(fitted.best_epoch + 4, 30)
        kept = -np.log(fitted.val[np.arange(len(split.val)), block.labels[split.val]]).mean()
        assert kept == pytest.approx(min(losses), abs=1e-5)
        hits = np.mean(fitted.val.argmax(axis=1) == block.labels[split.val])
        assert hits == pytest.approx(fitted.curves[fitted.best_epoch - 1]["val_accuracy"])


@pytest.mark.parametrize("views", [False, True])
def test_one_member_trains_as_a_plain_torch_loop_does(
    block: FeatureBlock, varied: FeatureBlock, splits: list[Split], views: bool
) -> None:
    block = varied if views else block
    training = TrainingConfig(
        learning_rate=1e-2,
        epochs=6,
        patience=6,
        plateau_epochs=6,
        width=8,
        dropout=0.0,
        input_norm="none",
        batch_size=7,
    )
    split = splits[0]
    inputs = Inputs(block, to_device(block, torch.device("cpu")), ("text",), [split], "none")
    built: list[Concat] = []

    def build(frame: object) -> Concat:
        built.append(Concat(HeadConfig(), frame))  # type: ignore[arg-type]
        start.append({name: p.detach()[0].clone() for name, p in built[0].named_parameters()})
        return built[0]

    start: list[dict[str, torch.Tensor]] = []
    stack = train_stacked(build, block, inputs, [Member(split=split, seed=5, training=training)])
    (fitted,) = stack.fitted
    plain = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with torch.no_grad():
        names = ("blocks.text.weight", "bias", "classify.out.weight", "classify.out.bias")
        for own, name in zip(plain.parameters(), names, strict=True):
            given = start[0][name]
            own.copy_(given.T if own.ndim == 2 else given[0])
    adam = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=1e-5)
    x, y = torch.from_numpy(block.values["text"]).float(), torch.from_numpy(block.labels)
    shuffle, drawing = np.random.default_rng([5, 1]), np.random.default_rng([5, 2])
    for epoch in range(6):
        order = torch.from_numpy(shuffle.permutation(split.train))
        drawn = torch.from_numpy(drawing.integers(2, size=len(order))) if views else torch.zeros(len(order)).long()
        total = 0.0
        for batch, version in zip(order.split(7), drawn.split(7), strict=True):
            adam.zero_grad()
            loss = torch.nn.functional.cross_entropy(plain(x[batch + 120 * version]), y[batch])
            loss.backward()
            adam.step()
            total += loss.item() * len(batch)
        assert fitted.curves[epoch]["train_loss"] == pytest.approx(total / len(order), abs=1e-5)
        with torch.no_grad():
            val_loss = torch.nn.functional.cross_entropy(plain(x[split.val]), y[split.val]).item()
        assert fitted.curves[epoch]["val_loss"] == pytest.approx(val_loss, abs=1e-5)


def test_the_rate_falls_on_a_plateau(block: FeatureBlock, splits: list[Split]) -> None:
    slow = replace(FAST, learning_rate=0.3, epochs=20, patience=20, plateau_epochs=2)
    steep, flat = (_train(_hard(block), splits, replace(slow, plateau_decay=decay)) for decay in (1e-6, 1.0))
    for frozen, moving in zip(steep, flat, strict=True):
        tail = {round(point["val_loss"], 4) for point in frozen.curves[frozen.best_epoch + 2 :]}
        assert len(tail) == 1  # a rate near zero moves nothing
        assert len({round(point["val_loss"], 4) for point in moving.curves[-5:]}) > 1


def test_what_a_view_holds_matters_to_training_and_to_no_prediction_of_its_own(
    varied: FeatureBlock, splits: list[Split]
) -> None:
    (before,) = _train(varied, splits, members=(0,))
    other = replace(varied, values={m: v.copy() for m, v in varied.values.items()})
    for values in other.values.values():
        values[120:] *= -1
    (after,) = _train(other, splits, members=(0,))
    assert before.curves[0]["train_loss"] != after.curves[0]["train_loss"]
    strangers = replace(
        varied, views={m: np.full_like(v, ABSENT) for m, v in varied.views.items()}, values=other.values
    )
    (without,) = _train(strangers, splits, members=(0,))
    (plain,) = _train(replace(varied, views={}), splits, members=(0,))
    assert without.test.tobytes() == plain.test.tobytes()


def test_the_test_part_influences_nothing_but_its_own_predictions(block: FeatureBlock, splits: list[Split]) -> None:
    split = splits[0]
    spoiled = replace(
        block,
        labels=np.where(np.isin(np.arange(120), split.test), (block.labels + 1) % 3, block.labels),
        values={m: v.copy() for m, v in block.values.items()},
    )
    for values in spoiled.values.values():
        values[split.test] *= -3
    (before,), (after,) = (_train(b, splits, members=(0,)) for b in (block, spoiled))
    assert before.val.tobytes() == after.val.tobytes()
    assert before.curves == after.curves
    assert before.weights == after.weights
    assert before.test.tobytes() != after.test.tobytes()


def test_fitted_weights_favour_the_modality_that_tells(block: FeatureBlock, splits: list[Split]) -> None:
    block.values["image"][:] = np.random.default_rng(0).normal(size=block.values["image"].shape)
    for fitted in _train(block, splits, replace(FAST, learning_rate=1e-2, epochs=25)):
        assert fitted.weights["text"] > 0.5
        assert sum(fitted.weights.values()) == pytest.approx(1)
        kept = fitted.curves[fitted.best_epoch - 1]
        assert {m: kept[f"weight of {m}"] for m in fitted.weights} == pytest.approx(fitted.weights)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_loss_that_is_not_finite_is_an_error_that_says_where(block: FeatureBlock, splits: list[Split]) -> None:
    block.values["text"][splits[1].train[0]] = 6e4
    with pytest.raises(TrainingError, match="the loss is not finite"):
        _train(block, splits, replace(FAST, learning_rate=1e38, input_norm="none"))


def test_a_feature_that_is_not_finite_is_named(block: FeatureBlock, splits: list[Split]) -> None:
    block.values["text"][17] = np.nan
    with pytest.raises(FeatureError, match=r"text features of toy/017 are not finite"):
        _train(block, splits)


@pytest.mark.parametrize(
    "setting",
    [
        {"width": 100_000},
        {"learning_rate": float("inf")},
        {"weight_decay": float("inf")},
        {"epochs": 0},
        {"epoch_steps": 0},
        {"least_gain": -1e-3},
        {"learning_rate": 0.0},
        {"dropout": 1.0},
        {"plateau_decay": 0.0},
        {"input_norm": "group"},
        {"optimiser": "adamw"},
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        TrainingConfig(**setting)


def test_a_stack_whose_smote_member_ends_first_goes_on(
    block: FeatureBlock, splits: list[Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion.inputs._IN_CACHE", 1)
    own = [{"balance": "smote", "balance_target": 1.0, "epochs": 2}, {}, {}, {}]
    uneven = replace(block, labels=np.where(np.arange(120) % 5 == 0, 2, block.labels % 2))
    split = make_splits(uneven.labels, uneven.groups, 3, ProtocolConfig(repeats=4), seed=0)
    fitted = _train(uneven, split, replace(FAST, batch_size=len(split[0].val)), settings=own)
    assert len(fitted[0].curves) == 2
    assert len(fitted[1].curves) > 2


def test_a_trained_stack_has_gradients_of_its_own_again(
    block: FeatureBlock, splits: list[Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion.optimiser._WIDE", 1)
    inputs = Inputs(block, to_device(block, torch.device("cpu")), ("text",), splits[:2], "batch")
    members = [Member(split=split, seed=1, training=FAST) for split in splits[:2]]
    head = train_stacked(partial(Concat, HeadConfig()), block, inputs, members).head.eval()
    x, present = torch.ones(2, 5, 6), torch.ones(2, 5, 1, dtype=torch.bool)
    head.zero_grad()
    head({"text": x}, present).square().sum().backward()
    assert all(p.grad is not None for name, p in head.named_parameters() if name != "absent")


def test_a_training_part_in_which_nobody_has_the_modality_is_refused_by_name(
    block: FeatureBlock, splits: list[Split]
) -> None:
    block.rows["text"][0, splits[0].train] = ABSENT
    with pytest.raises(TrainingError, match=r"repeat 0: none of \d+ training samples has text"):
        _train(block, splits, members=(0,), modalities=("text",))
