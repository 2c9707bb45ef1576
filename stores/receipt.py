"""The books of a run: what became of every sample, what it took, stage by stage, and what held it up."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stores.errors import BooksError

STAGES = ("read", "open", "decode", "embed", "write", "waiting")
WAITING_TO_WRITE = "waiting_to_write"
NOTABLE_SHARE = 0.02  # of samples with a remark (truncated, unknown tokens, damaged): above it, the reader is told
_BEFORE = ("read", "open")  # `read` may be upstream rows in the loop as well: the sum is no share of either
_BUSY = 0.85  # of the loop: from here on the device is the bottleneck
_SHORT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReceipt:
    """What one run took: `samples` done (with a row or in quarantine) in `seconds`, from the plan to the last seal.

    `loop` is the seconds its loop ran with the model open, added up over processes. `stages` are seconds that overlap:
    `read` (files hashed for their keys before the loop; upstream rows read by the decoding threads), `open` (the loop
    waited for the model), `decode` (all threads together), `embed`, `write` (behind the loop, flushing included) and
    `waiting` (the device had nothing to do), of which `waiting_to_write`. `decode_workers` are threads a process;
    `halved` is how often a batch did not fit into memory.
    """

    samples: int
    seconds: float
    loop: float
    stages: Mapping[str, float]
    decode_workers: int
    halved: int = 0

    @classmethod
    def total(cls, receipts: Iterable["RunReceipt"]) -> "RunReceipt":
        """Return the sum of several: one feature extracted once a repeat, for instance."""
        every = list(receipts)
        stages: Counter[str] = Counter()
        for receipt in every:
            stages.update(receipt.stages)
        return cls(
            samples=sum(receipt.samples for receipt in every),
            seconds=sum(receipt.seconds for receipt in every),
            loop=sum(receipt.loop for receipt in every),
            stages=dict(stages),
            decode_workers=max(receipt.decode_workers for receipt in every),
            halved=sum(receipt.halved for receipt in every),
        )

    @property
    def rate(self) -> float | None:
        """Samples a second of the whole run; None if it did nothing."""
        return self.samples / self.seconds if self.samples and self.seconds else None

    def share(self, stage: str) -> float | None:
        """Return seconds of a stage / seconds of the loop, those of `decode` a thread; None without a loop.

        Stages overlap, so shares may add up to more than 1. `read` and `open` have none: they precede the loop.
        """
        if stage in _BEFORE or not self.loop:
            return None
        return self.stages.get(stage, 0.0) / (self.decode_workers if stage == "decode" else 1) / self.loop

    @property
    def busy_share(self) -> float | None:
        """Share of the loop in which the device embedded."""
        return self.share("embed")

    @property
    def verdict(self) -> str:
        """What holds the run up, and what to do about it, in one line."""
        busy = self.busy_share
        if not self.samples or busy is None:
            return "nothing to do"
        if busy >= _BUSY:
            return "embedding bound: the device is the bottleneck, as it should be"
        if self.loop < _SHORT_S:
            return "too short to tell what bounds it"
        write = self.stages.get(WAITING_TO_WRITE, 0.0)
        source = self.stages.get("waiting", 0.0) - write
        rest = self.loop * (1 - busy) - write - source
        if write >= max(source, rest):
            return "write bound: the device waits for the store; a faster disk under --root would help"
        if source >= rest:
            stage = "decode" if self.stages.get("decode", 0.0) > 0 else "read"
            threads = f"raise --decode-workers ({self.decode_workers})"
            return f"{stage} bound: {threads}, or spread it over more processes (--workers, --dask)"
        return "loop bound: rows are so cheap that keeping the books takes longest"

    def __str__(self) -> str:
        busy = self.busy_share
        told = [] if busy is None else [f"device busy {100 * busy:.0f} %"]
        halved = [f"batches halved {self.halved} times for lack of memory"] if self.halved else []
        return "; ".join([*told, *halved, self.verdict])

    def as_json(self) -> dict[str, Any]:
        """Return every field and what follows from them, rounded, for people and scripts."""
        return {
            **asdict(self),
            "seconds": round(self.seconds, 3),
            "loop": round(self.loop, 3),
            "stages": {name: round(seconds, 3) for name, seconds in sorted(self.stages.items())},
            "shares": {name: _rounded(self.share(name)) for name in STAGES},
            "samples_per_second": _rounded(self.rate),
            "busy_share": _rounded(self.busy_share),
            "verdict": self.verdict,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


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
