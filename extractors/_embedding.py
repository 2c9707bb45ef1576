"""Embed batches that fit, and tell samples that cannot be embedded from a machine that cannot embed."""

import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from traceback import clear_frames
from typing import Any

import numpy as np

from extractors.extractor import Extractor
from stores.errors import MediaError
from stores.progress import Progress, Silent

_NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")  # how torch words it in a RuntimeError


class Embedding:
    """What one run knows about its device: how much a batch may cost, and the shortest item it has embedded: a probe.

    A batch that does not fit into memory is halved, and so is what later batches may cost. A batch that fails
    otherwise is embedded item by item, so that only the guilty go to quarantine; so does what does not fit alone, for a
    reason that passes. If all of it fails, or an item that was alone, the probe is embedded again: while that works,
    the samples are at fault. Once it fails the machine is, and so it is when several items fail before any other has
    ever succeeded: the error is raised.
    """

    def __init__(self, extractor: Extractor[Any], report: Progress | None = None) -> None:
        self._extractor = extractor
        self._report = report if report is not None else Silent()
        self._probe: list[Any] = []  # at most one item; a list, for an item may be None
        self.halved = 0

    def fitting(self, lengths: Sequence[int], most: int | None) -> int:
        """Return how many items, their lengths ascending, make up the next batch: at least 1, and at most `most`."""
        count = 1
        while count < len(lengths) and count != most and (count + 1) * lengths[count] <= self._extractor.capacity:
            count += 1
        return count

    def rows(self, items: Sequence[Any], others: Iterable[Any] = ()) -> list[np.ndarray | MediaError]:
        """Return a row or an error for each item; `others` may serve as probe until an item has succeeded."""
        try:
            return self._embedded(items)
        except ImportError:
            raise
        except Exception as error:
            full = _out_of_memory(error)
            if not full or len(items) == 1:
                return self._by_item(items, others, error, full=full)
        self._halve(items)
        middle = len(items) // 2
        return self.rows(items[:middle], chain(items[middle:], others)) + self.rows(items[middle:], others)

    def _by_item(
        self, items: Sequence[Any], others: Iterable[Any], error: Exception, *, full: bool
    ) -> list[np.ndarray | MediaError]:
        alone = len(items) == 1
        rows: list[np.ndarray | MediaError] = (
            [_failure(error, full)] if alone else [self._alone(item) for item in items]
        )
        failed = all(isinstance(row, MediaError) and row.reason == "embed_failed" for row in rows)
        if failed and not self._works(others, unknown=alone):
            raise error
        return rows

    def _embedded(self, items: Sequence[Any]) -> list[np.ndarray | MediaError]:
        rows: list[np.ndarray | MediaError] = list(self._extractor.embed(items))
        length = self._extractor.length
        self._probe = [min(chain(self._probe, items), key=length)]
        return rows

    def _alone(self, item: Any) -> np.ndarray | MediaError:
        try:
            return self._embedded([item])[0]
        except ImportError:
            raise
        except Exception as error:
            return _failure(error, _out_of_memory(error))

    def _works(self, others: Iterable[Any], *, unknown: bool) -> bool:
        """Return whether the probe, or else any other item, can be embedded; `unknown` if there is none of either."""
        if self._probe:
            return isinstance(self._alone(self._probe[0]), np.ndarray)
        tried = False
        for item in others:
            if isinstance(self._alone(item), np.ndarray):
                return True
            tried = True
        return unknown and not tried

    def _halve(self, items: Sequence[Any]) -> None:
        longest = max(map(self._extractor.length, items))
        self._extractor.capacity = max(1, min(self._extractor.capacity, len(items) * longest) // 2)
        if not self.halved:
            self._report.note(
                f"{self._extractor.identity.id}: {len(items)} items of length {longest} do not fit into memory: "
                "smaller batches from here on"
            )
        self.halved += 1


def _out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out; what the failed attempt held is then given back."""
    torch = sys.modules.get("torch")
    if not (
        isinstance(error, MemoryError)
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or (isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY))
    ):
        return False
    clear_frames(error.__traceback__)
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return True


def _failure(error: Exception, full: bool) -> MediaError:
    reason = "out_of_memory" if full else "embed_failed"
    return MediaError(f"{type(error).__name__}: {error}", reason=reason, stage="embed")
