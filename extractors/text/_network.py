"""A BERT whose hidden layers are joined and gathered into rows: the form that is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils import logging

from extractors._weight_files import not_whole
from extractors.text._weights import model_config
from stores.errors import ConfigError

logging.set_verbosity_error()
logging.disable_progress_bar()


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
