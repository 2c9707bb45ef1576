"""Decode ahead on threads that can be given up: a decoder that hangs holds up neither the run nor the exit."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from threading import TIMEOUT_MAX, Condition, Thread, current_thread
from typing import Any, Generic, TypeVar

Given = TypeVar("Given")
MOST_BYTES = 512 << 20  # decoded and waiting: a few long recordings weigh more than a queue of short ones
_GRACE_S = 1.0  # threads that are merely busy get this long to end with their stream


class _Task(Generic[Given]):
    """One item on its way; `started` is None until a thread takes it up."""

    def __init__(self, item: Given) -> None:
        self.item = item
        self.started: float | None = None
        self.done = self.given_up = False
        self.result: Any = None
        self.bytes = 0
        self.error: BaseException | None = None


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
        task = _Task(item)
        with self._changed:
            self._waiting.append(task)
            self._changed.notify_all()
        return task

    def wait(self, task: _Task[Given]) -> None:
        """Return once the task is done or given up; those that run beside it are watched as well."""
        with self._changed:
            self._replace_late()
            while not (task.done or task.given_up):
                starts = [running.started for running in self._running if running.started is not None]
                left = min(starts) + self._limit_s - time.monotonic() if starts else TIMEOUT_MAX
                self._changed.wait(min(left, TIMEOUT_MAX))
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
        now = time.monotonic()
        late = [t for t in self._running if t.started is not None and now >= t.started + self._limit_s]
        for task in late:
            task.given_up = True
            self._threads.discard(self._running.pop(task))
            self._threads.add(self._start())

    def _work(self) -> None:
        while (task := self._next()) is not None:
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
            del task  # or its result would stay in memory while this thread waits

    def _next(self) -> _Task[Given] | None:
        with self._changed:
            while not self._closed and (not self._waiting or self._held >= MOST_BYTES):
                self._changed.wait()
            if self._closed:
                return None
            task = self._waiting.popleft()
            task.started = time.monotonic()
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

    An item that takes longer than `limit_s` seconds from when its turn on a thread came is given up: `late(item)`
    stands in for its result and another thread takes over, while the old one ends by itself or with the process.
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
