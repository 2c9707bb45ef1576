"""The LSTM-CNN: residual 1-D convolutions, then an LSTM; padding never reaches a valid frame.

Signals are (B, T, C), with zeros beyond each length.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

_BLOCKS = 2


class LstmCnnNetwork(nn.Module):
    """(frames (B, T, columns), lengths (B,)) -> (B, 2 hidden), or (B, hidden) with attention.

    A strided stem and two strided residual blocks shorten time to an eighth before the LSTM; `dropout` follows each
    block. `mean` and `deviation` normalise each column; they are part of the weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, columns: int, *, filters: int, kernel: int, hidden: int, dropout: float, attention: bool
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("deviation", torch.ones(columns))
        self.stem = _Convolution(columns, filters, kernel, stride=2)
        self.blocks = nn.ModuleList([_Residual(filters, kernel, dropout) for _ in range(_BLOCKS)])
        self.lstm = nn.LSTM(filters, hidden, batch_first=True)
        self.pooling = _Attention(hidden) if attention else _MeanAndLast()

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        signal = (frames - self.mean) / self.deviation
        signal = signal.masked_fill(~_valid(lengths, signal), 0.0)
        signal, lengths = self.stem(signal, lengths)
        signal = torch.relu(signal)
        for block in self.blocks:
            signal, lengths = block(signal, lengths)
        states, _ = self.lstm(signal)  # up to each length they know nothing of the padding behind it
        pooled: Tensor = self.pooling(states, lengths)
        return pooled


class _MeanAndLast(nn.Module):
    """Mean of the valid states ++ the last of them: (B, T, hidden) -> (B, 2 hidden)."""

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        total = (states * _valid(lengths, states)).sum(dim=1)
        last = states[torch.arange(len(states), device=states.device), lengths - 1]
        return torch.cat([total / lengths[:, None], last], dim=1)


class _Attention(nn.Module):
    """Mean of the valid states h_t weighted by softmax_t(q . h_t / sqrt(hidden)): (B, T, hidden) -> (B, hidden).

    The query q is learned from zero: at first all states weigh the same.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(hidden))

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        scores = states @ self.query / len(self.query) ** 0.5
        scores = scores[:, :, None].masked_fill(~_valid(lengths, states), -torch.inf)
        pooled: Tensor = (scores.softmax(dim=1) * states).sum(dim=1)
        return pooled


class _Residual(nn.Module):
    def __init__(self, filters: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.first = _Convolution(filters, filters, kernel, stride=2)
        self.second = _Convolution(filters, filters, kernel)
        self.shortcut = _Convolution(filters, filters, 1, stride=2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, signal: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        inner, shorter = self.first(signal, lengths)
        inner, _ = self.second(torch.relu(inner), shorter)
        beside, _ = self.shortcut(signal, lengths)
        return self.dropout(torch.relu(inner + beside)), shorter


class _Convolution(nn.Module):
    """Convolution and batch norm over valid frames only; in `eval` the norm is folded into the convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, signal: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        stride, weight, norm = self.convolution.stride[0], self.convolution.weight, self.norm
        lengths = (lengths + stride - 1) // stride
        if self.training:
            signal = _convolved(signal, weight, None, stride)
            rows = signal.flatten(0, 1)
            places = _valid(lengths, signal).flatten().nonzero()[:, 0]
            normed = torch.zeros_like(rows).index_copy(0, places, norm(rows.index_select(0, places)))
            return normed.view_as(signal), lengths
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        signal = _convolved(signal, weight * scale[:, None, None], norm.bias - norm.running_mean * scale, stride)
        return signal * _valid(lengths, signal), lengths


def _convolved(signal: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve over time; in two dimensions, because only there channels can stay last in memory."""
    padding = (0, weight.shape[2] // 2)
    found = conv2d(signal.transpose(1, 2)[:, :, None], weight[:, :, None], bias, (1, stride), padding)
    return found[:, :, 0].transpose(1, 2)


def _valid(lengths: Tensor, signal: Tensor) -> Tensor:
    """Return (B, T, 1) bool: whether a frame lies within its length."""
    return torch.arange(signal.shape[1], device=lengths.device)[:, None] < lengths[:, None, None]
