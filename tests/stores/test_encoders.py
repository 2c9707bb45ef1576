from dataclasses import replace

import numpy as np
import pytest

from stores.encoders import CHECKPOINT, EncoderRecipe, EncoderStore, Epoch, Trainee
from stores.errors import DamagedError, NotFound
from stores.identity import tensors_digest
from stores.verifying import verify

RECIPE = EncoderRecipe(
    extractor="lstm_cnn",
    version=1,
    config={"epochs": 2},
    seed=0,
    classes=("joy", "anger"),
    trainees=(
        Trainee(sample_id="c/1", key="k1", label="joy", use="fit", groups={"speaker": "A", "sentence": "1"}),
        Trainee(sample_id="c/2", key="k2", label="anger", use="stop", groups={}),
    ),
)
WEIGHTS = {"fc.weight": np.eye(2, dtype=np.float32), "frames.mean": np.array([0.5, -1.0], dtype=np.float32)}
CURVE = [
    Epoch(
        epoch=n, train_loss=1.0 / n, train_accuracy=0.5, val_loss=1.1, val_accuracy=0.4, learning_rate=1e-3, seconds=2.0
    )
    for n in (1, 2)
]


def test_a_sealed_encoder_comes_back_whole(root):
    store = EncoderStore(root)
    assert RECIPE.id not in store
    assert store.seal(RECIPE, WEIGHTS, CURVE, best_epoch=2, skipped={"undecodable": 1}) == RECIPE.id
    assert RECIPE.id in store
    found = store.weights(RECIPE.id)
    assert found.keys() == WEIGHTS.keys()
    assert all(np.array_equal(found[name], WEIGHTS[name]) for name in WEIGHTS)
    assert tuple(store.trained_on(RECIPE.id)) == RECIPE.trainees
    assert store.curves(RECIPE.id) == CURVE
    content = store.describe(RECIPE.id)
    assert content["weights"] == tensors_digest(WEIGHTS.items())
    assert (content["best_epoch"], content["fitted_on"], content["stopped_on"]) == (2, 1, 1)
    assert (content["recipe"], content["skipped"]) == (RECIPE.settings(), {"undecodable": 1})


def test_the_first_finished_training_of_a_recipe_wins(root):
    store = EncoderStore(root)
    store.seal(RECIPE, WEIGHTS, CURVE, best_epoch=2)
    store.seal(RECIPE, {"fc.weight": np.zeros((2, 2), np.float32)}, [], best_epoch=1)
    assert store.weights(RECIPE.id).keys() == WEIGHTS.keys()
    assert store.describe(RECIPE.id)["best_epoch"] == 2


def test_an_encoder_without_its_last_file_does_not_exist(root):
    store = EncoderStore(root)
    store.seal(RECIPE, WEIGHTS, CURVE, best_epoch=2)
    root.local("encoders", RECIPE.id, "encoder.json").unlink()
    assert RECIPE.id not in store
    with pytest.raises(NotFound, match=f"no trained encoder '{RECIPE.id}'"):
        store.weights(RECIPE.id)


def test_an_encoder_with_no_epoch_has_an_empty_curve(root):
    store = EncoderStore(root)
    assert store.curves(store.seal(replace(RECIPE, seed=1), WEIGHTS, [], best_epoch=0)) == []


def test_of_two_finished_trainings_the_first_weights_win_and_stay_consistent(root, monkeypatch):
    store = EncoderStore(root)
    other = {name: value + 1 for name, value in WEIGHTS.items()}
    put = type(root).put_new

    def overtaken(self, data, *parts):
        monkeypatch.setattr(type(root), "put_new", put)
        EncoderStore(root).seal(RECIPE, WEIGHTS, CURVE, best_epoch=2)  # another process, between our look and our write
        return put(self, data, *parts)

    monkeypatch.setattr(type(root), "put_new", overtaken)
    store.seal(RECIPE, other, CURVE, best_epoch=1)
    assert all(np.array_equal(store.weights(RECIPE.id)[name], WEIGHTS[name]) for name in WEIGHTS)
    store.check(RECIPE.id)


def test_weights_that_have_changed_are_refused(root):
    store = EncoderStore(root)
    store.seal(RECIPE, WEIGHTS, CURVE, best_epoch=2)
    path = root.local("encoders", RECIPE.id, "weights.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="have changed"):
        store.weights(RECIPE.id)


@pytest.mark.parametrize("file", ["encoder.json", "trained_on.parquet", "curves.parquet", "weights.safetensors"])
def test_files_of_two_encoders_exchanged_are_refused_and_named(root, file):
    store, second = EncoderStore(root), replace(RECIPE, seed=9)
    store.seal(RECIPE, WEIGHTS, CURVE, best_epoch=2)
    store.seal(second, {name: 2 * weight for name, weight in WEIGHTS.items()}, CURVE, best_epoch=2)
    assert verify(root).damages == []
    one, other = (f"encoders/{recipe.id}/{file}" for recipe in (RECIPE, second))
    first = root.read(one)
    root.put(root.read(other), one)
    root.put(first, other)
    read = {"trained_on.parquet": store.trained_on, "curves.parquet": store.curves}.get(file, store.weights)
    for encoder in (RECIPE.id, second.id):
        with pytest.raises(DamagedError):
            read(encoder)
    assert sorted(damage.path for damage in verify(root).damages) == sorted(
        f"encoders/{r.id}" for r in (RECIPE, second)
    )


def test_the_checkpoint_of_another_encoder_is_no_checkpoint(root):
    """Points of a grid are trained on the same samples: what tells them apart is the encoder."""
    store = EncoderStore(root)
    store.checkpoints("one", ["c/1"]).save(WEIGHTS, {"epoch": 1})
    root.put(root.read("encoders", "one", CHECKPOINT), "encoders", "other", CHECKPOINT)
    assert store.checkpoints("one", ["c/1"]).load() is not None
    assert store.checkpoints("other", ["c/1"]).load() is None
