"""Embed batches, and tell samples that cannot be embedded from a machine that cannot embed."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from extractors.extractor import Extractor
from stores.errors import MediaError


class Embedding:
    """What one run knows about its device: the shortest item it has embedded, kept as a probe.

    A batch that fails is embedded item by item, so that only the guilty go to quarantine. If all of it fails, or an
    item that was alone, the probe is embedded again: while that works, the samples are at fault. Once it fails the
    machine is, and so it is when several items fail before any other has ever succeeded: the error is raised.
    """

    def __init__(self, extractor: Extractor[Any]) -> None:
        self._extractor = extractor
        self._probe: list[Any] = []  # at most one item; a list, for an item may be None

    def rows(self, items: Sequence[Any], others: Iterable[Any] = ()) -> list[np.ndarray | MediaError]:
        """Return a row or an error for each item; `others` may serve as probe until an item has succeeded."""
        try:
            return self._embedded(items)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            rows: list[np.ndarray | MediaError]
            rows = [_failure(error)] if len(items) == 1 else [self._alone(item) for item in items]
            if all(isinstance(row, MediaError) for row in rows) and not self._works(others, unknown=len(items) == 1):
                raise
            return rows

    def _embedded(self, items: Sequence[Any]) -> list[np.ndarray | MediaError]:
        rows: list[np.ndarray | MediaError] = list(self._extractor.embed(items))
        length = self._extractor.length
        self._probe = [min(chain(self._probe, items), key=length)]
        return rows

    def _alone(self, item: Any) -> np.ndarray | MediaError:
        try:
            return self._embedded([item])[0]
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            return _failure(error)

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


def _failure(error: Exception) -> MediaError:
    return MediaError(f"{type(error).__name__}: {error}", reason="embed_failed", stage="embed")
