"""A BERT whose hidden layers are joined and gathered into rows: as it is trained, and without padding, for rows alone:
linear layers over all tokens of a batch, attention among windows of one length.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils import logging

from extractors._weight_files import not_whole
from extractors.text._weights import model_config
from stores.errors import ConfigError

logging.set_verbosity_error()
logging.disable_progress_bar()

Groups = list[tuple[int, int]]  # (length, number of windows), in the order of the tokens
_MOST_TOKENS = 1 << 16  # computed at once: an utterance of very many windows must not fill the memory


class BertNetwork(nn.Module):
    """(ids (N, T), lengths (N,), slots (N, T), weights (N, T)) -> (rows, width) float32.

    A token is the mean of its last `layers` hidden states, or all of them side by side; row s is the sum over the
    tokens with slot s, each times its weight. Ids beyond the length of a line are padding.
    """

    def __init__(self, folder: Path, seed: int, *, layers: int, side_by_side: bool) -> None:
        super().__init__()
        self.layers, self.side_by_side = layers, side_by_side
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.bert: Any = BertModel(BertConfig(**model_config(folder)), add_pooling_layer=False)
        self.width: int = self.bert.config.hidden_size * (layers if side_by_side else 1)

    def forward(self, ids: Tensor, lengths: Tensor, slots: Tensor, weights: Tensor) -> Tensor:
        states = self.bert(
            input_ids=ids, attention_mask=filled(ids, lengths).long(), output_hidden_states=True
        ).hidden_states
        return gathered(self.joined(states).flatten(0, 1), slots.flatten(), weights.flatten(), int(slots.max()) + 1)

    def joined(self, states: Sequence[Tensor]) -> Tensor:
        """Return one vector a token (..., width) float32 from its hidden states, the last layer's last."""
        last = [state.float() for state in states[-self.layers :]]
        return torch.cat(last, dim=-1) if self.side_by_side else torch.stack(last).mean(dim=0)


def filled(ids: Tensor, lengths: Tensor) -> Tensor:
    """Return (N, T) bool: what is no padding."""
    return torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]


def gathered(tokens: Tensor, slots: Tensor, weights: Tensor, count: int) -> Tensor:
    """Return (count, width): the weighted sums of tokens (n, width) by slot (n,)."""
    return tokens.new_zeros(count, tokens.shape[1]).index_add(0, slots, tokens * weights[:, None])


def given_state(folder: Path) -> dict[str, Tensor]:
    """Return the state of a BertNetwork with the weights in a folder. Raises ConfigError if some are missing."""
    model, found = BertModel.from_pretrained(
        folder,
        config=BertConfig(**model_config(folder)),
        add_pooling_layer=False,
        output_loading_info=True,
        local_files_only=True,
        dtype=torch.float32,
    )
    if lacking := sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]])):
        raise ConfigError(f"BERT weights in {folder} lack {len(lacking)} tensors of the model, first {lacking[0]}")
    return {f"bert.{name}": value for name, value in model.state_dict().items()}


def load_tokenizer(folder: Path) -> Any:
    """Return the WordPiece tokenizer without padding and truncation: those settings are not thread-safe."""
    try:
        tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    except Exception as error:  # tokenizers raises bare ones
        raise not_whole(folder / "tokenizer.json", error) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def product(dtype: torch.dtype, *layers: nn.Linear, then: nn.Module | None = None) -> Callable[[Tensor], Tensor]:
    """Return linear layers with the same input as one that computes in `dtype`, `then` applied to what it gives."""
    weight = torch.cat([layer.weight.detach() for layer in layers]).to(dtype)
    bias = torch.cat([layer.bias.detach() for layer in layers]).to(dtype)
    if weight.device.type == "cpu" and dtype == torch.bfloat16:
        try:
            packed = _packed(weight, bias, then)
            packed(weight[:1])
            return packed
        except (AttributeError, RuntimeError):  # private to torch, and only where it was built with oneDNN
            pass
    return _plain(weight, bias, then)


def _plain(weight: Tensor, bias: Tensor, then: Any) -> Callable[[Tensor], Tensor]:
    def computed(inputs: Tensor) -> Tensor:
        outputs = linear(inputs.to(weight.dtype), weight, bias)
        return outputs if then is None else then(outputs)

    return computed


def _packed(weight: Tensor, bias: Tensor, then: Any) -> Callable[[Tensor], Tensor]:
    packed, compute = torch.ops.mkldnn._reorder_linear_weight(weight), torch.ops.mkldnn._linear_pointwise
    fused = _is_gelu(then)
    after: tuple[str, list[Any], str | None] = ("gelu", [], "none") if fused else ("none", [], None)

    def computed(inputs: Tensor) -> Tensor:
        outputs: Tensor = compute(inputs.to(bias.dtype), packed, bias, *after)
        return outputs if fused or then is None else then(outputs)

    return computed


def _is_gelu(then: Any) -> bool:
    """Return whether it is the GELU by the error function, of which there are several classes."""
    probe = torch.linspace(-4, 4, 65)
    return then is not None and torch.equal(then(probe), nn.functional.gelu(probe))


class PackedBert:
    """Gives the rows of a BertNetwork in `eval`. Products are computed in `dtype`, sums and layer norms in float32."""

    def __init__(self, network: BertNetwork, dtype: torch.dtype) -> None:
        self._network = network
        self._layers = [_Layer(layer, dtype) for layer in network.bert.encoder.layer]
        network.bert.encoder = None  # its weights are held in another form

    def __call__(self, ids: Tensor, lengths: Tensor, slots: Tensor, weights: Tensor) -> Tensor:
        """Return (rows, width) float32 of what a BertNetwork is called with."""
        order = lengths.argsort(stable=True)
        totals = accumulate(lengths[order].tolist())
        turns = [len(list(own)) for _, own in groupby(totals, lambda total: (total - 1) // _MOST_TOKENS)]
        rows = torch.zeros(int(slots.max()) + 1, self._network.width, device=ids.device)
        for lines in torch.split(order, turns):
            inside = filled(ids[lines], lengths[lines])
            groups = [(length, len(list(same))) for length, same in groupby(lengths[lines].tolist())]
            tokens = self._tokens(ids[lines][inside], inside.nonzero()[:, 1], groups)
            rows.index_add_(0, slots[lines][inside], tokens * weights[lines][inside][:, None])
        return rows

    def _tokens(self, ids: Tensor, positions: Tensor, groups: Groups) -> Tensor:
        """Return (n, width) of n tokens, windows one after the other."""
        embeddings = self._network.bert.embeddings
        kind = embeddings.token_type_embeddings.weight[0]  # there is one sentence
        hidden = embeddings.word_embeddings(ids) + kind + embeddings.position_embeddings(positions)
        states = [embeddings.LayerNorm(hidden)]
        for layer in self._layers:
            states = [*states, layer(states[-1], groups)][-self._network.layers :]
        return self._network.joined(states)


class _Layer:
    """One transformer layer over tokens (n, hidden) float32."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        own = layer.attention.self
        self._heads: int = own.num_attention_heads
        self._inward = product(dtype, own.query, own.key, own.value)
        self._outward = product(dtype, layer.attention.output.dense)
        self._up = product(dtype, layer.intermediate.dense, then=layer.intermediate.intermediate_act_fn)
        self._down = product(dtype, layer.output.dense)
        self._norms = layer.attention.output.LayerNorm, layer.output.LayerNorm

    def __call__(self, states: Tensor, groups: Groups) -> Tensor:
        attended = _attention(self._inward(states), groups, self._heads)
        states = self._norms[0](states + self._outward(attended))
        normed: Tensor = self._norms[1](states + self._down(self._up(states)))
        return normed


def _attention(inward: Tensor, groups: Groups, heads: int) -> Tensor:
    """Return (n, hidden) from queries, keys and values (n, 3 hidden): every window attends to itself.

    On a CPU in float32, in which torch is faster at every length of up to 512 tokens.
    """
    attended, start = inward.new_empty(len(inward), inward.shape[1] // 3), 0
    for length, count in groups:
        some = slice(start, start := start + length * count)
        part = inward[some] if inward.is_cuda else inward[some].float()
        query, key, value = part.view(count, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
        attended[some] = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(0, 1).flatten(1)
    return attended
