"""The LSTM-CNN: residual 1-D convolutions, then an LSTM; padding never reaches a valid frame."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

_BLOCKS = 2


class LstmCnnNetwork(nn.Module):
    """(frames (B, T, columns), lengths (B,)) -> (B, 2 hidden): masked mean over time ++ last valid state.

    A strided stem and two strided residual blocks shorten time to an eighth before the LSTM. `mean` and `deviation`
    normalise each column; they are part of the weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, columns: int, *, filters: int, kernel: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("deviation", torch.ones(columns))
        self.stem = _Convolution(columns, filters, kernel, stride=2)
        self.blocks = nn.ModuleList([_Residual(filters, kernel) for _ in range(_BLOCKS)])
        self.lstm = nn.LSTM(filters, hidden, batch_first=True)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        frames = (frames - self.mean) / self.deviation
        signal = frames.masked_fill(~_valid(lengths, frames.shape[1])[:, :, None], 0.0).transpose(1, 2)
        signal, lengths = self.stem(signal, lengths)
        signal = torch.relu(signal)
        for block in self.blocks:
            signal, lengths = block(signal, lengths)
        packed = pack_padded_sequence(signal.transpose(1, 2), lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, (last, _) = self.lstm(packed)
        padded, _ = pad_packed_sequence(states, batch_first=True)  # zero beyond each length
        return torch.cat([padded.sum(dim=1) / lengths[:, None], last[-1]], dim=1)


class _Residual(nn.Module):
    def __init__(self, filters: int, kernel: int) -> None:
        super().__init__()
        self.first = _Convolution(filters, filters, kernel, stride=2)
        self.second = _Convolution(filters, filters, kernel)
        self.shortcut = _Convolution(filters, filters, 1, stride=2)

    def forward(self, signal: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        inner, shorter = self.first(signal, lengths)
        inner, _ = self.second(torch.relu(inner), shorter)
        beside, _ = self.shortcut(signal, lengths)
        return torch.relu(inner + beside), shorter


class _Convolution(nn.Module):
    """Convolution and batch norm over valid frames only; (B, C, T) with zeros beyond each length, in and out."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.convolution = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, signal: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        signal = self.convolution(signal).transpose(1, 2)
        lengths = (lengths + self.stride - 1) // self.stride
        valid = _valid(lengths, signal.shape[1])
        normed = torch.zeros_like(signal)
        normed[valid] = self.norm(signal[valid])
        return normed.transpose(1, 2), lengths


def _valid(lengths: Tensor, longest: int) -> Tensor:
    return torch.arange(longest, device=lengths.device) < lengths[:, None]
