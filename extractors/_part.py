"""The rows of a block on their way to disk, how long its stages took, and what became of the blocks of a run."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from extractors.extractor import Extractor
from extractors.plan import Pending, Plan, now, shared
from stores.errors import MediaError
from stores.features import FeatureStore
from stores.progress import Progress
from stores.quarantine import Quarantined
from stores.receipt import WAITING_TO_WRITE
from stores.spec import Receipt

PART_BYTES = 64 << 20  # recordings fill several parts a block, so that one is written while the next is made
_OWN = ("read", "decode", "embed", "waiting")  # stages a part can be told to have cost; `write` adds itself
_LEAST = 5  # samples: fewer may well be broken, each by itself
_OF_ITS_OWN = frozenset({"empty_text", "empty_media", "no_audio_track", "no_video_track", "no_face", "upstream"})

Since = tuple[float, Mapping[str, float]]  # when a part began, and the seconds by stage until then


class Stages:
    """Seconds by name of a stage, as in `stores.receipt`; stages overlap, and several threads add theirs."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seconds: Counter[str] = Counter()

    @contextmanager
    def timed(self, *stages: str) -> Iterator[None]:
        """Add the seconds the block takes to each of the stages."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
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


def prevailing(plan: Plan, outcomes: Sequence[Outcome]) -> str | None:
    """Return a sentence if one reason keeps out most samples, or most of those that were tried for the first time.

    Reasons that may well be true of most samples of a corpus (no face) count the first time only: who runs again goes
    on without them. What is tried once more is known to be broken, however few samples beside it are new.
    """
    failures = [*plan.quarantined, *(failure for outcome in outcomes for failure in outcome.failures)]
    known = {failure.sample_id for failure in plan.quarantined}
    new = [failure for failure in failures if failure.attempts == 1 and failure.sample_id not in known]
    tried = len(new) + sum(outcome.extracted for outcome in outcomes)
    standing = [failure for failure in failures if failure.reason not in _OF_ITS_OWN]
    for among, all_of_them in ((standing, plan.samples - len(plan.absent)), (new, tried)):
        for reason, count in Counter(failure.reason for failure in among).most_common(1):
            if count >= _LEAST and 2 * count > all_of_them:
                first = next(failure for failure in among if failure.reason == reason)
                return f"{count:,} of {all_of_them:,} samples failed for one reason, {reason} ({first.message})"
    return None
