"""Rows against transformers' hidden states, computed one text at a time in float32; as they are stored."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from extractors.extractor import Extractor
from extractors.text.bert import Bert
from stores.samples import Sample

TEXTS = (
    "No.",
    "I can’t believe it!",
    "Oh my God, oh my God! Poor Monica!",
    "also I was the point person on my company’s transition from the KL-5 to GR-6 system.",
    "You must’ve had your hands full.",
    "Hey.",
    "That I did. That I did.",
    "kids are talking by the door, and nobody listens to them at all today",
    "So let’s talk a little bit about your duties, shall we? My duties? All right. Now you’ll be heading a whole"
    " division, so you’ll have a lot of duties. I see. But there’ll be perhaps 30 people under you, so you can dump a"
    " certain amount on them.",
    "¿Qué? Straße, naïve, 日本語, 😀 #hashtag @someone http://example.org/?q=1",
    "WHAT?! No no no no no no no no no, please...",
    "Well, it's just that I was wondering -- if you're not doing anything on Friday -- whether you'd like to come.",
)
POOLINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # of hidden states (layers + 1, tokens, width)
    "mean": lambda states: states[-4:].mean(dim=0).mean(dim=0),
    "cls": lambda states: states[-4:].mean(dim=0)[0],
    "last4-concat": lambda states: torch.cat([states[layer].mean(dim=0) for layer in (-4, -3, -2, -1)]),
    "none": lambda states: states[-4:].mean(dim=0),
}


def rows(bert: Bert, texts: tuple[str, ...] | list[str]) -> list[np.ndarray]:
    """The rows of one batch, as they are stored."""
    items = [bert.decode(Sample(id="c/1", corpus="c", text=text), "") for text in texts]
    return [bert.identity.spec.checked(row, sample_id="c/1") for row in bert.embed(items)]


def promised(bert: Extractor, found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether a stored row keeps the promise of its class; of token rows, every token does."""
    assert found.shape == wanted.shape
    if bert.inputs.numerics == "exact":
        return bool(np.abs(found - wanted).max() <= 1e-4)
    a, b = (np.atleast_2d(np.asarray(row, np.float64)) for row in (found, wanted))
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return bool(cosine.min() >= 0.9999)


@pytest.mark.parametrize("numerics", ["standard", "exact"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_rows_equal_transformers(
    opened: Callable[..., Bert], naive: Callable[..., torch.Tensor], pooling: str, numerics: str
) -> None:
    bert = opened(numerics, pooling=pooling)
    for text, found in zip(TEXTS, rows(bert, TEXTS), strict=True):
        assert promised(bert, found, POOLINGS[pooling](naive(bert.folder, text)).numpy()), text


@pytest.mark.parametrize("pooling", ["mean", "last4-concat", "none"])
def test_special_tokens_can_be_left_out(
    opened: Callable[..., Bert], naive: Callable[..., torch.Tensor], pooling: str
) -> None:
    bert = opened(pooling=pooling, special_tokens=False)
    for text, found in zip(TEXTS, rows(bert, TEXTS), strict=True):
        assert promised(bert, found, POOLINGS[pooling](naive(bert.folder, text)[:, 1:-1]).numpy()), text


@pytest.mark.parametrize("numerics", ["standard", "exact"])
@pytest.mark.parametrize("layers", [1, 2, 6])
def test_the_number_of_layers_is_a_setting(
    opened: Callable[..., Bert], naive: Callable[..., torch.Tensor], layers: int, numerics: str
) -> None:
    bert = opened(numerics, layers=layers)
    for text, found in zip(TEXTS, rows(bert, TEXTS), strict=True):
        assert promised(bert, found, naive(bert.folder, text)[-layers:].mean(dim=(0, 1)).numpy()), text


@pytest.mark.parametrize("numerics", ["standard", "exact"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_long_text_is_read_in_windows_and_every_token_counts_once(
    opened: Callable[..., Bert], naive: Callable[..., torch.Tensor], pooling: str, numerics: str
) -> None:
    bert = opened(numerics, pooling=pooling, max_tokens=10, long="window")
    text = "we all went down to the sea and then the long way home by night , did n ' t"  # 20 pieces
    item = bert.decode(Sample(id="c/1", corpus="c", text=text), "")
    [first, *pieces, last] = item.ids
    assert len(pieces) == 20
    parts = [naive(bert.folder, ids=[first, *pieces[a:b], last]) for a, b in ((0, 8), (6, 14), (12, 20))]
    counted = [parts[0][:, 1:8], parts[1][:, 2:8], parts[2][:, 2:9]]  # pieces 0-6, 7-12 and 13-19
    specials = [torch.stack([part[:, at] for part in parts]).mean(dim=0)[:, None] for at in (0, -1)]
    states = torch.cat([specials[0], *counted, specials[1]], dim=1)
    short, found = rows(bert, [TEXTS[0], text])
    assert promised(bert, found, POOLINGS[pooling](states).numpy())
    assert promised(bert, short, POOLINGS[pooling](naive(bert.folder, TEXTS[0])).numpy())


@pytest.mark.parametrize("numerics", ["standard", "exact"])
@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_a_row_does_not_depend_on_its_neighbours(opened: Callable[..., Bert], pooling: str, numerics: str) -> None:
    bert = opened(numerics, pooling=pooling, max_tokens=24, long="window")
    alone = {text: rows(bert, [text])[0].astype(np.float32) for text in TEXTS}

    @settings(max_examples=25, deadline=None, database=None)
    @given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=16))
    def agree(batch: list[str]) -> None:
        assert all(promised(bert, row, alone[text]) for text, row in zip(batch, rows(bert, batch), strict=True))

    agree()


def test_what_does_not_fit_at_once_is_computed_in_turns(
    opened: Callable[..., Bert], monkeypatch: pytest.MonkeyPatch
) -> None:
    bert = opened(max_tokens=10, long="window")
    together = rows(bert, TEXTS)
    monkeypatch.setattr("extractors.text._network._MOST_TOKENS", 16)
    assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(rows(bert, TEXTS), together, strict=True))


class _Made(TorchDispatchMode):
    """Keeps every tensor of a shape that is made, but not what shares its memory."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.found = shape, dict[int, torch.Tensor]()

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> object:
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.shape == self.shape:
            self.found[made.data_ptr()] = made
        return made


def test_rows_of_a_long_text_are_held_once_however_many_turns_it_takes(
    opened: Callable[..., Bert], monkeypatch: pytest.MonkeyPatch
) -> None:
    bert = opened(max_tokens=10, long="window", pooling="none")
    [together] = rows(bert, ["no " * 100])
    monkeypatch.setattr("extractors.text._network._MOST_TOKENS", 16)
    with _Made((102, 384)) as made:
        [found] = rows(bert, ["no " * 100])
    assert len(made.found) == 1
    assert np.abs(found - together).max() < 1e-5


@pytest.mark.real_data
@pytest.mark.parametrize("numerics", ["standard", "exact"])
def test_real_sentences_equal_transformers(
    real_data: Path, opened: Callable[..., Bert], naive: Callable[..., torch.Tensor], numerics: str
) -> None:
    with (real_data / "manifest_text.csv").open(newline="", encoding="utf-8") as file:
        texts = [line["text"] for line in csv.DictReader(file)][::37]
    assert len(texts) == 300
    states = [naive(opened(numerics).folder, text) for text in texts]
    for pooling, pool in POOLINGS.items():
        bert = opened(numerics, pooling=pooling)
        for text, found, own in zip(texts, rows(bert, texts), states, strict=True):
            assert promised(bert, found, pool(own).numpy()), (pooling, text)
