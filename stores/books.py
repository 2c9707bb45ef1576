"""The books of a run: every sample is absent, cached, extracted or quarantined, and the sum is checked."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from stores.errors import BooksError
from stores.receipt import RunReceipt

COUNTS = ("samples", "absent", "cached", "extracted", "quarantined", "distinct")


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Counts in samples; `distinct` is the number of distinct keys among the samples that have a row.

    `receipt` is what the run took; `failure`, which is not kept, says for which one reason most of it failed.

    Raises BooksError unless samples = absent + cached + extracted + quarantined.
    """

    samples: int
    absent: int
    cached: int
    extracted: int
    quarantined: int
    distinct: int
    receipt: RunReceipt | None = None
    failure: str | None = None

    def __post_init__(self) -> None:
        total = self.absent + self.cached + self.extracted + self.quarantined
        if total != self.samples:
            raise BooksError(
                f"the books do not balance: {self.samples} samples, but {self.absent} absent + {self.cached} cached "
                f"+ {self.extracted} extracted + {self.quarantined} quarantined = {total}; please report this"
            )

    @classmethod
    def total(cls, books: Iterable["Books"]) -> "Books":
        """Return the sum of several books: one feature extracted once a repeat, for instance."""
        every = list(books)
        counts = [book.as_dict() for book in every]
        receipts = [book.receipt for book in every if book.receipt is not None]
        return cls(
            **{name: sum(count[name] for count in counts) for name in COUNTS},
            receipt=RunReceipt.total(receipts) if receipts else None,
            failure=next((book.failure for book in every if book.failure), None),
        )

    def as_dict(self) -> dict[str, int]:
        """Return the counts."""
        return {name: getattr(self, name) for name in COUNTS}

    def as_json(self) -> dict[str, Any]:
        """Return what is kept of a run: the counts and, if there is one, the receipt."""
        return self.as_dict() | ({"receipt": asdict(self.receipt)} if self.receipt else {})

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Books":
        receipt = content.get("receipt")
        return cls(
            **{name: content[name] for name in COUNTS}, receipt=RunReceipt(**receipt) if receipt is not None else None
        )
