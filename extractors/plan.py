"""Who is absent, cached, to be done or in quarantine: decided before any model is loaded."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from extractors.extractor import Extractor
from stores.errors import MediaError
from stores.features import FeatureStore
from stores.quarantine import Quarantined
from stores.root import Root
from stores.samples import Sample

_READERS = 4  # hashing files waits for the disk


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Samples that share one key: the first is decoded, all share its row or its failure."""

    key: str
    samples: tuple[Sample, ...]
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `extract` would do. `quarantined` are failures that stand; `news` are those not yet on record."""

    absent: tuple[Sample, ...]
    cached: tuple[tuple[Sample, str], ...]
    todo: tuple[Pending, ...]
    quarantined: tuple[Quarantined, ...]
    news: tuple[Quarantined, ...]

    @property
    def pending(self) -> int:
        """Number of samples to be done."""
        return sum(len(pending.samples) for pending in self.todo)


def plan(extractor: Extractor[Any], samples: Sequence[Sample], root: Root, *, retry_quarantined: bool = False) -> Plan:
    """Return what is there and what is to be done; reads media for their keys and writes nothing.

    A key that failed before is not tried again unless asked; a sample without a readable key, or whose upstream row
    is missing, is looked at anew every time.
    """
    store = FeatureStore(root, extractor.identity)
    index = store.index()
    upstream = extractor.inputs.upstream.index() if extractor.inputs.upstream else None
    recorded = store.quarantined()
    failed = {q.key: q for q in recorded if q.key is not None and q.reason != "upstream"}
    present = [sample for sample in samples if sample.medium(extractor.modality) is not None]
    cached: list[tuple[Sample, str]] = []
    todo: dict[str, list[Sample]] = {}
    quarantined: list[Quarantined] = []
    for sample, key in zip(present, read_keys(present, extractor.modality), strict=True):
        if isinstance(key, MediaError):
            quarantined.append(Quarantined.of(key, sample_id=sample.id, key=None, attempts=1, time=now()))
        elif key in index:
            cached.append((sample, key))
        elif upstream is not None and key not in upstream:
            error = no_upstream(sample, extractor)
            quarantined.append(Quarantined.of(error, sample_id=sample.id, key=key, attempts=1, time=now()))
        elif key in failed and not retry_quarantined:
            quarantined.append(shared(failed[key], sample))
        else:
            todo.setdefault(key, []).append(sample)
    known = {(q.sample_id, q.key, q.reason) for q in recorded}
    return Plan(
        absent=tuple(s for s in samples if s.medium(extractor.modality) is None),
        cached=tuple(cached),
        todo=tuple(
            Pending(key=key, samples=tuple(group), attempts=failed[key].attempts if key in failed else 0)
            for key, group in todo.items()
        ),
        quarantined=tuple(quarantined),
        news=tuple(q for q in quarantined if (q.sample_id, q.key, q.reason) not in known),
    )


def read_keys(samples: Sequence[Sample], modality: str) -> Iterator[str | MediaError]:
    """Yield each sample's content key, or the error that kept it from being read."""

    def key(sample: Sample) -> str | MediaError:
        try:
            return sample.key(modality)
        except MediaError as error:
            return error

    with ThreadPoolExecutor(_READERS) as readers:
        yield from readers.map(key, samples)


def no_upstream(sample: Sample, extractor: Extractor[Any]) -> MediaError:
    message = f"{sample.id}: no {extractor.upstream} row to read: see the quarantine of {extractor.upstream}"
    return MediaError(message, reason="upstream", stage="read")


def shared(row: Quarantined, sample: Sample) -> Quarantined:
    """Return the same failure for another sample with the same key."""
    return replace(row, sample_id=sample.id)


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
