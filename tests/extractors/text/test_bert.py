import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForPreTraining

from extractors.extractor import Extractor, Inputs, Runtime
from extractors.run import extract
from extractors.text._network import BertNetwork
from extractors.text._weights import model_config
from extractors.text.bert import Bert, BertConfig
from stores.errors import ConfigError, MediaError
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample


def row(bert: Bert, text: str) -> np.ndarray:
    [found] = bert.embed([bert.decode(Sample(id="c/1", corpus="c", text=text), "")])
    return found


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("old_names", [False, True])
def test_weights_in_the_formats_of_bert_base_uncased_give_transformers_rows(
    uncased: Path, opened: Callable[..., Bert], kind: str, old_names: bool
) -> None:
    """The hub's files have the prefix `bert.`, the heads of pretraining, and layer norms called gamma and beta."""
    hidden = BertForPreTraining.from_pretrained(uncased, output_hidden_states=True).eval()
    state = {name: value.clone() for name, value in hidden.state_dict().items()}
    if old_names:
        state = {re.sub(r"LayerNorm\.(weight|bias)", _old_name, name): value for name, value in state.items()}
    (uncased / "model.safetensors").unlink()
    (save_file if kind.endswith("safetensors") else torch.save)(state, uncased / kind)
    with torch.no_grad():
        states = hidden(torch.tensor([[2, 7, 8, 9, 10, 11, 5, 6, 3]])).hidden_states
    bert = opened(weights=str(uncased))
    assert bert.identity.spec.dim == 16
    found = row(bert, "Kids talking by the DOOR")
    assert np.abs(found - torch.stack(states[-4:]).mean(dim=0)[0].mean(dim=0).numpy()).max() <= 1e-5


def _old_name(match: re.Match[str]) -> str:
    return {"weight": "LayerNorm.gamma", "bias": "LayerNorm.beta"}[match[1]]


def test_weights_of_another_model_are_refused(uncased: Path, opened: Callable[..., Bert]) -> None:
    state = load_file(uncased / "model.safetensors")
    save_file({name: value for name, value in state.items() if "layer.4" not in name}, uncased / "model.safetensors")
    with pytest.raises(ConfigError, match=r"lack 16 tensors of the model, first encoder\.layer\.4"):
        opened(weights=str(uncased))


def test_a_pytorch_file_of_the_same_tensors_is_the_same_feature(uncased: Path, root: Root) -> None:
    before = Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity
    torch.save(BertForPreTraining.from_pretrained(uncased).state_dict(), uncased / "pytorch_model.bin")
    lacking = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}  # tied: saved once by safetensors
    state = torch.load(uncased / "pytorch_model.bin", weights_only=True)
    torch.save({k: v for k, v in state.items() if k not in lacking}, uncased / "pytorch_model.bin")
    (uncased / "model.safetensors").unlink()
    assert Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity == before


def test_another_tokenizer_is_another_feature(uncased: Path, root: Root) -> None:
    before = Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity
    (uncased / "vocab.txt").write_text((uncased / "vocab.txt").read_text().replace(".", "!"))
    after = Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).identity
    assert before.weights == after.weights
    assert before.id != after.id


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("special_tokens_map.json", {"unk_token": "."}, [2, 12, 6, 3]),
        ("added_tokens.json", {"xyz": 13}, [2, 13, 6, 3]),
    ],
)
def test_every_file_a_tokenizer_is_read_from_is_in_the_id(
    uncased: Path, root: Root, say: Callable[[str], Sample], name: str, content: dict[str, object], ids: list[int]
) -> None:
    before, after = (Bert(BertConfig(weights=str(uncased)), Inputs(root=root)) for _ in range(2))
    assert before.decode(say("xyz door"), "").ids == [2, 1, 6, 3]
    assert before.identity.weights is not None
    (uncased / name).write_text(json.dumps(content))
    assert after.decode(say("xyz door"), "").ids == ids
    assert after.identity.weights == before.identity.weights
    assert after.identity.id != before.identity.id


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_halves_are_those_weights_in_float32(
    uncased: Path, root: Root, kind: str, dtype: torch.dtype
) -> None:
    """Rows and id are of the values, so a file of the same values in float32 gives the same feature."""
    halves = {name: value.to(dtype) for name, value in load_file(uncased / "model.safetensors").items()}
    config = json.loads((uncased / "config.json").read_text())
    (uncased / "config.json").write_text(json.dumps(config | {"dtype": str(dtype).removeprefix("torch.")}))
    (uncased / "model.safetensors").unlink()
    found = []
    for state in (halves, {name: value.float() for name, value in halves.items()}):
        (save_file if kind.endswith("safetensors") else torch.save)(state, uncased / kind)
        bert = Bert(BertConfig(weights=str(uncased)), Inputs(root=root, numerics="exact"))
        bert.open(Runtime(device="cpu"))
        found.append((bert.identity, row(bert, "Kids talking by the DOOR").tobytes()))
    assert found[0] == found[1]


def test_a_dtype_in_the_config_rounds_no_weights(uncased: Path, opened: Callable[..., Bert]) -> None:
    wanted = row(opened(weights=str(uncased)), "the kids")
    config = json.loads((uncased / "config.json").read_text())
    (uncased / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    assert np.array_equal(row(opened(weights=str(uncased), max_tokens=511), "the kids"), wanted)


def test_settings_of_a_stranger_in_a_config_are_dropped(uncased: Path, opened: Callable[..., Bert]) -> None:
    text, config = "kids talk", json.loads((uncased / "config.json").read_text())
    wanted = row(opened(weights=str(uncased), max_tokens=510), text)
    theirs = {
        "attn_implementation": "someone/kernel",
        "_attn_implementation": "someone/kernel",
        "auto_map": {"AutoModel": "someone/code--model.Model"},
        "quantization_config": {"quant_method": "theirs"},
        "experts_implementation": "someone/experts",
    }
    (uncased / "config.json").write_text(json.dumps(config | theirs))
    found = model_config(uncased)
    assert not set(found) & set(theirs)
    assert (found["hidden_size"], found["intermediate_size"]) == (config["hidden_size"], config["intermediate_size"])
    assert np.array_equal(row(opened(weights=str(uncased), max_tokens=509), text), wanted)
    network = BertNetwork(uncased, 0, layers=1, side_by_side=False)
    assert network.bert.config._attn_implementation == "sdpa"
    assert not set(vars(network.bert.config)) & {"auto_map", "quantization_config"}


def test_what_a_config_leaves_out_is_berts_default(uncased: Path, root: Root) -> None:
    def bert(**settings: object) -> Bert:
        return Bert(BertConfig(weights=str(uncased), **settings), Inputs(root=root))

    defaults = {"num_hidden_layers": 12, "num_attention_heads": 12, "hidden_size": 768, "max_position_embeddings": 512}
    config = json.loads((uncased / "config.json").read_text()) | defaults
    (uncased / "config.json").write_text(json.dumps(config))
    said = bert().identity
    (uncased / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in defaults}))
    assert bert().identity == said
    assert said.spec.dim == 768
    with pytest.raises(ConfigError, match="num_hidden_layers = 12"):
        bert(layers=13).identity  # noqa: B018


def test_long_text_is_cut_or_windowed_and_remarked(
    uncased: Path, opened: Callable[..., Bert], say: Callable[[str], Sample]
) -> None:
    cut, windowed = (opened(weights=str(uncased), max_tokens=5, long=long) for long in ("cut", "window"))
    text = say("the kids by the door")
    assert cut.decode(text, "").ids == [2, 5, 7, 8, 3]
    assert windowed.decode(text, "").ids == [2, 5, 7, 8, 11, 5, 6, 3]
    assert len(windowed.decode(text, "").windows) == 2
    assert cut.remarks(cut.decode(text, "")) == ("truncated",)
    assert windowed.remarks(windowed.decode(text, "")) == ("windowed",)
    assert windowed.remarks(windowed.decode(say("the door"), "")) == ()


def test_the_receipt_counts_cut_and_windowed_utterances(tmp_path: Path) -> None:
    samples = [Sample(id=f"c/{i}", corpus="c", text="no " * n) for i, n in enumerate((2, 9, 30))]
    for long, remark in (("cut", "truncated"), ("window", "windowed")):
        bert = Bert(BertConfig(max_tokens=6, long=long), Inputs(root=Root(tmp_path / long)))
        extract(bert, samples, bert.inputs.root, Runtime(device="cpu"), report=Silent())
        [(seal, _)] = FeatureStore(bert.inputs.root, bert.identity).parts.live()
        assert {name: n for name, n in seal.receipt.counts.items() if name.endswith("ed")} == {remark: 2}


def test_token_rows_are_ragged_and_stored_so(tmp_path: Path) -> None:
    root, samples = Root(tmp_path), [Sample(id=f"c/{i}", corpus="c", text="no " * n) for i, n in enumerate((2, 9))]
    bert = Bert(BertConfig(pooling="none", special_tokens=False), Inputs(root=root))
    extract(bert, samples, root, Runtime(device="cpu"), report=Silent())
    assert (bert.identity.spec.layout, bert.identity.spec.dtype) == ("ragged", "float16")
    stored = FeatureStore(root, bert.identity).read([sample.key("text") for sample in samples])
    assert [row.shape for row in stored] == [(2, 384), (9, 384)]


def test_composed_and_decomposed_letters_give_the_same_row(opened: Callable[..., Bert]) -> None:
    bert = opened()
    assert row(bert, "caf\u00e9").tobytes() == row(bert, "cafe\u0301").tobytes()


@pytest.mark.parametrize("text", ["\U0001f62d", "\U0001f973\U0001f973", "\u0e40\u0e28\u0e23\u0e49\u0e32"])
def test_a_text_of_unknown_tokens_only_has_no_row(
    opened: Callable[..., Bert], say: Callable[[str], Sample], text: str
) -> None:
    with pytest.raises(MediaError, match="knows none of the text's tokens") as caught:
        opened().decode(say(text), "")
    assert caught.value.reason == "unknown_text"


def test_texts_with_some_unknown_tokens_are_counted(opened: Callable[..., Bert], say: Callable[[str], Sample]) -> None:
    bert = opened(max_tokens=4)
    assert bert.remarks(bert.decode(say("no \U0001f62d"), "")) == ("unknown_tokens",)
    assert bert.remarks(bert.decode(say("no \U0001f62d no no"), "")) == ("unknown_tokens", "truncated")
    assert bert.remarks(bert.decode(say("so happy"), "")) == ()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
@pytest.mark.parametrize("said", ["empty", "Git LFS pointer", "not whole"])
def test_files_that_are_not_whole_are_refused_by_name(root: Root, uncased: Path, name: str, said: str) -> None:
    whole = (uncased / name).read_bytes()
    cut = b"" if said == "empty" else POINTER if said == "Git LFS pointer" else whole[: len(whole) // 2]
    (uncased / name).write_bytes(cut)
    if (name, said) == ("vocab.txt", "not whole"):  # half a list is a list: nothing tells
        return
    with pytest.raises(ConfigError, match=said) as caught:
        Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).check()
    assert name in str(caught.value)


def test_a_tokenizer_that_cannot_be_read_is_nobodys_fault(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(Bert(BertConfig(), Inputs(root=Root(tmp_path / "root"))).folder, folder)
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes()[:5000])
    with pytest.raises(ConfigError, match=r"tokenizer\.json is not whole"):
        Bert(BertConfig(weights=str(folder)), Inputs(root=Root(tmp_path / "root"))).check()
    (folder / "tokenizer.json").write_text("{}")  # whole, and no tokenizer
    bert = Bert(BertConfig(weights=str(folder)), Inputs(root=Root(tmp_path / "root")))
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        extract(
            bert, [Sample(id="c/1", corpus="c", text="no")], bert.inputs.root, Runtime(device="cpu"), report=Silent()
        )
    assert FeatureStore(bert.inputs.root, bert.identity).quarantined() == []


def test_text_without_tokens_is_empty(opened: Callable[..., Bert], say: Callable[[str], Sample]) -> None:
    with pytest.raises(MediaError) as caught:
        opened().decode(say("\u200b\u0007"), "")
    assert caught.value.reason == "empty_text"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 0}, "layers"),
        ({"max_tokens": 2}, "max_tokens"),
        ({"pooling": "max"}, "pooling"),
        ({"long": "split"}, "long should be one of cut, window"),
        ({"pooling": "cls", "special_tokens": False}, "reads a special token"),
        ({"pooling": "last4-concat", "layers": 2}, "leave layers = 4"),
        ({"pooling": "none", "weights": "trained"}, "one row an utterance"),
        ({"initial": "trained"}, "where training starts"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BertConfig(**settings)


def test_more_layers_than_the_model_has_are_refused(make: Callable[..., Extractor]) -> None:
    with pytest.raises(ConfigError, match="num_hidden_layers = 6"):
        make("text", "bert", layers=7).identity  # noqa: B018


def test_a_pickle_of_other_objects_is_refused_without_torchs_advice(root: Root, uncased: Path) -> None:
    (uncased / "model.safetensors").unlink()
    torch.save({"tensor": torch.zeros(1), "path": uncased}, uncased / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"pytorch_model\.bin is not whole, or no such file") as caught:
        Bert(BertConfig(weights=str(uncased)), Inputs(root=root)).check()
    assert "weights_only" not in str(caught.value)


def test_an_incomplete_folder_names_what_it_lacks(uncased: Path, opened: Callable[..., Bert]) -> None:
    (uncased / "vocab.txt").unlink()
    with pytest.raises(ConfigError, match=r"lacks tokenizer\.json or vocab\.txt"):
        opened(weights=str(uncased))


@pytest.mark.parametrize(
    ("name", "value"), [("model_type", "roberta"), ("position_embedding_type", "relative_key"), ("is_decoder", True)]
)
def test_a_model_of_another_kind_is_refused(
    uncased: Path, opened: Callable[..., Bert], name: str, value: object
) -> None:
    config = json.loads((uncased / "config.json").read_text())
    (uncased / "config.json").write_text(json.dumps(config | {name: value}))
    with pytest.raises(ConfigError, match=f"expected {name} .* in config.json, got {value!r}"):
        opened(weights=str(uncased))


def test_a_hub_name_without_a_network_says_how_to_give_a_path(
    opened: Callable[..., Bert], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"model\.safetensors is neither in .* cache"):
        opened(weights="bert-that-is-nowhere")


def test_a_missing_folder_is_not_taken_for_a_hub_name(opened: Callable[..., Bert]) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        opened(weights="./nowhere/at/all")


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
