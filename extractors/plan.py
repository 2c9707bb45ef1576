"""Who is absent, cached, to be done or in quarantine: decided before any model is loaded."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from extractors.extractor import Extractor
from stores.digests import content_digest, remembered
from stores.errors import MediaError, StoreError
from stores.features import FeatureStore, feature_ids
from stores.parts import Seal
from stores.progress import Progress, Silent
from stores.quarantine import RECOVERED, Quarantined
from stores.root import Root
from stores.rows import ABSENT
from stores.samples import Sample

_READERS = 4  # hashing files waits for the disk
_WORTH_TELLING = 500  # files


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Samples that share one key: the first is decoded, all share its row or its failure."""

    key: str
    samples: tuple[Sample, ...]
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `extract` would do. `cached` holds one key a sample; `quarantined` are failures that stand; `news` are the
    lines the quarantine does not hold yet."""

    absent: tuple[Sample, ...]
    cached: tuple[str, ...]
    todo: tuple[Pending, ...]
    quarantined: tuple[Quarantined, ...]
    news: tuple[Quarantined, ...]

    @property
    def pending(self) -> int:
        """Number of samples to be done."""
        return sum(len(pending.samples) for pending in self.todo)

    @property
    def samples(self) -> int:
        return len(self.absent) + len(self.cached) + self.pending + len(self.quarantined)


def plan(
    extractor: Extractor[Any],
    samples: Sequence[Sample],
    root: Root,
    *,
    retry: Container[str] = (),
    report: Progress | None = None,
) -> Plan:
    """Return what is there and what is to be done; reads media for their keys and writes nothing.

    A key that failed before is tried again if its reason is in `retry`, or passes; a sample without a readable key, or
    whose upstream row is missing, is looked at anew every time.
    """
    store = FeatureStore(root, extractor.identity)
    log = store.quarantine_log()
    recorded = [row for row in log if row.reason != RECOVERED]
    attempts = _attempts(log)
    failed = {q.key: q for q in recorded if q.key is not None and q.reason != "upstream"}
    present = [sample for sample in samples if sample.medium(extractor.modality) is not None]
    keys = list(read_keys(present, extractor.modality, report or Silent()))
    readable = [None if isinstance(key, MediaError) else key for key in keys]
    has_row = store.index().find(readable) != ABSENT
    can_be = np.ones(len(keys), bool)
    if extractor.inputs.upstream is not None:
        can_be = extractor.inputs.upstream.index().find(readable) != ABSENT

    def refused(error: MediaError, sample: Sample, key: str | None) -> Quarantined:
        return Quarantined.of(error, sample_id=sample.id, key=key, attempts=attempts[sample.id] + 1, time=now())

    cached: list[str] = []
    todo: dict[str, list[Sample]] = {}
    quarantined: list[Quarantined] = []
    for i, (sample, key) in enumerate(zip(present, keys, strict=True)):
        if isinstance(key, MediaError):
            quarantined.append(refused(key, sample, None))
        elif has_row[i]:
            cached.append(key)
        elif not can_be[i]:
            quarantined.append(refused(no_upstream(sample, extractor), sample, key))
        elif key in failed and failed[key].reason not in retry and not failed[key].passes:
            quarantined.append(shared(failed[key], sample))
        else:
            todo.setdefault(key, []).append(sample)
    known = {(q.sample_id, q.key, q.reason) for q in recorded}
    return Plan(
        absent=tuple(s for s in samples if s.medium(extractor.modality) is None),
        cached=tuple(cached),
        todo=tuple(
            Pending(key=key, samples=tuple(group), attempts=max(attempts[sample.id] for sample in group))
            for key, group in todo.items()
        ),
        quarantined=tuple(quarantined),
        news=(
            *(q for q in quarantined if (q.sample_id, q.key, q.reason) not in known),
            *_recovered(recorded, attempts, present, readable),
        ),
    )


def read_keys(samples: Sequence[Sample], modality: str, report: Progress | None = None) -> Iterator[str | MediaError]:
    """Yield each sample's content key, or the error that kept it from being read; new files are read on threads."""
    media = (sample.medium(modality) for sample in samples)
    new = {path for path in media if isinstance(path, Path) and remembered(path) is None}
    work, told = f"reading {modality}", report if report is not None and len(new) >= _WORTH_TELLING else Silent()
    told.start(work, len(new), "files")
    with ThreadPoolExecutor(_READERS) as readers:
        for _ in readers.map(_read, new):
            told.advance(work)
    told.finish(work)
    for sample in samples:
        try:
            yield sample.key(modality)
        except MediaError as error:
            yield error


def _read(path: Path) -> None:
    with suppress(OSError, ValueError):  # the key of the sample says what is wrong
        content_digest(path)


def _attempts(log: Sequence[Quarantined]) -> Mapping[str, int]:
    """Return the highest number of attempts on record, by sample."""
    found: Counter[str] = Counter()
    for row in log:
        found[row.sample_id] = max(found[row.sample_id], row.attempts)
    return found


def _recovered(
    recorded: Sequence[Quarantined],
    attempts: Mapping[str, int],
    samples: Sequence[Sample],
    readable: Sequence[str | None],
) -> Iterator[Quarantined]:
    """Yield a line for each recorded failure of a sample that now has a readable key, and another one."""
    failed = {row.sample_id for row in recorded}
    keys = {sample.id: key for sample, key in zip(samples, readable, strict=True) if sample.id in failed}
    for row in recorded:
        key = keys.get(row.sample_id)
        if key is not None and key != row.key:
            message = f"{row.sample_id}: has other content since"
            yield replace(row, reason=RECOVERED, message=message, attempts=attempts[row.sample_id] + 1, time=now())


def no_upstream(sample: Sample, extractor: Extractor[Any]) -> MediaError:
    message = f"{sample.id}: no {extractor.upstream} row to read: see the quarantine of {extractor.upstream}"
    return MediaError(message, reason="upstream", stage="read")


def shared(row: Quarantined, sample: Sample) -> Quarantined:
    """Return the same failure for another sample with the same key, under its own name."""
    message = row.message.removeprefix(f"{row.sample_id}: ")
    return replace(row, sample_id=sample.id, message=message if message == row.message else f"{sample.id}: {message}")


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def forecast(plan: Plan, store: FeatureStore) -> str:
    """Say what a plan will cost, by the median rate of this feature's parts, else of those of the same extractor's."""
    parts: Sequence[Seal] = store.seals()
    if not parts:
        with suppress(StoreError, OSError, KeyError, ValueError):  # what others have cost is only advice
            parts = _akin(store)
    rates = [seal.receipt.seconds / seal.rows for seal in parts]
    sizes = [seal.receipt.counts["bytes"] / seal.rows for seal in parts if "bytes" in seal.receipt.counts]
    spec = store.identity.spec
    if spec.layout == "vector":
        sizes = [spec.dim * np.dtype(spec.dtype).itemsize]
    costs = [f"about {_duration(median(rates) * len(plan.todo))}"] if rates else []
    costs += [_amount(median(sizes) * len(plan.todo))] if sizes else []
    told = f"; {', '.join(costs)}" if costs else ""
    share = 100 * len(plan.cached) // plan.samples
    return f"{share} % cached; {plan.pending:,} of {plan.samples:,} samples to do{told}"


def _akin(store: FeatureStore) -> Sequence[Seal]:
    """Return the parts of the feature of the same extractor whose settings are most like this one's."""
    modality, config = store.identity.modality, store.identity.as_dict()["config"]
    names = [name for name in feature_ids(store.root, modality) if name.rsplit("-", 1)[0] == store.identity.extractor]
    others = [FeatureStore.open(store.root, modality, name) for name in names]

    def alike(other: FeatureStore) -> int:
        return sum(other.identity.as_dict()["config"].get(key) == value for key, value in config.items())

    return max(others, key=alike).seals() if others else []


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _amount(size: float) -> str:
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")):
        if size >= unit / 10:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"
