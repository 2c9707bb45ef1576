from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from extractors._crowd import Crowd, Reader, stop_share
from extractors._fitting import _resampled, _Training
from extractors.extractor import Inputs, Runtime, View, find_extractor
from extractors.image._views import FaceViews
from extractors.run import extract
from extractors.speech.acoustic import VoiceViews
from extractors.training import Diverged, TrainConfig, plan_recipe, train, usable
from stores.encoders import EncoderRecipe, EncoderStore
from stores.errors import ConfigError, StoreError
from stores.features import FeatureStore
from stores.identity import tensors_digest
from stores.layout import place_of
from stores.progress import Progress, Silent
from stores.root import Root
from stores.samples import Sample

RUNTIME = Runtime(device="cpu")
CLASSES = ("calm", "joy")
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "speech": ("lstm_cnn", {"filters": 8, "hidden": 8, "kernel": 3}),
    "image": ("resnet", {"depth": 18, "size": 32, "weights": "trained"}),
}
TRAIN = TrainConfig(epochs=12, batch_size=8, patience=12, stop_share=0.25, seed=1)


@dataclass(frozen=True)
class Task:
    """Samples that pitch and brightness tell apart, and how to plan and train on them."""

    root: Root
    samples: list[Sample]

    def upstream(self) -> FeatureStore:
        acoustic = find_extractor("speech", "acoustic")
        extractor = acoustic(acoustic.config_type(), Inputs(root=self.root))
        extract(extractor, self.samples, self.root, RUNTIME, report=Silent())
        return FeatureStore(self.root, extractor.identity)

    def plan(
        self, modality: str, samples: list[Sample] | None = None, **changes: Any
    ) -> tuple[Any, Any, EncoderRecipe]:
        name, settings = SMALL[modality]
        kind = find_extractor(modality, name)
        built = kind.config_type(**settings, **changes.pop("config", {}))
        recipe = plan_recipe(
            kind,
            built,
            replace(TRAIN, **changes),
            self.samples if samples is None else samples,
            scheme="emotion",
            classes=CLASSES,
            groups=["speaker"],
            upstream=self.upstream() if kind.upstream else None,
        )
        return kind, built, recipe

    def train(
        self, modality: str, *, runtime: Runtime = RUNTIME, report: Progress | None = None, **changes: Any
    ) -> str:
        kind, config, recipe = self.plan(modality, **changes)
        return train(kind, recipe, self.samples, self.root, runtime, config=config, report=report or Silent())


@pytest.fixture
def task(root: Root, write_tone: Callable[..., Path], write_face: Callable[..., Path]) -> Task:
    samples = [
        Sample(
            id=f"c/{i}",
            corpus="c",
            audio=write_tone(f"{i}.wav", 0.2 + 0.01 * i, hertz=(150, 900)[i % 2] + i),
            image=write_face(f"{i}.png", i, low=(0, 156)[i % 2], high=(100, 256)[i % 2], size=(32, 32)),
            labels={"emotion": CLASSES[i % 2]},
            groups={"speaker": f"s{i // 4}", "take": f"t{i}"},
        )
        for i in range(24)
    ]
    return Task(root, samples)


@pytest.mark.parametrize("modality", ["speech", "image"])
def test_a_separable_set_is_learned(task: Task, modality: str) -> None:
    curves = EncoderStore(task.root).curves(task.train(modality, learning_rate=3e-3, epochs=24))
    best = min(curves, key=lambda epoch: epoch.val_loss)
    assert best.val_accuracy == 1.0
    assert best.val_loss < curves[0].val_loss


def test_training_is_deterministic_and_follows_its_seed(task: Task, tmp_path: Path) -> None:
    def weights(place: str, seed: int) -> dict[str, np.ndarray]:
        elsewhere = Task(Root(tmp_path / place), task.samples)
        return EncoderStore(elsewhere.root).weights(elsewhere.train("speech", epochs=2, seed=seed))

    first, again, other = weights("a", 1), weights("b", 1), weights("c", 2)
    assert {k: v.tobytes() for k, v in first.items()} == {k: v.tobytes() for k, v in again.items()}
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_training_leaves_global_randomness_alone(task: Task) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    task.train("speech", epochs=1)
    assert torch.equal(torch.rand(1), wanted)


def test_an_encoder_that_exists_is_left_as_it_is(task: Task) -> None:
    encoder = task.train("speech", epochs=1)
    path = task.root.local("encoders", encoder, "weights.safetensors")
    before = path.stat().st_mtime_ns
    assert task.train("speech", epochs=1) == encoder
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("modality", ["speech", "image"])
def test_weights_come_back_as_they_were(task: Task, modality: str) -> None:
    encoders, encoder = EncoderStore(task.root), task.train(modality, epochs=1)
    assert tensors_digest(encoders.weights(encoder).items()) == encoders.describe(encoder)["weights"]


def test_the_id_is_known_before_and_follows_labels_and_settings(task: Task) -> None:
    _, _, recipe = task.plan("speech")
    relabelled = [replace(task.samples[0], labels={"emotion": "joy"}), *task.samples[1:]]
    moved = [replace(s, groups={**s.groups, "hall": "h1"}) for s in task.samples]
    assert task.plan("speech")[2].id == recipe.id
    assert task.plan("speech", moved)[2].id == recipe.id
    assert task.plan("speech", relabelled)[2].id != recipe.id
    assert task.plan("speech", learning_rate=0.1)[2].id != recipe.id
    assert task.plan("speech", seed=9)[2].id != recipe.id
    assert task.plan("speech", config={"inputs": "mel"})[2].id != recipe.id


def test_no_group_is_on_both_sides(task: Task) -> None:
    _, _, recipe = task.plan("image")
    fit, stop = ({t.groups["speaker"] for t in recipe.trainees if t.use == use} for use in ("fit", "stop"))
    assert fit
    assert stop
    assert not fit & stop


def test_group_kinds_and_equal_media_are_merged() -> None:
    speakers = ["a", "a", "b", "b", "c", "c", None, None]
    videos = ["1", "2", "2", "3", "4", "4", None, None]  # a and b meet in video 2
    keys = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k6"]
    labels = ["x", "y"] * 4
    for seed in range(8):
        stopping = stop_share(labels, [speakers, videos, keys], 0.3, seed)
        for together in ([0, 1, 2, 3], [4, 5], [6, 7]):
            assert len({bool(stopping[i]) for i in together}) == 1
        assert 0 < stopping.sum() < 8


def test_too_few_groups_to_stop_on_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 samples in 1 groups"):
        stop_share(["x", "y"], [["a", "a"]], 0.2, 0)
    with pytest.raises(ConfigError, match="give the encoder more groups"):
        stop_share(["x", "x", "y", "y"], [["a", "a", "b", "b"]], 0.5, 0)


def test_what_cannot_be_trained_on_is_counted(task: Task, tmp_path: Path) -> None:
    lost = [
        replace(task.samples[0], id="c/gone", image=tmp_path / "gone.png"),
        replace(task.samples[1], id="c/mute", image=None),
        replace(task.samples[2], id="c/nameless", labels={}),
    ]
    kind, config, recipe = task.plan("image", [*task.samples, *lost])
    assert {t.sample_id for t in recipe.trainees} == {s.id for s in task.samples}
    found, skipped = usable(kind(config, Inputs(root=task.root)), lost, scheme="emotion")
    assert found == []
    assert skipped == {"absent": 1, "missing_file": 1, "no_label": 1}


def test_a_sample_without_upstream_row_is_no_trainee(task: Task) -> None:
    upstream = task.upstream()
    kind = find_extractor("speech", "lstm_cnn")
    longer = [replace(s, id=f"{s.id}-late", start_ms=10) for s in task.samples[:3]]
    extractor = kind(kind.config_type(), Inputs(root=task.root, upstream=upstream))
    assert usable(extractor, longer, scheme="emotion") == ([], {"upstream": 3})


def test_media_that_turn_out_undecodable_are_skipped_and_counted(task: Task, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    samples = [*task.samples, replace(task.samples[0], id="c/bad", image=tmp_path / "bad.png")]
    kind, config, recipe = task.plan("image", samples, epochs=1)
    encoder = train(kind, recipe, samples, task.root, RUNTIME, config=config, report=Silent())
    assert EncoderStore(task.root).describe(encoder)["skipped"] == {"undecodable": 1}


def test_given_weights_are_started_from_and_named_by_digest(task: Task, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(resnet18(weights=None).state_dict(), tmp_path / "start.pth")
    kind, config, recipe = task.plan("image", config={"initial": str(tmp_path / "start.pth")}, epochs=1)
    assert recipe.initial is not None
    assert str(tmp_path) not in str(recipe.settings())
    encoder = train(kind, recipe, task.samples, task.root, RUNTIME, config=config, report=Silent())
    started = resnet18(weights=None)
    started.load_state_dict(torch.load(tmp_path / "start.pth", weights_only=True))
    moved = EncoderStore(task.root).weights(encoder)["resnet.conv1.weight"] - started.conv1.weight.detach().numpy()
    assert 0 < np.abs(moved).max() < 0.05  # a few Adam steps of 1e-3 away


def test_a_config_that_is_not_the_planned_one_is_refused(task: Task) -> None:
    kind, _, recipe = task.plan("image")
    other = kind.config_type(depth=34, size=32, weights="trained")
    with pytest.raises(ConfigError, match="plan again"):
        train(kind, recipe, task.samples, task.root, RUNTIME, config=other, report=Silent())


def test_frames_are_normalised_by_the_fitted_samples_only(task: Task) -> None:
    kind, config, recipe = task.plan("speech", epochs=1)
    encoder = train(kind, recipe, task.samples, task.root, RUNTIME, config=config, report=Silent())
    rows = task.upstream().read([t.key for t in recipe.trainees if t.use == "fit"])
    weights = EncoderStore(task.root).weights(encoder)
    assert np.allclose(weights["mean"], np.concatenate(rows).mean(axis=0), atol=1e-3)
    assert np.allclose(weights["deviation"], np.concatenate(rows).std(axis=0), atol=1e-3)


def test_given_weights_cannot_be_trained(task: Task) -> None:
    kind = find_extractor("text", "bert")
    with pytest.raises(ConfigError, match="nothing to train"):
        plan_recipe(
            kind, kind.config_type(), TRAIN, task.samples, scheme="emotion", classes=CLASSES, groups=[], upstream=None
        )


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"decay": 0.0}, {"dropout": 1.0}, {"stop_share": 1.0}, {"learning_rate": 0.0}, {"numerics": "?"}],
)
def test_training_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TrainConfig(**wrong)


def test_folds_are_no_more_than_the_largest_class_has_samples() -> None:
    stopping = stop_share(["x", "x", "y", "y"], [["a", "b", "c", "d"]], 0.1, 0)
    assert 0 < stopping.sum() < 4


def test_classes_of_one_sample_are_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigError, match=r"2 samples in 2 groups, at most 1 samples a class.*equal recordings count"):
        stop_share(["x", "y"], [["a", "b"]], 0.1, 0)
    with pytest.raises(ConfigError, match="0 samples in 0 groups"):
        stop_share([], [[]], 0.1, 0)


def test_media_replaced_since_planning_train_nothing_under_the_planned_recipe(
    task: Task, write_face: Callable[..., Path]
) -> None:
    kind, config, recipe = task.plan("image", epochs=1)
    write_face("0.png", 99)
    with pytest.raises(StoreError, match=r"cannot be trained now: .*changed while it was being extracted"):
        train(kind, recipe, task.samples, task.root, RUNTIME, config=config, report=Silent())
    assert recipe.id not in EncoderStore(task.root)


@pytest.mark.parametrize("use", ["fit", "stop"])
def test_nothing_left_to_fit_or_stop_on_is_refused_with_counts(task: Task, tmp_path: Path, use: str) -> None:
    for i in range(24):
        (tmp_path / f"bad{i}.png").write_bytes(b"no picture" + bytes([i]))
    held = {t.sample_id for t in task.plan("image", epochs=1)[2].trainees if t.use == use}
    samples = [replace(s, image=tmp_path / f"bad{i}.png") if s.id in held else s for i, s in enumerate(task.samples)]
    kind, config, recipe = task.plan("image", samples, epochs=1)
    assert {t.sample_id for t in recipe.trainees if t.use == use} == held
    with pytest.raises(ConfigError, match=f"none of {len(held)} samples to {use} on .*{len(held)} undecodable"):
        train(kind, recipe, samples, task.root, RUNTIME, config=config, report=Silent())


def test_a_trainee_whose_decoding_is_given_up_trains_nothing_under_the_full_recipe(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, config, recipe = task.plan("image", epochs=1)
    let_go, decode = Event(), kind.decode

    def stuck(self: Any, sample: Sample, key: str) -> np.ndarray:
        if sample.id == "c/5":
            let_go.wait()
        return decode(self, sample, key)

    monkeypatch.setattr(kind, "decode", stuck)
    try:
        runtime = replace(RUNTIME, time_limit=0.3)
        with pytest.raises(StoreError, match="cannot be trained now: c/5: not decoded within"):
            train(kind, recipe, task.samples, task.root, runtime, config=config, report=Silent())
    finally:
        let_go.set()
    assert recipe.id not in EncoderStore(task.root)


class Counting(Silent):
    """Counts epochs and interrupts the training once it has done `most`."""

    def __init__(self, most: int) -> None:
        self.done, self._most = 0, most

    def advance(self, name: str, n: int = 1) -> None:
        self.done += n
        if self.done >= self._most:
            raise KeyboardInterrupt


@pytest.mark.parametrize("modality", ["speech", "image"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd", "rmsprop"])
def test_an_interrupted_training_goes_on_to_the_very_same_weights(
    task: Task, tmp_path: Path, modality: str, optimiser: str
) -> None:
    plan = {"epochs": 4, "numerics": "exact", "optimiser": optimiser, "decay_patience": 1, "balance": "resample"}
    often = replace(RUNTIME, checkpoint_every=1e-9)
    with pytest.raises(KeyboardInterrupt):
        task.train(modality, runtime=often, report=Counting(2), **plan)
    encoders, encoder = EncoderStore(task.root), task.plan(modality, **plan)[2].id
    assert encoder not in encoders
    assert task.root.exists("encoders", encoder, "checkpoint.safetensors")
    assert place_of(f"encoders/{encoder}/checkpoint.safetensors") is not None
    rest = Counting(99)
    assert task.train(modality, report=rest, **plan) == encoder
    whole = Task(Root(tmp_path / "whole"), task.samples)
    whole.train(modality, **plan)
    assert weight_bytes(task, encoder) == weight_bytes(whole, encoder)
    seen = [[replace(e, seconds=0) for e in EncoderStore(t.root).curves(encoder)] for t in (task, whole)]
    assert seen[0] == seen[1]
    assert [e.epoch for e in seen[0]] == [1, 2, 3, 4]
    assert rest.done == 4  # two that were done, told at once, and two more
    assert not task.root.exists("encoders", encoder, "checkpoint.safetensors")


def weight_bytes(task: Task, encoder: str) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in EncoderStore(task.root).weights(encoder).items()}


@pytest.mark.parametrize("harm", ["cut", "flip", "other samples"])
def test_a_checkpoint_that_is_not_whole_is_not_gone_on_from(task: Task, harm: str) -> None:
    plan = {"epochs": 3, "numerics": "exact"}
    with pytest.raises(KeyboardInterrupt):
        task.train("speech", runtime=replace(RUNTIME, checkpoint_every=1e-9), report=Counting(2), **plan)
    encoder = task.plan("speech", **plan)[2].id
    names = [t.sample_id for t in task.plan("speech", **plan)[2].trainees]
    path = task.root.local("encoders", encoder, "checkpoint.safetensors")
    content = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(content[:-100])
    elif harm == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        names = names[1:]
    assert EncoderStore(task.root).checkpoints(encoder, names).load() is None


def test_what_does_not_stay_in_memory_is_decoded_again_and_gives_the_same_weights(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = task.train("image", epochs=2, numerics="exact")
    monkeypatch.setattr("extractors._crowd.MOST_BYTES", 3000)  # two of 24 pictures of 32 x 32
    elsewhere = Task(Root(tmp_path / "elsewhere"), task.samples)
    assert elsewhere.train("image", epochs=2, numerics="exact") == held
    assert weight_bytes(task, held) == weight_bytes(elsewhere, held)


def test_stratified_resampling_draws_every_class_equally_often() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [2] * 1)
    drawn = _resampled(labels, np.random.default_rng(0))
    assert np.bincount(labels[drawn]).tolist() == [34, 33, 33]
    assert len(set(drawn[labels[drawn] == 0].tolist())) == 34  # of a frequent class nobody twice
    assert set(drawn[labels[drawn] == 1].tolist()) == set(range(90, 99))  # of a rare one everybody


def test_encoders_differ_by_optimiser_and_balance(task: Task) -> None:
    plans = [{}, {"optimiser": "sgd"}, {"optimiser": "rmsprop"}, {"balance": "resample"}, {"balance": "none"}]
    ids = [task.train("speech", epochs=1, **plan) for plan in plans]
    assert len(set(ids)) == 5
    assert len({str(weight_bytes(task, encoder)) for encoder in ids}) == 5


def test_an_optimiser_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="optimiser should be one of adam, sgd, rmsprop, got 'lion'"):
        TrainConfig(optimiser="lion")
    with pytest.raises(ConfigError, match="balance should be one of weights, resample, none, got True"):
        TrainConfig(balance=True)  # type: ignore[arg-type]


def test_the_rate_is_cut_after_so_many_epochs_without_a_better_loss(task: Task) -> None:
    plan = {"epochs": 7, "patience": 7, "decay_patience": 2, "decay": 0.1, "learning_rate": 1e-30}
    encoder = task.train("speech", **plan)  # steps of nothing: only the running statistics of batch norm move
    curves = EncoderStore(task.root).curves(encoder)
    best = min(curves, key=lambda epoch: epoch.val_loss).epoch
    wanted, rate, since = [], 1e-30, 0
    for epoch in curves:  # the rule, spelled out
        wanted.append(rate)
        improved = epoch.val_loss < min([e.val_loss for e in curves[: epoch.epoch - 1]], default=float("inf"))
        since = 0 if improved else since + 1
        if since == 2:
            rate, since = rate * 0.1, 0
    assert [epoch.learning_rate for epoch in curves] == pytest.approx(wanted)
    assert EncoderStore(task.root).describe(encoder)["best_epoch"] == best


@pytest.mark.parametrize(("samples", "batch_size"), [(17, 2), (33, 4), (5, 4), (3, 2)])
def test_no_batch_is_of_a_single_item(samples: int, batch_size: int) -> None:
    training = object.__new__(_Training)
    training.plan, training.generator = TrainConfig(batch_size=batch_size), np.random.default_rng(0)
    crowd = Crowd(None, [str(i) for i in range(samples)], np.zeros(samples, int), np.ones((samples, 1), int))  # type: ignore[arg-type]
    batches = training._drawn(crowd)
    assert min(map(len, batches)) >= 2
    assert sorted(np.concatenate(batches)[:, 0].tolist()) == list(range(samples))


def test_one_sample_at_a_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size should be at least 2, got 1"):
        TrainConfig(batch_size=1)


def test_a_training_that_diverges_says_so_and_leaves_no_encoder(task: Task) -> None:
    with pytest.raises(Diverged, match=r"train lstm_cnn-[0-9a-f]{12}: the loss was never a number"):
        task.train("speech", optimiser="sgd", learning_rate=1e38, epochs=3)
    assert task.root.names("encoders") == []


def test_a_class_that_cannot_be_decoded_at_all_is_missed(task: Task, tmp_path: Path) -> None:
    held = {t.sample_id for t in task.plan("image")[2].trainees if t.use == "fit" and t.label == "joy"}
    for i in range(24):
        (tmp_path / f"bad{i}.png").write_bytes(b"no picture" + bytes([i]))
    samples = [replace(s, image=tmp_path / f"bad{i}.png") if s.id in held else s for i, s in enumerate(task.samples)]
    kind, config, recipe = task.plan("image", samples)
    with pytest.raises(ConfigError, match="no sample of joy to be fitted on could be decoded"):
        train(kind, recipe, samples, task.root, RUNTIME, config=config, report=Silent())


def test_views_are_drawn_as_often_as_the_sample_itself_and_only_to_be_fitted_on(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = [View(settings=FaceViews(), number=number) for number in (1, 2, 3)]
    kind = find_extractor("image", "resnet")
    config = kind.config_type(**SMALL["image"][1])
    plan = replace(TRAIN, epochs=6)
    recipe = plan_recipe(
        kind, config, plan, task.samples, scheme="emotion", classes=CLASSES, groups=[], upstream=None, views=views
    )
    read: list[Sequence[tuple[str, int]]] = []
    stream = Reader.stream
    monkeypatch.setattr(Reader, "stream", lambda self, picks: read.append(picks) or stream(self, picks))
    train(kind, recipe, task.samples, task.root, RUNTIME, config=config, report=Silent(), views=views)
    held = {t.sample_id for t in recipe.trainees if t.use == "stop"}
    assert all(version == 0 for picks in read for name, version in picks if name in held)
    epochs = [picks for picks in read[4:] if {name for name, _ in picks} != held]
    drawn = np.bincount([version for picks in epochs for _, version in picks], minlength=4)
    assert drawn.sum() == 6 * (24 - len(held))
    assert drawn.min() > drawn.sum() / 4 * 0.6  # 108 draws among 4: 16 is three deviations below 27
    assert recipe.id != replace(recipe, config={**recipe.config, "views": []}).id


def test_a_view_that_cannot_be_made_trains_nothing_under_the_full_recipe(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = find_extractor("image", "resnet")
    config, views = kind.config_type(**SMALL["image"][1]), [View(settings=FaceViews(), number=1)]
    recipe = plan_recipe(
        kind, config, TRAIN, task.samples, scheme="emotion", classes=CLASSES, groups=[], upstream=None, views=views
    )

    def unreadable(*_: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(kind, "varied", unreadable)
    with pytest.raises(StoreError, match=r"view 1 of c/\d+ cannot be made, so nothing is trained on it"):
        train(kind, recipe, task.samples, task.root, RUNTIME, config=config, report=Silent(), views=views)
    with pytest.raises(ConfigError, match="plan again"):
        train(kind, recipe, task.samples, task.root, RUNTIME, config=config, report=Silent())
    assert recipe.id not in EncoderStore(task.root)


def test_views_of_frames_need_their_stores(task: Task) -> None:
    views = [View(settings=VoiceViews(), number=1)]
    kind = find_extractor("speech", "lstm_cnn")
    config = kind.config_type(**SMALL["speech"][1])
    recipe = plan_recipe(
        kind,
        config,
        TRAIN,
        task.samples,
        scheme="emotion",
        classes=CLASSES,
        groups=[],
        upstream=task.upstream(),
        views=views,
    )
    with pytest.raises(ConfigError, match="lstm_cnn reads 1 views, but got 0 stores of them"):
        train(kind, recipe, task.samples, task.root, RUNTIME, config=config, report=Silent(), views=views)
