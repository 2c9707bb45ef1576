"""Fine-tuning BERT, and rows of the encoder that comes of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertModel

from extractors.extractor import Inputs, Runtime
from extractors.run import extract
from extractors.text.bert import Bert, BertConfig
from extractors.training import TrainConfig, plan_recipe, train
from stores.encoders import EncoderRecipe, EncoderStore
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

RUNTIME = Runtime(device="cpu")
CLASSES = ("anger", "joy")
SAYINGS = {
    "anger": ("I hate {}!", "How dare you touch {}?", "I am furious about {}.", "Leave {} alone, you idiot!"),
    "joy": ("I love {}!", "What a lovely surprise, {}!", "I am so happy about {}.", "Look at {}, it is wonderful!"),
}
THINGS = ("the dog", "my sister", "this song", "the party", "your letter", "that picture", "the trip")
SAMPLES = [
    Sample(
        id=f"c/{label}-{i}-{j}",
        corpus="c",
        text=saying.format(thing),
        labels={"emotion": label},
        groups={"speaker": f"s{j}"},
    )
    for label, sayings in SAYINGS.items()
    for i, saying in enumerate(sayings)
    for j, thing in enumerate(THINGS)
]
TRAIN = TrainConfig(epochs=3, batch_size=8, learning_rate=5e-5, dropout=0.1, stop_share=0.2, seed=1)


def planned(config: BertConfig, **changes: Any) -> EncoderRecipe:
    plan = replace(TRAIN, **changes)
    how = {"scheme": "emotion", "classes": CLASSES, "groups": ["speaker"], "upstream": None}
    return plan_recipe(Bert, config, plan, SAMPLES, **how)


def trained(config: BertConfig, root: Root, **changes: Any) -> str:
    return train(Bert, planned(config, **changes), SAMPLES, root, RUNTIME, config=config, report=Silent())


def test_packaged_weights_are_fine_tuned_and_rows_are_those_of_the_encoder(root: Root) -> None:
    config = BertConfig(weights="trained")
    encoder, encoders = trained(config, root), EncoderStore(root)
    curves = encoders.curves(encoder)
    assert curves[-1].val_loss < curves[0].val_loss
    assert max(epoch.val_accuracy for epoch in curves) >= 0.9
    assert root.local("encoders", encoder, "weights.safetensors").is_file()

    bert = Bert(config, Inputs(root=root, encoder=encoder))
    given = Bert(BertConfig(), Inputs(root=root)).identity
    assert (bert.identity.weights, bert.identity.encoder) == (None, encoder)
    assert bert.identity.tokenizer == given.tokenizer
    assert bert.weights_note() == f"trained here ({encoder})"
    extract(bert, SAMPLES[::9], root, RUNTIME, report=Silent())
    rows = FeatureStore(root, bert.identity).read([sample.key("text") for sample in SAMPLES[::9]])

    model, before = (BertModel.from_pretrained(bert.folder, add_pooling_layer=False).eval() for _ in range(2))
    found = {name.removeprefix("bert."): torch.from_numpy(value) for name, value in encoders.weights(encoder).items()}
    model.load_state_dict(found)
    for sample, row in zip(SAMPLES[::9], rows, strict=True):
        ids = torch.tensor([bert.decode(sample, "").ids])
        wanted, old = (naive(network, ids) for network in (model, before))
        assert row @ wanted >= 0.9999 * np.linalg.norm(row.astype(float)) * np.linalg.norm(wanted)
        assert row @ old < 0.999 * np.linalg.norm(row.astype(float)) * np.linalg.norm(old)


def naive(model: BertModel, ids: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True).hidden_states
    return torch.stack(states[-4:]).mean(dim=(0, 1, 2)).double().numpy()


def test_the_id_of_an_encoder_follows_its_settings_and_initial_weights(uncased: Path) -> None:
    config = BertConfig(weights="trained")
    changed = (
        planned(config),
        planned(config, learning_rate=1e-5),
        planned(config, dropout=0.5),
        planned(replace(config, layers=2)),
        planned(replace(config, pooling="cls")),
        planned(replace(config, initial=str(uncased))),
    )
    assert len({recipe.id for recipe in changed}) == len(changed)
    assert planned(config).id == changed[0].id
    assert str(uncased) not in str(changed[-1].settings())


@pytest.mark.parametrize("pooling", ["mean", "cls", "last4-concat"])
def test_training_is_deterministic_for_every_pooling(uncased: Path, tmp_path: Path, pooling: str) -> None:
    config = BertConfig(weights="trained", initial=str(uncased), pooling=pooling, max_tokens=8, long="window")
    weights = []
    for place in ("a", "b"):
        root = Root(tmp_path / place)
        encoder = trained(config, root, epochs=1, numerics="exact")
        weights.append(EncoderStore(root).weights(encoder))
        [row] = _rows(Bert(config, Inputs(root=root, encoder=encoder)), SAMPLES[:1])
        assert row.shape == (64 if pooling == "last4-concat" else 16,)
    assert {name: value.tobytes() for name, value in weights[0].items()} == {
        name: value.tobytes() for name, value in weights[1].items()
    }


def _rows(bert: Bert, samples: list[Sample]) -> list[np.ndarray]:
    bert.open(RUNTIME)
    return list(bert.embed([bert.decode(sample, "") for sample in samples]))


def test_the_trained_form_and_the_served_form_give_the_same_rows(opened: Callable[..., Bert], uncased: Path) -> None:
    for pooling in ("mean", "cls", "last4-concat"):
        bert = opened(weights=str(uncased), pooling=pooling, max_tokens=6, long="window")
        items = [bert.decode(sample, "") for sample in SAMPLES if "the " in str(sample.text)]
        network = bert.network(0)
        network.load_state_dict(bert.given_state())
        with torch.inference_mode():
            wanted = network.eval()(*bert.batch(items)).numpy()
            dropped = network.train()(*bert.batch(items)).numpy()
        assert np.abs(np.stack(list(bert.embed(items))) - wanted).max() < 1e-5
        assert np.abs(dropped - wanted).max() > 1e-3  # dropout, in training only
