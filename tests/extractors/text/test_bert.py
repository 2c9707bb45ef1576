import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig as Architecture
from transformers import BertForMaskedLM, BertModel, BertTokenizer

from extractors.extractor import Extractor, Inputs, Runtime
from extractors.text.bert import Bert, BertConfig
from stores.errors import ConfigError, MediaError
from stores.root import Root
from stores.samples import Sample

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "door", "kid", "##s", "talk", "##ing", "by", "."]


def say(text: str) -> Sample:
    return Sample(id="c/1", corpus="c", text=text)


def opened(root: Root, numerics: str = "exact", **settings: object) -> Bert:
    bert = Bert(BertConfig(**settings), Inputs(root=root, numerics=numerics))
    bert.open(Runtime(device="cpu"))
    return bert


def row(bert: Bert, text: str) -> np.ndarray:
    [found] = bert.embed([bert.decode(say(text), "")])
    return found


def naive(folder: Path, texts: list[str]) -> list[np.ndarray]:
    """One sentence at a time, float32, straight from the definition."""
    model, tokenizer = BertModel.from_pretrained(folder).eval(), BertTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        tokens = tokenizer(text, return_tensors="pt", truncation=False, padding=False)
        with torch.no_grad():
            states = model(**tokens, output_hidden_states=True).hidden_states
        found.append(torch.stack(states[-4:]).mean(dim=0)[0].mean(dim=0).numpy())
    return found


@pytest.fixture
def uncased(tmp_path: Path) -> Path:
    """A folder with the files of `bert-base-uncased`: heads included, vocabulary of 13 pieces."""
    torch.manual_seed(0)
    folder = tmp_path / "bert-base-uncased"
    architecture = Architecture(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=5,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
    )
    BertForMaskedLM(architecture).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}')
    return folder


def test_rows_equal_the_mean_over_the_last_four_layers_and_all_tokens(root: Root) -> None:
    texts = ["No.", "I can’t believe it!", "kids are talking by the door, and nobody listens to them at all today"]
    bert = opened(root)
    found = list(bert.embed([bert.decode(say(text), "") for text in texts]))
    for got, wanted in zip(found, naive(bert.folder, texts), strict=True):
        assert np.abs(got - wanted).max() <= 1e-4


def test_weights_in_the_format_of_bert_base_uncased_load(uncased: Path, root: Root) -> None:
    bert = opened(root, weights=str(uncased))
    assert bert.identity.spec.dim == 16
    hidden = BertForMaskedLM.from_pretrained(uncased, output_hidden_states=True).eval()
    ids = torch.tensor([[2, 7, 8, 9, 10, 11, 5, 6, 3]])
    with torch.no_grad():
        wanted = torch.stack(hidden(ids).hidden_states[-4:]).mean(dim=0)[0].mean(dim=0)
    assert np.abs(row(bert, "Kids talking by the DOOR") - wanted.numpy()).max() <= 1e-5


def test_special_tokens_can_be_left_out_of_the_mean(uncased: Path, root: Root) -> None:
    hidden = BertForMaskedLM.from_pretrained(uncased, output_hidden_states=True).eval()
    with torch.no_grad():
        states = torch.stack(hidden(torch.tensor([[2, 5, 6, 3]])).hidden_states[-4:]).mean(dim=0)[0]
    bert = opened(root, weights=str(uncased), special_tokens=False)
    short, long = bert.embed([bert.decode(say(text), "") for text in ("the door", "the kids by the door")])
    assert np.abs(short - states[1:3].mean(dim=0).numpy()).max() <= 1e-5
    assert np.abs(long - row(bert, "the kids by the door")).max() <= 1e-5


def test_cls_pooling_is_the_first_token_of_the_mean_over_layers(uncased: Path, root: Root) -> None:
    hidden = BertForMaskedLM.from_pretrained(uncased, output_hidden_states=True).eval()
    with torch.no_grad():
        states = torch.stack(hidden(torch.tensor([[2, 5, 6, 3]])).hidden_states[-2:]).mean(dim=0)[0]
    bert = opened(root, weights=str(uncased), layers=2, pooling="cls")
    short, _ = bert.embed([bert.decode(say(text), "") for text in ("the door", "the kids by the door")])
    assert np.abs(short - states[0].numpy()).max() <= 1e-5
    with pytest.raises(ConfigError, match="reads a special token"):
        BertConfig(pooling="cls", special_tokens=False)


def test_a_pytorch_file_of_the_same_tensors_is_the_same_feature(uncased: Path, root: Root) -> None:
    before = Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity
    torch.save(BertForMaskedLM.from_pretrained(uncased).state_dict(), uncased / "pytorch_model.bin")
    lacking = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}  # tied: saved once by safetensors
    state = torch.load(uncased / "pytorch_model.bin", weights_only=True)
    torch.save({k: v for k, v in state.items() if k not in lacking}, uncased / "pytorch_model.bin")
    (uncased / "model.safetensors").unlink()
    assert Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity == before


def test_another_tokenizer_is_another_feature(uncased: Path, root: Root) -> None:
    before = Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity
    (uncased / "vocab.txt").write_text("\n".join([*WORDS[:-1], "!"]) + "\n")
    after = Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity
    assert before.weights == after.weights
    assert before.id != after.id


def test_long_text_is_cut_and_remarked(uncased: Path, root: Root) -> None:
    bert = opened(root, weights=str(uncased), max_tokens=5)
    item = bert.decode(say("the kids by the door"), "")
    assert item.ids == [2, 5, 7, 8, 3]
    assert bert.remarks(item) == ("truncated",)
    assert bert.remarks(bert.decode(say("the door"), "")) == ()


def test_composed_and_decomposed_letters_give_the_same_row(root: Root) -> None:
    bert = opened(root)
    assert row(bert, "caf\u00e9").tobytes() == row(bert, "cafe\u0301").tobytes()


def test_text_without_tokens_is_empty(root: Root) -> None:
    with pytest.raises(MediaError) as caught:
        opened(root).decode(say("\u200b\u0007"), "")
    assert caught.value.reason == "empty_text"


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"layers": 0}, "layers"), ({"max_tokens": 2}, "max_tokens"), ({"pooling": "max"}, "pooling")],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BertConfig(**settings)


def test_more_layers_than_the_model_has_are_refused(make: Callable[..., Extractor]) -> None:
    with pytest.raises(ConfigError, match="num_hidden_layers = 6"):
        make("text", "bert", layers=7).identity  # noqa: B018


def test_an_incomplete_folder_names_what_it_lacks(uncased: Path, root: Root) -> None:
    (uncased / "vocab.txt").unlink()
    with pytest.raises(ConfigError, match=r"lacks tokenizer\.json or vocab\.txt"):
        opened(root, weights=str(uncased))


def test_a_model_of_another_kind_is_refused(uncased: Path, root: Root) -> None:
    config = json.loads((uncased / "config.json").read_text())
    (uncased / "config.json").write_text(json.dumps(config | {"model_type": "roberta"}))
    with pytest.raises(ConfigError, match="expected model_type 'bert'"):
        opened(root, weights=str(uncased))


def test_a_hub_name_without_a_network_says_how_to_give_a_path(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"model\.safetensors is neither in .* cache"):
        opened(root, weights="bert-that-is-nowhere")


def test_a_missing_folder_is_not_taken_for_a_hub_name(root: Root) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        opened(root, weights="./nowhere/at/all")


@pytest.mark.real_data
def test_real_sentences_equal_the_definition_in_both_classes(real_data: Path, root: Root) -> None:
    with (real_data / "manifest_text.csv").open(newline="") as file:
        texts = [line["text"] for line in csv.DictReader(file)][::400]
    wanted = naive(opened(root).folder, texts)
    for numerics in ("standard", "exact"):
        bert = opened(root, numerics)
        for got, right in zip(bert.embed([bert.decode(say(t), "") for t in texts]), wanted, strict=True):
            assert got @ right >= 0.9999 * np.linalg.norm(got) * np.linalg.norm(right)
            assert numerics == "standard" or np.abs(got - right).max() <= 1e-4


@pytest.mark.parametrize("change", [{"hidden_act": "relu"}, {"layer_norm_eps": 1e-5}, {"num_attention_heads": 4}])
def test_another_architecture_of_the_same_tensors_is_another_feature(
    uncased: Path, root: Root, change: dict[str, object]
) -> None:
    before = Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity
    config = json.loads((uncased / "config.json").read_text())
    (uncased / "config.json").write_text(json.dumps(config | {"initializer_range": 0.5}))
    assert Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity == before
    (uncased / "config.json").write_text(json.dumps(config | change))
    assert Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity.id != before.id


def test_the_note_on_a_folder_shows_no_path(uncased: Path, root: Root) -> None:
    bert = Bert(BertConfig(weights=str(uncased)), Inputs(root=root))
    assert bert.weights_note() == f"bert-base-uncased ({bert.weights_digest()[:12]})"
