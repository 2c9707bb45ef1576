"""WordPiece ids of utterances: the windows a long one is read in, and how a batch is laid out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np


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


def windows(pieces: int, most: int) -> list[Window]:
    """Return windows of at most `most` pieces, each sharing a quarter of that with the next.

    Of the pieces two windows share, the first half counts in the earlier and the rest in the later one: so every piece
    counts once, in the window that shows more of the text around it.
    """
    overlap = most // 4
    begins = range(0, max(pieces - overlap, 1), most - overlap)
    bounds = [0, *(begin + overlap // 2 for begin in begins[1:]), pieces]
    return [Window(b, min(b + most, pieces), *own) for b, own in zip(begins, pairwise(bounds), strict=True)]


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
