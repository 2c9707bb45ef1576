"""The rows of a block on their way to disk, and what became of the block."""

import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from extractors._stages import Stages, rounded
from extractors.extractor import Extractor
from extractors.plan import Pending, now, shared
from stores.errors import MediaError
from stores.features import FeatureStore
from stores.progress import Progress
from stores.quarantine import Quarantined
from stores.receipt import WAITING_TO_WRITE
from stores.spec import Receipt

PART_BYTES = 64 << 20  # recordings fill several parts a block, so that one is written while the next is made
_OWN = ("read", "decode", "embed", "waiting")  # stages a part can be told to have cost; `write` adds itself

Since = tuple[float, Mapping[str, float]]  # when a part began, and the seconds by stage until then


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a block: rows sealed, samples with a row, failures, and how often memory ran out.

    A block made in another process also brings its seconds by stage, `loop` among them.
    """

    rows: int
    extracted: int
    failures: tuple[Quarantined, ...]
    halved: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    remarks: Mapping[str, int] = field(default_factory=dict)

    @property
    def quarantined(self) -> int:
        return len(self.failures)


class Part:
    """The rows and failures of a block; sealed behind by the writer thread.

    `since` goes from part to part, so that seals tell of all the loop took but for the writing of the last. `made_of`
    has the digest of the upstream row of each key, where there is an upstream.
    """

    def __init__(
        self,
        extractor: Extractor[Any],
        store: FeatureStore,
        writer: ThreadPoolExecutor,
        report: Progress,
        stages: Stages,
        since: Since,
        made_of: dict[str, str | None],
    ) -> None:
        self.extractor, self.store, self.writer, self.report, self.stages = extractor, store, writer, report, stages
        self.rows: dict[str, np.ndarray] = {}
        self.failures: list[Quarantined] = []
        self.remarks: Counter[str] = Counter()
        self.remarked: Counter[str] = Counter()  # in all parts of the block
        self.sealed = self.extracted = self.bytes = self.halved = 0
        self.since, self.made_of = since, made_of
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
        return Outcome(
            rows=self.sealed,
            extracted=self.extracted,
            failures=tuple(self.failures),
            halved=self.halved,
            remarks=self.remarked,
        )

    def _seal(self) -> None:
        if self.writing is not None:
            with self.stages.timed("waiting", WAITING_TO_WRITE):
                self.writing.result()  # at most one part waits to be written
        device, dtype = self.extractor.computed_on
        (started, before), self.since = self.since, (time.perf_counter(), self.stages.so_far())
        ended, after = self.since
        receipt = Receipt(
            device=device,
            dtype=dtype,
            seconds=round(ended - started, 3),
            versions=self.extractor.versions(),
            counts={"rows": len(self.rows), "bytes": self.bytes, **self.remarks},
            stages=rounded({name: after.get(name, 0.0) - before.get(name, 0.0) for name in _OWN}),
        )
        self.writing = self.writer.submit(self._write, self.rows, receipt)
        self.sealed += len(self.rows)
        self.remarked += self.remarks
        self.rows, self.remarks, self.bytes = {}, Counter(), 0

    def _write(self, rows: Mapping[str, np.ndarray], receipt: Receipt) -> str:
        with self.stages.timed("write"):
            upstream = [self.made_of.pop(key, None) for key in rows] if self.extractor.upstream else None
            return self.store.write_part(rows, receipt, upstream=upstream)
