"""The one extraction loop: decode on threads, embed on the device, write behind; all three overlap.

A block of about a thousand keys is the unit of work. In this process the blocks run as one stream, so that decoding
never pauses between them; `map_blocks` sends whole blocks to other processes instead.
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any

import numpy as np

from extractors._ahead import MOST_BYTES, ahead, weight
from extractors._decoding import decoded, too_slow
from extractors._embedding import Embedding
from extractors.extractor import Description, Extractor, Runtime
from extractors.forecast import forecast
from extractors.plan import Pending, now, plan, shared
from stores.books import Books
from stores.errors import MediaError
from stores.features import FeatureStore
from stores.progress import Progress, Silent
from stores.quarantine import Quarantined
from stores.root import Root
from stores.samples import Sample
from stores.spec import Receipt

Block = tuple[Pending, ...]
MapBlocks = Callable[[Callable[[Block], "Outcome"], Sequence[Block]], Iterable["Outcome"]]
PART_BYTES = 256 << 20  # long recordings fill more than one part a block


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a block: number of rows sealed, and of samples with a row and without."""

    rows: int
    extracted: int
    quarantined: int


def extract(
    extractor: Extractor[Any],
    samples: Sequence[Sample],
    root: Root,
    runtime: Runtime,
    *,
    report: Progress,
    map_blocks: MapBlocks | None = None,
    retry: Container[str] = (),
) -> Books:
    """Make every row that is missing and return the balanced books.

    `map_blocks(function, blocks)` runs a picklable function over blocks elsewhere and yields its outcomes in any
    order; without it they run here. Failures whose reason is in `retry` are tried again. What is planned is noted
    first; the books are kept with the feature. Raises FeatureMismatch if another identity lies under its id.
    """
    store = FeatureStore.create(root, extractor.identity)
    todo = plan(extractor, samples, root, retry=retry, report=report)
    store.quarantine(todo.news)
    if lost := store.parts.lost():
        report.note(f"{store.id}: {len(lost)} damaged parts are passed over; `affuse store verify` names them")
    blocks = [tuple(todo.todo[i : i + runtime.block_size]) for i in range(0, len(todo.todo), runtime.block_size)]
    rows = extracted = failed = 0
    if blocks:
        description = Description.of(extractor)
        report.note(f"{extractor.identity.id}: {forecast(todo, store)}")
        report.start(extractor.identity.id, todo.pending, "samples")
        if map_blocks is None:
            outcomes = _stream(_opened(description, runtime.device), store, blocks, runtime, report)
        else:
            outcomes = _advancing(map_blocks(partial(extract_block, description, runtime), blocks), description, report)
        for outcome in outcomes:
            rows += outcome.rows
            extracted += outcome.extracted
            failed += outcome.quarantined
        report.finish(extractor.identity.id)
    books = Books(
        samples=len(samples),
        absent=len(todo.absent),
        cached=len(todo.cached),
        extracted=extracted,
        quarantined=len(todo.quarantined) + failed,
        distinct=len(set(todo.cached)) + rows,
    )
    store.write_books(books, now())
    return books


def extract_block(description: Description, runtime: Runtime, block: Block) -> Outcome:
    """Extract and seal one block; what a worker process is sent. The model is opened once a process."""
    extractor = _opened(description, runtime.device)
    store = FeatureStore.create(extractor.inputs.root, extractor.identity)
    [outcome] = _stream(extractor, store, [block], runtime, Silent())
    return outcome


@lru_cache(maxsize=4)
def _opened(description: Description, device: str) -> Extractor[Any]:
    extractor = description.build()
    extractor.open(Runtime(device=device))
    return extractor


def _advancing(outcomes: Iterable[Outcome], description: Description, report: Progress) -> Iterator[Outcome]:
    for outcome in outcomes:
        report.advance(description.feature, outcome.extracted + outcome.quarantined)
        yield outcome


def _stream(
    extractor: Extractor[Any], store: FeatureStore, blocks: Sequence[Block], runtime: Runtime, report: Progress
) -> Iterator[Outcome]:
    """Yield the outcome of each block once it is sealed, while the next one is being decoded and embedded."""
    items = ahead(
        partial(_decode, extractor),
        chain.from_iterable(blocks),
        threads=runtime.workers,
        depth=runtime.queue,
        limit_s=runtime.time_limit,
        late=lambda pending: too_slow(pending.samples[0], runtime.time_limit),
    )
    embedding = Embedding(extractor)
    with ThreadPoolExecutor(1) as writer, closing(items):
        behind: Future[Outcome] | None = None
        for block in blocks:
            part = _Part(extractor, store, writer, report)
            remaining = islice(items, len(block))
            while window := _window(remaining, runtime.queue):
                _embed_window(extractor, embedding, window, runtime.batch_size, part)
            sealed = part.close()
            if behind is not None:
                yield behind.result()
            behind = sealed
        if behind is not None:
            yield behind.result()


def _decode(extractor: Extractor[Any], pending: Pending) -> Any:
    return decoded(extractor, pending.samples[0], pending.key)


def _window(items: Iterator[tuple[Pending, Any]], most: int) -> list[tuple[Pending, Any]]:
    """Return the next items: at most that many, and no more once they weigh MOST_BYTES."""
    window, held = [], 0
    for pending, item in islice(items, most):
        window.append((pending, item))
        held += weight(item)
        if held >= MOST_BYTES:
            break
    return window


def _embed_window(
    extractor: Extractor[Any],
    embedding: Embedding,
    window: Sequence[tuple[Pending, Any]],
    batch_size: int,
    part: "_Part",
) -> None:
    """Embed what has been decoded, in batches alike in length."""
    good = []
    for pending, item in window:
        if isinstance(item, MediaError):
            part.fail(pending, item)
        else:
            good.append((pending, item))
            part.remarks.update(extractor.remarks(item))
    good.sort(key=lambda pair: extractor.length(pair[1]))
    for start in range(0, len(good), batch_size):
        batch, others = good[start : start + batch_size], good[start + batch_size :]
        rows = embedding.rows([item for _, item in batch], (item for _, item in others))
        for (pending, _), row in zip(batch, rows, strict=True):
            part.add(pending, row)


class _Part:
    """The rows and failures of a block on their way to disk; sealed behind by the writer thread."""

    def __init__(
        self, extractor: Extractor[Any], store: FeatureStore, writer: ThreadPoolExecutor, report: Progress
    ) -> None:
        self.extractor, self.store, self.writer, self.report = extractor, store, writer, report
        self.rows: dict[str, np.ndarray] = {}
        self.failures: list[Quarantined] = []
        self.remarks: Counter[str] = Counter()
        self.sealed = self.extracted = self.bytes = 0
        self.started = time.perf_counter()
        self.writing: Future[str] | None = None

    def add(self, pending: Pending, row: np.ndarray | MediaError) -> None:
        if isinstance(row, MediaError):
            return self.fail(pending, row)
        try:
            checked = self.extractor.identity.spec.checked(row, sample_id=pending.samples[0].id)
        except MediaError as error:
            return self.fail(pending, error)
        self.rows[pending.key] = checked
        self.extracted += len(pending.samples)
        self.bytes += checked.nbytes
        self.report.advance(self.store.id, len(pending.samples))
        if self.bytes >= PART_BYTES:
            self._seal()
        return None

    def fail(self, pending: Pending, error: MediaError) -> None:
        first = pending.samples[0]
        key = None if error.stage == "read" and error.reason != "upstream" else pending.key  # None: tried every run
        row = Quarantined.of(error, sample_id=first.id, key=key, attempts=pending.attempts + 1, time=now())
        self.failures += [shared(row, sample) for sample in pending.samples]
        self.report.advance(self.store.id, len(pending.samples))

    def close(self) -> Future[Outcome]:
        """Hand the rest to the writer and return the outcome to come."""
        if self.rows:
            self._seal()
        return self.writer.submit(self._finish)

    def _finish(self) -> Outcome:
        self.store.quarantine(self.failures)
        if self.writing is not None:
            self.writing.result()
        return Outcome(rows=self.sealed, extracted=self.extracted, quarantined=len(self.failures))

    def _seal(self) -> None:
        device, dtype = self.extractor.computed_on
        receipt = Receipt(
            device=device,
            dtype=dtype,
            seconds=round(time.perf_counter() - self.started, 3),
            versions=self.extractor.versions(),
            counts={"rows": len(self.rows), "bytes": self.bytes, **self.remarks},
        )
        if self.writing is not None:
            self.writing.result()  # at most one part waits to be written
        self.writing = self.writer.submit(self.store.write_part, self.rows, receipt)
        self.sealed += len(self.rows)
        self.rows, self.remarks, self.bytes, self.started = {}, Counter(), 0, time.perf_counter()
