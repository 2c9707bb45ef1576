"""The windows of long texts, and batches of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from extractors.text.bert import Tokens, Window, laid_out, windows


def test_what_fits_is_one_window() -> None:
    assert windows(8, 8) == [Window(0, 8, 0, 8)]


def test_windows_share_a_quarter_of_which_each_counts_half() -> None:
    assert windows(20, 8) == [Window(0, 8, 0, 7), Window(6, 14, 7, 13), Window(12, 20, 13, 20)]
    assert windows(9, 8) == [Window(0, 8, 0, 7), Window(6, 9, 7, 9)]


@given(st.integers(1, 400), st.integers(1, 64))
def test_every_piece_counts_once_and_away_from_where_the_text_was_cut(pieces: int, most: int) -> None:
    found = windows(pieces, most)
    assert [piece for window in found for piece in range(window.first, window.last)] == list(range(pieces))
    for begin, end, first, last in found:
        assert 0 <= begin <= first < last <= end <= pieces
        assert end - begin <= most
        assert begin == 0 or first - begin >= most // 8
        assert end == pieces or end - last >= most // 8


def test_a_batch_is_laid_out_one_line_a_window() -> None:
    found = laid_out([Tokens([2, 7, 3], windows(1, 4)), Tokens([2, 10, 11, 12, 13, 14, 3], windows(5, 4))])
    assert found.ids.tolist() == [[2, 7, 3, 0, 0, 0], [2, 10, 11, 12, 13, 3], [2, 13, 14, 3, 0, 0]]
    assert found.lengths.tolist() == [3, 6, 4]
    assert found.owners.tolist() == [0, 1, 1]
    assert found.positions[1:].tolist() == [[0, 1, 2, 3, 4, 6], [0, 4, 5, 6, 0, 0]]
    assert found.shares.tolist() == [[1, 1, 1, 0, 0, 0], [0.5, 1, 1, 1, 0, 0.5], [0.5, 1, 1, 0.5, 0, 0]]
    assert found.shares.dtype == np.float32
