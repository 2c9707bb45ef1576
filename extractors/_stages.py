"""A clock for stages that overlap: several threads add their seconds to it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from time import perf_counter


class Stages:
    """Seconds by name of a stage, as in `stores.receipt`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seconds: Counter[str] = Counter()

    @contextmanager
    def timed(self, *stages: str) -> Iterator[None]:
        """Add the seconds the block takes to each of the stages."""
        started = perf_counter()
        try:
            yield
        finally:
            seconds = perf_counter() - started
            self.add(dict.fromkeys(stages, seconds))

    def add(self, seconds: Mapping[str, float]) -> None:
        with self._lock:
            self._seconds.update(seconds)

    def so_far(self) -> dict[str, float]:
        """Return the seconds by stage."""
        with self._lock:
            return dict(self._seconds)


def rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) + 0.0 for name, value in sorted(seconds.items())}  # no -0.0
