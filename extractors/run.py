"""The one extraction loop: decode on threads, embed on the device, write behind; all three overlap.

A block of about a thousand keys is the unit of work. In this process the blocks run as one stream, so that decoding
never pauses between them; `map_blocks` sends whole blocks to other processes instead.
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain, islice
from threading import Lock
from typing import Any

from extractors._ahead import MOST_BYTES, ahead, decoded, too_slow, weight
from extractors._embedding import Embedding
from extractors._part import Outcome, Part, Since, Stages, prevailing, rounded
from extractors.extractor import Description, Extractor, Runtime
from extractors.plan import Pending, forecast, now, plan
from stores.derivations import withdraw_orphans
from stores.errors import MediaError, RowsDamaged
from stores.features import FeatureStore
from stores.progress import Progress, Silent
from stores.quarantine import MOST_ATTEMPTS, PASSING
from stores.receipt import NOTABLE_SHARE, WAITING_TO_WRITE, Books, RunReceipt
from stores.root import Root
from stores.rows import ABSENT
from stores.samples import Sample

Block = tuple[Pending, ...]
MapBlocks = Callable[[Callable[[Block], Outcome], Sequence[Block]], Iterable[Outcome]]
GPU_BUDGETS = 32  # a batch on a GPU may cost so many times one on a CPU
_FIRST_WINDOW = 64  # items; the first ones are embedded while the queue still fills
_SMALL_BLOCK, _MANY_BLOCKS = 64, 16
_OPENING, _EMBEDDING = Lock(), Lock()


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
    first; the books are kept with the feature. Raises FeatureMismatch if another identity lies under its id, and
    RowsDamaged if upstream rows turned out to be: extract those again, then the rest of these.
    """
    started, stages = time.perf_counter(), Stages()
    store = FeatureStore.create(root, extractor.identity)
    if orphans := withdraw_orphans(store):
        report.note(f"{store.id}: rows made of what is no longer held for right: {orphans}, made again now")
    with stages.timed("read"):
        todo = plan(extractor, samples, root, retry=retry, report=report)
    store.quarantine(todo.news)
    if again := sum(len(pending.samples) for pending in todo.todo if pending.attempts):
        report.note(f"{store.id}: {again} samples that failed before are tried again")
    if spent := sum(failure.reason in PASSING for failure in todo.quarantined):
        report.note(
            f"{store.id}: {spent} samples ran out of time or memory {MOST_ATTEMPTS} times and are left out; "
            "--retry-quarantined tries them again"
        )
    if lost := store.parts.lost():
        report.note(f"{store.id}: {len(lost)} damaged parts are passed over; `affuse store verify` names them")
    size = runtime.block_size if map_blocks is None else _block_size(len(todo.todo), runtime)
    blocks = [tuple(todo.todo[i : i + size]) for i in range(0, len(todo.todo), size)]
    outcomes: list[Outcome] = []
    if blocks:
        report.note(f"{store.id}: {forecast(todo, store)}")
        report.start(store.id, todo.pending, "samples")
        outcomes += _outcomes(extractor, store, blocks, runtime, report, stages, map_blocks)
        report.finish(store.id)
    books = Books(
        samples=len(samples),
        absent=len(todo.absent),
        cached=len(todo.cached),
        extracted=sum(outcome.extracted for outcome in outcomes),
        quarantined=len(todo.quarantined) + sum(outcome.quarantined for outcome in outcomes),
        distinct=len(set(todo.cached)) + sum(outcome.rows for outcome in outcomes),
        receipt=_receipt(outcomes, stages, time.perf_counter() - started, runtime),
        failure=prevailing(todo, outcomes),
    )
    if blocks:
        report.note(f"{store.id}: {books.receipt}")
    for remark, count in sum((Counter(outcome.remarks) for outcome in outcomes), Counter[str]()).items():
        if count > NOTABLE_SHARE * books.extracted:
            report.note(f"{store.id}: {count} of {books.extracted} samples have the remark {remark}")
    store.write_books(books, now())
    if extractor.inputs.upstream is not None:
        keys = [pending.key for block in blocks for pending in block]
        if gone := int((extractor.inputs.upstream.index().find(keys) == ABSENT).sum()):
            raise RowsDamaged(f"{store.id}: rows of {extractor.inputs.upstream.id} turned out to be damaged: {gone}")
    return books


def _receipt(outcomes: Sequence[Outcome], stages: Stages, seconds: float, runtime: Runtime) -> RunReceipt:
    took = stages.so_far()
    return RunReceipt(
        samples=sum(outcome.extracted + outcome.quarantined for outcome in outcomes),
        seconds=round(seconds, 3),
        loop=round(took.pop("loop", 0.0), 3),
        stages=rounded(took),
        decode_workers=runtime.decode_workers,
        halved=sum(outcome.halved for outcome in outcomes),
    )


def _block_size(todo: int, runtime: Runtime) -> int:
    """Return the size of blocks for other processes: there should be work for all of them."""
    return min(runtime.block_size, max(_SMALL_BLOCK, -(-todo // _MANY_BLOCKS)))


def _outcomes(
    extractor: Extractor[Any],
    store: FeatureStore,
    blocks: Sequence[Block],
    runtime: Runtime,
    report: Progress,
    stages: Stages,
    map_blocks: MapBlocks | None,
) -> Iterator[Outcome]:
    """Yield the outcome of each block, from this process or from others, whose seconds are added to ours."""
    if map_blocks is None:
        yield from _Loop(extractor, store, runtime, report, stages).outcomes(blocks)
        return
    for outcome in map_blocks(partial(extract_block, Description.of(extractor), runtime), blocks):
        report.advance(store.id, outcome.extracted + outcome.quarantined)
        stages.add(outcome.stages)
        yield outcome


def extract_block(description: Description, runtime: Runtime, block: Block) -> Outcome:
    """Extract and seal one block; what a worker process is sent. The model is opened once a process.

    A worker with several threads embeds one block at a time: `at_most` and the GPU's memory are the whole process's.
    """
    stages = Stages()
    with stages.timed("open"):
        extractor = _open_once(description, runtime.device)
    store = FeatureStore.create(extractor.inputs.root, extractor.identity)
    with _EMBEDDING:
        [outcome] = _Loop(extractor, store, runtime, Silent(), stages).outcomes([block])
    return replace(outcome, stages=rounded(stages.so_far()))


def _open_once(description: Description, device: str) -> Extractor[Any]:
    with _OPENING:  # a worker process may have several threads
        return _opened(description, device)


@lru_cache(maxsize=4)
def _opened(description: Description, device: str) -> Extractor[Any]:
    extractor = description.build()
    extractor.open(Runtime(device=device))
    if extractor.computed_on[0] != "cpu":
        extractor.capacity *= GPU_BUDGETS
    return extractor


class _Loop:
    """Decode ahead, embed, write behind. If decoding needs no model, items are decoded while the model is opened."""

    def __init__(
        self, extractor: Extractor[Any], store: FeatureStore, runtime: Runtime, report: Progress, stages: Stages
    ) -> None:
        self.extractor, self.store, self.runtime, self.report, self.stages = extractor, store, runtime, report, stages
        self._most = min(_FIRST_WINDOW, runtime.queue)
        self._made_of: dict[str, str | None] = {}

    def outcomes(self, blocks: Sequence[Block]) -> Iterator[Outcome]:
        """Yield the outcome of each block once it is sealed, while the next one is being decoded and embedded."""
        embedding = None
        with ThreadPoolExecutor(1) as writer:
            opening = writer.submit(self._open, Description.of(self.extractor))
            if not self.extractor.decodes_unopened:
                with self.stages.timed("open"):
                    self.extractor, _ = opening.result()
            with closing(self._decoding(blocks)) as items, self.stages.timed("loop"):
                behind: Future[Outcome] | None = None
                since: Since = time.perf_counter(), self.stages.so_far()
                for block in blocks:
                    remaining = islice(items, len(block))
                    window = self._next(remaining)
                    if embedding is None:
                        embedding, since = self._embedding(opening, since)
                    part = Part(self.extractor, self.store, writer, self.report, self.stages, since, self._made_of)
                    while window:
                        self._embed(embedding, window, part)
                        window.clear()  # or its items would stay in memory while the next are awaited
                        window = self._next(remaining)
                    sealed, since = part.close(), part.since
                    if behind is not None:
                        yield self._written(behind)
                    behind = sealed
                if behind is not None:
                    yield self._written(behind)

    def _decoding(self, blocks: Sequence[Block]) -> Generator[tuple[Pending, Any], None, None]:
        return ahead(
            self._decode,
            chain.from_iterable(blocks),
            threads=self.runtime.decode_workers,
            depth=self.runtime.queue,
            limit_s=self.runtime.time_limit,
            late=lambda pending: too_slow(pending.samples[0], self.runtime.time_limit),
        )

    def _decode(self, pending: Pending) -> Any:
        extractor = self.extractor  # it is another once the model is open
        with self.stages.timed("read" if extractor.upstream else "decode"):
            item = decoded(extractor, pending.samples[0], pending.key)
        if extractor.upstream_rows is not None:
            self._made_of[pending.key] = extractor.upstream_rows.digests.pop(pending.key, None)
        return item

    def _next(self, items: Iterator[tuple[Pending, Any]]) -> list[tuple[Pending, Any]]:
        """Return a window of decoded items: a small one at first, so that there is something to embed soon."""
        with self.stages.timed("waiting"):
            window = _window(items, self._most)
        self._most = min(2 * self._most, self.runtime.queue)
        return window

    def _open(self, description: Description) -> tuple[Extractor[Any], float]:
        return _open_once(description, self.runtime.device), time.perf_counter()

    def _embedding(self, opening: Future[tuple[Extractor[Any], float]], since: Since) -> tuple[Embedding, Since]:
        """Return the means to embed once the model is open; only then the loop begins for the receipts."""
        began, before = since
        waited = time.perf_counter() - began
        self.extractor, opened = opening.result()
        early = max(0.0, opened - began)
        self.stages.add({"open": early, "loop": -early, "waiting": -min(early, waited)})
        return Embedding(self.extractor, self.report), (began + early, before)

    def _embed(self, embedding: Embedding, window: Sequence[tuple[Pending, Any]], part: Part) -> None:
        """Embed what has been decoded, in batches alike in length that cost no more than the device can bear."""
        good = []
        for pending, item in window:
            if isinstance(item, MediaError):
                part.fail(pending, item)
            else:
                good.append((pending, item))
                part.remarks.update(self.extractor.remarks(item))
        good.sort(key=lambda pair: self.extractor.length(pair[1]))
        halved, lengths = embedding.halved, [self.extractor.length(item) for _, item in good]
        start = 0
        while start < len(good):
            end = start + embedding.fitting(lengths[start:], self.runtime.batch_size)
            with self.stages.timed("embed"):
                rows = embedding.rows([item for _, item in good[start:end]], (item for _, item in good[end:]))
            for (pending, _), row in zip(good[start:end], rows, strict=True):
                part.add(pending, row)
            start = end
        part.halved += embedding.halved - halved

    def _written(self, behind: Future[Outcome]) -> Outcome:
        with self.stages.timed("waiting", WAITING_TO_WRITE):
            return behind.result()


def _window(items: Iterator[tuple[Pending, Any]], most: int) -> list[tuple[Pending, Any]]:
    """Return the next items: at most that many, and no more once they weigh MOST_BYTES."""
    window, held = [], 0
    for pending, item in islice(items, most):
        window.append((pending, item))
        held += weight(item)
        if held >= MOST_BYTES:
            break
    return window
