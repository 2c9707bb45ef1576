"""The books of a run: every sample is absent, cached, extracted or quarantined, and the sum is checked."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

from stores.errors import BooksError


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Counts in samples; `distinct` is the number of distinct keys among the samples that have a row.

    Raises BooksError unless samples = absent + cached + extracted + quarantined.
    """

    samples: int
    absent: int
    cached: int
    extracted: int
    quarantined: int
    distinct: int

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
        rows = [book.as_dict() for book in books]
        return cls(**{field.name: sum(row[field.name] for row in rows) for field in fields(cls)})

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
