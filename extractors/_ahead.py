"""Decode samples safely: ahead, on threads that can be given up, as one that hangs holds up neither run nor exit; and
tell what is the sample's fault, what may pass with time, and what is the machine's fault.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from threading import TIMEOUT_MAX, Condition, Thread, current_thread, get_ident, local
from typing import Any, Generic, TypeVar

from extractors.extractor import Extractor
from stores.errors import MediaError, StoreError
from stores.samples import Sample

Given = TypeVar("Given")
MOST_BYTES = 512 << 20  # decoded and waiting: a few long recordings weigh more than a queue of short ones
LIMIT_S = 120.0
PATIENCE = 10  # limits an item may take by the clock on the wall: for one that waits, and uses no time of a processor
_LEAST_S = 0.05  # between two looks at the clocks
_GRACE_S = 1.0  # threads that are merely busy get this long to end with their stream


class _Task(Generic[Given]):
    """One item on its way; `started` is None while its time does not run, else a time on the wall and a thread's."""

    def __init__(self, item: Given, limit_s: float) -> None:
        self.item, self.limit_s = item, limit_s
        self.started: tuple[float, float] | None = None
        self.clock: int | None = None
        self.done = self.given_up = False
        self.result: Any = None
        self.bytes = 0
        self.error: BaseException | None = None

    def start(self) -> None:
        """Let the time run of what this very thread does."""
        if hasattr(time, "pthread_getcpuclockid"):
            self.clock = time.pthread_getcpuclockid(get_ident())
        self.started = time.monotonic(), self._computed()

    def left(self) -> float:
        """Return the seconds after which its time is up at the earliest: that of a processor, or PATIENCE times any."""
        if (started := self.started) is None:
            return self.limit_s
        waited, computed = time.monotonic() - started[0], self._computed() - started[1]
        return min(self.limit_s - computed, PATIENCE * self.limit_s - waited)

    def _computed(self) -> float:
        return 0.0 if self.clock is None else time.clock_gettime(self.clock)


_own = local()  # the task a thread works on


@contextmanager
def unclocked() -> Iterator[None]:
    """Do something that is no decoding, such as importing a library, while the time of this thread's item stands."""
    task: _Task[Any] | None = getattr(_own, "task", None)
    if task is not None:
        task.started = None
    yield
    if task is not None:
        task.start()


def time_limit() -> float:
    """Return the seconds that the item may take which this thread decodes."""
    task: _Task[Any] | None = getattr(_own, "task", None)
    return LIMIT_S if task is None else task.limit_s


def given_up(limit_s: float) -> MediaError:
    """Return what becomes of an item whose time was up."""
    longest = f"{limit_s:g} s of computing, nor {PATIENCE * limit_s:g} s of waiting"
    return MediaError(f"not decoded within {longest}: given up; a longer `time_limit` may help", reason="timeout")


class _Decoders(Generic[Given]):
    """Daemon threads that work off tasks first come, first served; one that takes too long is replaced."""

    def __init__(self, function: Callable[[Given], Any], threads: int, limit_s: float) -> None:
        self._function, self._limit_s = function, limit_s
        self._changed = Condition()
        self._waiting: deque[_Task[Given]] = deque()
        self._running: dict[_Task[Given], Thread] = {}
        self._held = 0
        self._closed = False
        self._threads = {self._start() for _ in range(threads)}

    def submit(self, item: Given) -> _Task[Given]:
        task = _Task(item, self._limit_s)
        with self._changed:
            self._waiting.append(task)
            self._changed.notify_all()
        return task

    def wait(self, task: _Task[Given]) -> None:
        """Return once the task is done or given up; those that run beside it are watched as well."""
        with self._changed:
            self._replace_late()
            while not (task.done or task.given_up):
                left = min((running.left() for running in self._running), default=TIMEOUT_MAX)
                self._changed.wait(min(max(left, _LEAST_S), TIMEOUT_MAX))
                self._replace_late()

    def take(self, task: _Task[Given]) -> Any:
        """Return the result of a task that is done, or raise its error."""
        with self._changed:
            self._held -= task.bytes
            self._changed.notify_all()
        if task.error is not None:
            raise task.error
        return task.result

    def close(self) -> None:
        """Start nothing more, and wait a moment for what runs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end = time.monotonic() + _GRACE_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _start(self) -> Thread:
        thread = Thread(target=self._work, name="decoder", daemon=True)
        thread.start()
        return thread

    def _replace_late(self) -> None:
        for task in [running for running in self._running if running.left() <= 0]:
            task.given_up = True
            self._threads.discard(self._running.pop(task))
            self._threads.add(self._start())

    def _work(self) -> None:
        while (task := self._next()) is not None:
            _own.task = task
            try:
                task.result = self._function(task.item)
            except BaseException as error:  # raised where the result is asked for
                task.error = error
            with self._changed:
                if task.given_up:
                    task.result = task.error = None
                    return
                task.done = True
                task.bytes = weight(task.result)
                self._held += task.bytes
                del self._running[task]
                self._changed.notify_all()
            del task, _own.task  # or its result would stay in memory while this thread waits

    def _next(self) -> _Task[Given] | None:
        with self._changed:
            while not self._closed and (not self._waiting or self._held >= MOST_BYTES):
                self._changed.wait()
            if self._closed:
                return None
            task = self._waiting.popleft()
            task.start()
            self._running[task] = current_thread()
            self._changed.notify_all()
            return task


def ahead(
    function: Callable[[Given], Any],
    items: Iterable[Given],
    *,
    threads: int,
    depth: int,
    limit_s: float,
    late: Callable[[Given], Any],
) -> Generator[tuple[Given, Any], None, None]:
    """Yield (item, function(item)) in order, never more than `depth` of them, or MOST_BYTES, decoded and waiting.

    An item is given up that computes for more than `limit_s` seconds from when its turn on a thread came, or takes
    PATIENCE times as long by the clock on the wall: so none is lost on a busy machine. `late(item)` stands in for its
    result and another thread takes over, while the old one ends by itself or with the process.
    What `function` raises is raised here, at the item's place.
    """
    decoders = _Decoders(function, threads, limit_s)
    waiting: deque[_Task[Given]] = deque()
    try:
        for item in items:
            waiting.append(decoders.submit(item))
            if len(waiting) >= depth:
                yield _taken(decoders, waiting.popleft(), late)
        while waiting:
            yield _taken(decoders, waiting.popleft(), late)
    finally:
        decoders.close()


def _taken(decoders: _Decoders[Given], task: _Task[Given], late: Callable[[Given], Any]) -> tuple[Given, Any]:
    decoders.wait(task)
    if task.given_up:
        return task.item, late(task.item)
    return task.item, decoders.take(task)


def weight(decoded: Any) -> int:
    """Return the bytes of a decoded array; what is no array is small."""
    return int(getattr(decoded, "nbytes", 0))


def decoded(extractor: Extractor[Any], sample: Sample, key: str) -> Any:
    """Return the decoded item, or the MediaError that kept it from being decoded; stage `read` may pass with time.

    A missing package, or what `warm` cannot read, is raised: no sample is to blame. An extractor with an upstream reads
    the row of that very key, so only for the others is it checked that the file is still the one that was planned.
    """
    with unclocked():
        extractor.warm()
    try:
        item = extractor.decode(sample, key)
        if view := extractor.inputs.view:
            item = extractor.varied(item, view.settings, view.generator(key))
    except Exception as error:  # decoders raise anything at all on hostile files
        item = _failure(error, sample)
    if extractor.upstream is not None or (isinstance(item, MediaError) and item.stage == "read"):
        return item
    try:
        changed = sample.key(extractor.modality) != key
    except MediaError as error:
        return error
    message = f"{sample.id}: the file changed while it was being extracted: run again"
    return MediaError(message, reason="unreadable_file", stage="read") if changed else item


def too_slow(sample: Sample, limit_s: float) -> MediaError:
    """Return what becomes of a sample whose decoding was given up."""
    return MediaError(f"{sample.id}: {given_up(limit_s)}", reason="timeout")


def _failure(error: Exception, sample: Sample) -> MediaError:
    cause = error.__cause__ if isinstance(error, MediaError) else error
    errno = getattr(cause, "errno", None)  # FFmpeg's own MemoryError has one: hostile files provoke it
    if isinstance(cause, ImportError):
        raise cause
    if isinstance(cause, MemoryError) and errno is None:
        return MediaError(f"{sample.id}: no memory left to decode it", reason="out_of_memory")
    if isinstance(error, StoreError) and not isinstance(error, MediaError):  # the store's fault: may pass with time
        return MediaError(f"{sample.id}: {error}", reason="upstream", stage="read")
    if isinstance(cause, OSError | MemoryError) and errno is not None and not isinstance(cause, MediaError):
        message = str(error) if isinstance(error, MediaError) else f"{sample.id}: {type(error).__name__}: {error}"
        reason = error.reason if isinstance(error, MediaError) and error.stage == "read" else "unreadable_file"
        return MediaError(message, reason=reason, stage="read")
    if isinstance(error, MediaError):
        return error
    return MediaError(f"{sample.id}: {type(error).__name__}: {error}", reason="undecodable")
