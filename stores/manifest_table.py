"""Samples as the table a manifest is on disk, column by column: a million rows cost seconds and little memory."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa

from stores.errors import ManifestError
from stores.samples import Sample

MEDIA = ("audio", "image", "video")
PLAIN = {
    "id": pa.string(),
    "corpus": pa.string(),
    "text": pa.string(),
    **dict.fromkeys(MEDIA, pa.string()),
    "start_ms": pa.int64(),
    "end_ms": pa.int64(),
    "split": pa.string(),
}
PERSON = ("gender", "age", "culture")
PREFIXED = {"label_": ("labels", pa.string()), "score_": ("scores", pa.float64()), "group_": ("groups", pa.string())}
_BATCH = 8192  # rows turned into objects at once


def common_folder(samples: Iterable[Sample]) -> Path | None:
    """Return the deepest folder all media lie in, or None if there are none."""
    parents = {path.parent for s in samples for path in (s.audio, s.image, s.video) if path is not None}
    return Path(os.path.commonpath(parents)) if parents else None


def to_table(samples: Sequence[Sample], base: Path | None, schemes: Iterable[str]) -> pa.Table:
    """Return one row a sample; media are relative to `base`; every scheme has a column, if an empty one."""
    columns: dict[str, pa.Array] = {}
    for name, kind in PLAIN.items():
        values: Iterator[Any] = (getattr(sample, name) for sample in samples)
        if name in MEDIA and base is not None:
            values = (None if path is None else path.relative_to(base).as_posix() for path in values)
        columns[name] = pa.array(values, kind, size=len(samples))
    for prefix, (attribute, kind) in PREFIXED.items():
        names = {name for sample in samples for name in getattr(sample, attribute)}
        for name in sorted(names | set(schemes) if attribute == "labels" else names):
            values = (getattr(sample, attribute).get(name) for sample in samples)
            columns[prefix + name] = pa.array(values, kind, size=len(samples))
    for name in PERSON:
        columns[name] = pa.array((getattr(sample, name) for sample in samples), pa.string(), size=len(samples))
    return pa.table(columns)


def from_table(table: pa.Table, base: Path | None) -> Iterator[Sample]:
    """Yield the samples of a table; equal paths, labels and groups are kept in memory once."""
    media: dict[str, Path] = {}
    mappings: dict[tuple[str, tuple[Any, ...]], Mapping[str, Any]] = {}
    names = (*PLAIN, *PERSON)
    for batch in table.to_batches(max_chunksize=_BATCH):
        columns = batch.to_pydict()
        for name in MEDIA:
            columns[name] = [None if path is None else _once(media, path, base) for path in columns[name]]
        grouped = [_mappings(columns, prefix, mappings) for prefix in PREFIXED]
        for *plain, labels, scores, groups in zip(*(columns[name] for name in names), *grouped, strict=True):
            yield Sample(**dict(zip(names, plain, strict=True)), labels=labels, scores=scores, groups=groups)


def _mappings(
    columns: Mapping[str, list[Any]], prefix: str, known: dict[tuple[str, tuple[Any, ...]], Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return one mapping a row of the columns that begin so, without what is null."""
    names = [name.removeprefix(prefix) for name in columns if name.startswith(prefix)]
    rows = zip(*(columns[prefix + name] for name in names), strict=True) if names else repeat((), len(columns["id"]))
    found = []
    for row in rows:
        if (mapping := known.get((prefix, row))) is None:
            mapping = {name: value for name, value in zip(names, row, strict=True) if value is not None}
            if prefix != "score_":  # scores differ from row to row
                known[prefix, row] = mapping
        found.append(mapping)
    return found


def _once(known: dict[str, Path], relative: str, base: Path | None) -> Path:
    if relative not in known:
        known[relative] = _media_path(base, relative)
    return known[relative]


def _media_path(base: Path | None, relative: str) -> Path:
    """Return a stored path. Raises ManifestError if it leaves `base` as it is spelled: this program writes no such."""
    if base is None or relative.startswith("/") or (".." in relative and ".." in relative.split("/")):
        raise ManifestError(f"stored media path {relative!r} leaves {base}: build the manifest again")
    return base / relative
