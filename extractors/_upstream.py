"""The rows an extractor reads instead of media, one key at a time, and which value each key had."""

import numpy as np

from stores.errors import DamagedError, MediaError
from stores.features import FeatureStore
from stores.rows import ABSENT, Index, Opened, read_rows


class UpstreamRows:
    """Rows of an upstream feature; `digests` has the value digest of every one that was read, by key."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.digests: dict[str, str] = {}
        self._index: Index | None = None
        self._opened: dict[str, Opened] = {}  # opening a part takes longer than reading a row

    def read(self, sample_id: str, key: str) -> np.ndarray:
        """Return the row of a key. Raises MediaError (reason `upstream`) if there is none, or none that is sound."""
        try:
            return self._read(sample_id, key)
        except (DamagedError, MediaError):  # rows may have been sealed, and parts compacted, since the index was read
            self._index = None
            return self._read(sample_id, key)

    def _read(self, sample_id: str, key: str) -> np.ndarray:
        index = self._index = self._index or self.store.index()
        if (entry := index.entry(key)) == ABSENT:
            name = self.store.identity.extractor
            raise MediaError(f"{sample_id}: no {name} row to read", reason="upstream", stage="read")
        [row] = read_rows(self.store, index, np.array([entry]), self._opened)
        self.digests[key] = index.location(entry).digest
        return row
