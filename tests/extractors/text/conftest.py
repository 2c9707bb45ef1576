"""BERT opened with settings, BERT computed naively, and a small one in the files of `bert-base-uncased`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BertConfig as Architecture
from transformers import BertForPreTraining, BertModel, BertTokenizer

from extractors.extractor import Inputs, Runtime
from extractors.text.bert import Bert, BertConfig
from stores.root import Root
from stores.samples import Sample

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "door", "kid", "##s", "talk", "##ing", "by", "."]


@pytest.fixture
def say() -> Callable[[str], Sample]:
    return lambda text: Sample(id="c/1", corpus="c", text=text)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bert]:
    """Return an opened BERT, the same for the same settings."""
    root, found = Root(tmp_path_factory.mktemp("runs")), dict[str, Bert]()

    def build(numerics: str = "exact", **settings: object) -> Bert:
        name = f"{numerics} {settings}"
        if name not in found:
            found[name] = Bert(BertConfig(**settings), Inputs(root=root, numerics=numerics))
            found[name].open(Runtime(device="cpu"))
        return found[name]

    return build


@pytest.fixture(scope="module")
def naive() -> Callable[..., torch.Tensor]:
    """Return (layers + 1, tokens, width) float32: all hidden states of transformers' own model, one text at a time."""
    models = {}

    def states(folder: Path, text: str | None = None, ids: list[int] | None = None) -> torch.Tensor:
        if folder not in models:
            models[folder] = BertModel.from_pretrained(folder).eval(), BertTokenizer.from_pretrained(folder)
        model, tokenizer = models[folder]
        with torch.inference_mode():
            tokens = torch.tensor([tokenizer(text)["input_ids"] if ids is None else ids])
            return torch.stack(model(tokens, output_hidden_states=True).hidden_states)[:, 0]

    return states


@pytest.fixture
def uncased(tmp_path: Path) -> Path:
    """A folder with the files of `bert-base-uncased`: heads included, vocabulary of 13 pieces, random weights."""
    torch.manual_seed(0)
    folder = tmp_path / "bert-base-uncased"
    architecture = Architecture(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=5,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
        initializer_range=0.2,
    )
    BertForPreTraining(architecture).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}')
    return folder
