import pytest

from stores.spelling import plain, plain_names, twins


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("WR0 ", "WR0"),
        ("\u00a0WR0\u2003\u3000", "WR0"),
        ("\ufeffWR0\u200b", "WR0"),
        (" \u200b\t WR0\x00\x1a\r\n", "WR0"),
        ("Jose\u0301", "Jos\u00e9"),
        ("Jos\u00e9", "Jos\u00e9"),
        ("a  b", "a  b"),
        ("\u00a0\u2800\u200b", ""),
        ("", ""),
    ],
)
def test_a_name_is_nfc_and_has_no_blanks_at_its_ends(given: str, kept: str) -> None:
    assert plain(given) == kept
    assert plain(kept) == kept


def test_marks_without_end_cost_no_time() -> None:
    text = "a" + "\u0301\u0316" * 500_000  # normalising it would take hours
    assert plain(text + " ") == text


def test_settings_are_spelled_like_cells() -> None:
    settings = {"emotion ": {"joy\u00a0": "Fro\u0308hlich", "x": ""}, "speaker": (" S1", "S2 ", "S1")}
    assert plain_names(settings) == {"emotion": {"joy": "Fr\u00f6hlich", "x": ""}, "speaker": ("S1", "S2")}


def test_twins_differ_by_case_blanks_or_leading_zeros_only() -> None:
    names = ["WR0", "wr0", "WR00", "1", "01", "10", "S 2", "S\u00a02", "s02", "S20", "joy", "enjoy", "0", "joy"]
    assert twins(names) == [("01", "1"), ("S 2", "S\u00a02", "s02"), ("WR0", "WR00", "wr0")]
    assert twins(["a1", "a10", "a100", "b1", "0.5", "5"]) == []
