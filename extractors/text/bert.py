"""Utterances -> BERT: mean over the last hidden layers, then over tokens, or at [CLS]."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from extractors.devices import computing, pick_device, pick_dtype
from extractors.extractor import Extractor, Runtime
from extractors.text import _weights
from stores.errors import ConfigError, MediaError
from stores.samples import Sample
from stores.spec import FeatureSpec, embedding_spec

POOLINGS = ("mean", "cls")


@dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig:
    """What a BERT row is. `weights` is `packaged`, a folder or a hub name such as `bert-base-uncased`.

    `layers` counts from the last, and their mean is taken; `pooling` is the mean over tokens, or `cls`: [CLS] alone;
    `special_tokens` says whether [CLS] and [SEP] count in the mean over tokens; longer utterances are cut to
    `max_tokens` (special tokens included), which the receipt counts as `truncated`.
    """

    weights: str = _weights.PACKAGED
    layers: int = 4
    pooling: str = "mean"
    special_tokens: bool = True
    max_tokens: int = 512

    def __post_init__(self) -> None:
        if self.layers < 1 or self.max_tokens < 3:
            raise ConfigError(f"layers should be >= 1 and max_tokens >= 3, got {self.layers} and {self.max_tokens}")
        if self.pooling not in POOLINGS:
            raise ConfigError(f"pooling should be one of {', '.join(POOLINGS)}, got {self.pooling!r}")
        if self.pooling == "cls" and not self.special_tokens:
            raise ConfigError('pooling = "cls" reads a special token: leave special_tokens = true')


@dataclass(frozen=True, slots=True)
class Tokens:
    """WordPiece ids of one utterance, special tokens included."""

    ids: list[int]
    truncated: bool


class Bert(Extractor[Tokens]):
    """Utterance -> (hidden size,) float16: 768 for `bert-base-uncased`, 384 for the packaged MiniLM.

    Text is NFC-normalised, as its key is; stop words stay. Source: Devlin et al. 2019; reference paper, section 2.1.3.
    """

    modality = "text"
    version = 1
    config_type = BertConfig
    replaced = frozenset({"weights"})
    packages: ClassVar[tuple[str, ...]] = ("tokenizers", "torch", "transformers")

    config: BertConfig

    @cached_property
    def folder(self) -> Path:
        """Where weights and tokenizer lie. Raises ConfigError if they are nowhere."""
        return _weights.find_folder(self.config.weights)

    def spec(self) -> FeatureSpec:
        model = _weights.model_config(self.folder)
        for name, most in (("layers", "num_hidden_layers"), ("max_tokens", "max_position_embeddings")):
            if getattr(self.config, name) > model[most]:
                raise ConfigError(
                    f"{name} = {getattr(self.config, name)}, but {self.config.weights} has {most} = {model[most]}"
                )
        return embedding_spec(model["hidden_size"], self.inputs.numerics)

    def weights_digest(self) -> str:
        return _weights.weights_digest(self.folder)

    def tokenizer_digest(self) -> str:
        return _weights.tokenizer_digest(self.folder)

    def weights_note(self) -> str:
        if self.config.weights == _weights.PACKAGED:
            return "all-MiniLM-L6-v2 (packaged)"
        if self.folder != Path(self.config.weights):
            return self.config.weights  # a hub name
        return f"{self.folder.resolve().name} ({self.weights_digest()[:12]})"

    def open(self, runtime: Runtime) -> None:
        for name, value in (("TOKENIZERS_PARALLELISM", "false"), ("HF_HUB_DISABLE_TELEMETRY", "1")):
            os.environ.setdefault(name, value)
        import torch

        self._device = pick_device(runtime.device)
        self._dtype = pick_dtype(self._device, self.inputs.numerics)
        model, tokenizer = _load(self.folder)
        self._model = model.to(self._device, torch.float32).eval()
        self._tokenizer = tokenizer
        self.computed_on = (str(self._device), str(self._dtype).removeprefix("torch."))

    def decode(self, sample: Sample, key: str) -> Tokens:
        assert sample.text is not None
        encoding = self._tokenizer.encode(unicodedata.normalize("NFC", sample.text))
        if all(encoding.special_tokens_mask):
            raise MediaError(f"{sample.id}: the text has no tokens", reason="empty_text")
        if len(encoding.ids) <= self.config.max_tokens:
            return Tokens(encoding.ids, False)
        return Tokens([*encoding.ids[: self.config.max_tokens - 1], encoding.ids[-1]], True)

    def length(self, item: Tokens) -> int:
        return len(item.ids)

    def remarks(self, item: Tokens) -> Sequence[str]:
        return ("truncated",) if item.truncated else ()

    def embed(self, items: Sequence[Tokens]) -> Iterator[np.ndarray]:
        import torch

        ids = torch.zeros((len(items), max(len(item.ids) for item in items)), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, : len(item.ids)] = torch.tensor(item.ids)
            mask[row, : len(item.ids)] = 1
        ids, mask = ids.to(self._device), mask.to(self._device)
        with torch.inference_mode(), computing(self._device, self._dtype):
            states = self._model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
            hidden = sum(state.float() for state in states[-self.config.layers :]) / self.config.layers
        if self.config.pooling == "cls":
            yield from hidden[:, 0].cpu().numpy()
            return
        if not self.config.special_tokens:
            mask = mask.clone()
            mask[torch.arange(len(items)), mask.sum(dim=1) - 1] = 0
            mask[:, 0] = 0
        weight = mask.unsqueeze(2).float()
        yield from ((hidden * weight).sum(dim=1) / weight.sum(dim=1)).cpu().numpy()


def _load(folder: Path) -> tuple[Any, Any]:
    """Return (model, tokenizer without padding and truncation: those settings are not thread-safe)."""
    from transformers import BertModel, BertTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, found = BertModel.from_pretrained(
        folder, add_pooling_layer=False, output_loading_info=True, local_files_only=True
    )
    if found["missing_keys"] or found["mismatched_keys"]:
        lacking = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
        raise ConfigError(f"BERT weights in {folder} lack {len(lacking)} tensors of the model, first {lacking[0]}")
    tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return model, tokenizer
