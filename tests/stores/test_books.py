import pytest

from stores.errors import BooksError
from stores.receipt import Books

COUNTS = {"samples": 10, "absent": 1, "cached": 4, "extracted": 3, "quarantined": 2, "distinct": 6}


def test_books_that_balance_are_kept():
    assert Books(**COUNTS).as_dict() == COUNTS


@pytest.mark.parametrize("name", ["samples", "absent", "cached", "extracted", "quarantined"])
def test_books_that_do_not_balance_are_refused(name):
    with pytest.raises(BooksError, match="the books do not balance"):
        Books(**{**COUNTS, name: COUNTS[name] + 1})


def test_books_add_up():
    assert Books.total([Books(**COUNTS)] * 2).as_dict() == {name: 2 * count for name, count in COUNTS.items()}
