"""A BERT without padding, for rows: linear layers over all tokens of a batch, attention among windows of one length."""

from collections.abc import Callable
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from extractors.text._network import BertNetwork, filled

Groups = list[tuple[int, int]]  # (length, number of windows), in the order of the tokens
_MOST_TOKENS = 1 << 16  # computed at once: an utterance of very many windows must not fill the memory


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
