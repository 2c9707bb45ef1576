"""Utterances -> BERT: its last hidden layers over tokens, at [CLS] or token by token; as given or fine-tuned."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from extractors.text import _weights
from extractors.trainable import TRAINED, Trainable
from stores.errors import ConfigError, MediaError
from stores.samples import Sample
from stores.settings import check_choices
from stores.spec import FeatureSpec, embedding_spec

if TYPE_CHECKING:
    import torch

MEAN, CLS, CONCAT, NONE = POOLINGS = ("mean", "cls", "last4-concat", "none")
UNKNOWN = "[UNK]"
CUT, WINDOW = LONG = ("cut", "window")


@dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig:
    """What a BERT row is. `weights` is `packaged`, a folder, a hub name such as `bert-base-uncased`, or `trained`: an
    encoder fine-tuned here, starting from `initial` (any of the others), whose tokenizer it keeps.

    A token is the mean of its last `layers` hidden states. `pooling` is the `mean` over tokens; `cls`: [CLS] alone;
    `last4-concat`: the mean over tokens of the last four layers side by side; or `none`: every token, in order.
    `special_tokens` says whether [CLS] and [SEP] are among these tokens. `long` says what becomes of utterances of more
    than `max_tokens`, [CLS] and [SEP] included: `cut`, which the receipt counts as `truncated`, or read in a `window`
    after the other, which it counts as `windowed`. Windows share a quarter of their pieces with the next, of which the
    first half counts in the earlier and the rest in the later one; [CLS] and [SEP] are the mean over windows.
    Utterances with tokens the tokenizer does not know are counted as `unknown_tokens`.
    """

    weights: str = _weights.PACKAGED
    initial: str = _weights.PACKAGED
    layers: int = 4
    pooling: str = MEAN
    special_tokens: bool = True
    max_tokens: int = 512
    long: str = CUT

    def __post_init__(self) -> None:
        if self.layers < 1 or self.max_tokens < 3:
            raise ConfigError(f"layers should be >= 1 and max_tokens >= 3, got {self.layers} and {self.max_tokens}")
        check_choices(self, pooling=POOLINGS, long=LONG)
        if self.pooling == CLS and not self.special_tokens:
            raise ConfigError('pooling = "cls" reads a special token: leave special_tokens = true')
        if self.pooling == CONCAT and self.layers != 4:
            raise ConfigError(f'pooling = "last4-concat" takes the last 4 layers: leave layers = 4, not {self.layers}')
        if self.pooling == NONE and self.weights == TRAINED:
            raise ConfigError('an encoder is trained on one row an utterance: pooling = "none" needs given weights')
        if self.initial == TRAINED:
            raise ConfigError('initial says where training starts: "packaged", a folder or a hub name, not "trained"')

    @property
    def given(self) -> str:
        """The weights that are not trained here: those of the row, or those training starts from."""
        return self.initial if self.weights == TRAINED else self.weights


class Window(NamedTuple):
    """Of an utterance's pieces begin:end are read together, and first:last of them count."""

    begin: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """WordPiece ids of one utterance, special tokens included, and what the receipt counts about it."""

    ids: Sequence[int]
    windows: Sequence[Window]
    remarks: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """About what it takes in memory: Python's integers are large."""
        return 36 * len(self.ids)


@dataclass(frozen=True)
class Layout:
    """A batch of utterances, one line a window, short ones padded.

    `ids` (lines, longest) int64 are 0 in the padding; `lengths` (lines,) int64 count the tokens; `owners` (lines,)
    int64 say whose window it is. `positions` (lines, longest) int64 is where in its utterance a token stands; `shares`
    (lines, longest) float32 add up to 1 for each of these positions: [CLS] and [SEP] of several windows share one.
    """

    ids: np.ndarray
    lengths: np.ndarray
    owners: np.ndarray
    positions: np.ndarray
    shares: np.ndarray


class Bert(Trainable[Tokens]):
    """Utterance -> (hidden size,) float16: 768 for `bert-base-uncased`, 384 for the packaged MiniLM.

    Four times that wide if four layers stand side by side, (tokens, hidden size) without pooling. Text is
    NFC-normalised, as its key is; stop words stay. Source: Devlin et al. 2019; reference paper, section 2.1.3.
    """

    modality = "text"
    version = 2
    config_type = BertConfig
    replaced = frozenset({"weights", "initial"})
    trains_mixed = True
    budget = 2048  # tokens: what a layer makes of them stays in the cache
    decodes_unopened = True
    paper_grid: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [1e-5, 3e-5, 5e-5],
        "batch_size": [16, 32],
        "dropout": [0.1, 0.3, 0.5],
    }
    packages: ClassVar[tuple[str, ...]] = ("tokenizers", "torch", "transformers")

    config: BertConfig

    @cached_property
    def folder(self) -> Path:
        """Where the given weights and the tokenizer lie. Raises ConfigError if they are nowhere."""
        return _weights.find_folder(self.config.given)

    @property
    def serves_mixed(self) -> bool:  # type: ignore[override]
        return self.config.layers > 1  # the last layer alone is at the bound of the class in bfloat16: cosine 0.99990

    def spec(self) -> FeatureSpec:
        model = _weights.model_config(self.folder)
        for name, most in (("layers", "num_hidden_layers"), ("max_tokens", "max_position_embeddings")):
            if getattr(self.config, name) > model[most]:
                raise ConfigError(
                    f"{name} = {getattr(self.config, name)}, but {self.config.given} has {most} = {model[most]}"
                )
        width = model["hidden_size"] * (self.config.layers if self.config.pooling == CONCAT else 1)
        spec = embedding_spec(width, self.inputs.numerics)
        return replace(spec, layout="ragged") if self.config.pooling == NONE else spec

    def tokenizer_digest(self) -> str:
        return _weights.tokenizer_digest(self.folder)

    def weights_note(self) -> str:
        if self.config.weights == TRAINED:
            return super().weights_note()
        if self.config.weights == _weights.PACKAGED:
            return "all-MiniLM-L6-v2 (packaged)"
        if self.folder != Path(self.config.weights):
            return self.config.weights  # a hub name
        return f"{self.folder.resolve().name} ({_weights.weights_digest(self.folder)[:12]})"

    @cached_property
    def _tokenizer(self) -> Any:
        """The tokenizer without padding and truncation: those settings are not thread-safe."""
        for name, value in (("TOKENIZERS_PARALLELISM", "false"), ("HF_HUB_DISABLE_TELEMETRY", "1")):
            os.environ.setdefault(name, value)
        from extractors.text._network import load_tokenizer  # one door: transformers cannot be entered by two at once

        return load_tokenizer(self.folder)

    def warm(self) -> None:
        self._tokenizer  # noqa: B018  (a tokenizer that cannot be read is no sample's fault)

    def decode(self, sample: Sample, key: str) -> Tokens:
        assert sample.text is not None
        encoding = self._tokenizer.encode(unicodedata.normalize("NFC", sample.text))
        if all(encoding.special_tokens_mask):
            raise MediaError(f"{sample.id}: the text has no tokens", reason="empty_text")
        ids, most, remarks = encoding.ids, self.config.max_tokens - 2, []
        unknown = ids.count(self._tokenizer.token_to_id(UNKNOWN))
        if unknown == len(ids) - 2:
            raise MediaError(f"{sample.id}: the tokenizer knows none of the text's tokens", reason="unknown_text")
        if unknown:
            remarks.append("unknown_tokens")
        if len(ids) > self.config.max_tokens:
            remarks.append({CUT: "truncated", WINDOW: "windowed"}[self.config.long])
            ids = ids if self.config.long == WINDOW else [*ids[: most + 1], ids[-1]]
        return Tokens(ids, windows(len(ids) - 2, most), tuple(remarks))

    def length(self, item: Tokens) -> int:
        return len(item.ids)

    def remarks(self, item: Tokens) -> Sequence[str]:
        return item.remarks

    def batch(self, items: Sequence[Tokens]) -> tuple[torch.Tensor, ...]:
        import torch

        found, sizes = laid_out(items), np.array([len(item.ids) for item in items])
        slots, weights = np.broadcast_to(found.owners[:, None], found.ids.shape), found.shares
        if self.config.pooling == NONE:
            slots = (sizes.cumsum() - sizes)[found.owners, None] + found.positions
        elif self.config.pooling == CLS:
            weights = weights * (found.positions == 0)
        else:
            last = sizes[found.owners, None] - 1
            if not self.config.special_tokens:
                weights = weights * (found.positions % last > 0)
            weights = weights / (last + (1 if self.config.special_tokens else -1))
        arrays = found.ids, found.lengths, slots, weights.astype(np.float32)
        return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)

    def network(self, seed: int) -> torch.nn.Module:
        from extractors.text._network import BertNetwork

        side_by_side = self.config.pooling == CONCAT
        return BertNetwork(self.folder, seed, layers=self.config.layers, side_by_side=side_by_side)

    def given_state(self) -> Mapping[str, torch.Tensor]:
        from extractors.text._network import given_state

        return given_state(self.folder)

    def given_digest(self) -> str:
        return _weights.weights_digest(self.folder)

    def serving(self, network: Any, dtype: torch.dtype) -> Callable[..., torch.Tensor]:
        from extractors.text._network import PackedBert

        return PackedBert(network, dtype)

    def embed(self, items: Sequence[Tokens]) -> Iterator[np.ndarray]:
        rows = super().embed(items)
        if self.config.pooling != NONE:
            yield from rows
            return
        for item in items:
            tokens = np.stack(list(islice(rows, len(item.ids))))
            yield tokens if self.config.special_tokens else tokens[1:-1]


def windows(pieces: int, most: int) -> list[Window]:
    """Return windows of at most `most` pieces, each sharing a quarter of that with the next.

    Of the pieces two windows share, the first half counts in the earlier and the rest in the later one: so every piece
    counts once, in the window that shows more of the text around it.
    """
    overlap = most // 4
    begins = range(0, max(pieces - overlap, 1), most - overlap)
    bounds = [0, *(begin + overlap // 2 for begin in begins[1:]), pieces]
    return [Window(b, min(b + most, pieces), *own) for b, own in zip(begins, pairwise(bounds), strict=True)]


def laid_out(items: Sequence[Tokens]) -> Layout:
    """Return the layout of a batch."""
    lines = [(number, window) for number, item in enumerate(items) for window in item.windows]
    lengths = np.array([2 + window.end - window.begin for _, window in lines], np.int64)
    shape = len(lines), int(lengths.max())
    ids, positions, shares = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for line, (number, (begin, end, first, last)) in enumerate(lines):
        item, length = items[number], lengths[line]
        ids[line, :length] = [item.ids[0], *item.ids[1 + begin : 1 + end], item.ids[-1]]
        positions[line, 1 : length - 1] = np.arange(1 + begin, 1 + end)
        positions[line, length - 1] = len(item.ids) - 1
        shares[line, 1 + first - begin : 1 + last - begin] = 1
        shares[line, [0, length - 1]] = 1 / len(item.windows)
    return Layout(ids, lengths, np.array([number for number, _ in lines], np.int64), positions, shares)
