"""The manifest: one row a sample, with labels, groups and where the media lie (DESIGN section 2)."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa

from stores.errors import ManifestError, NotFound
from stores.root import Root
from stores.samples import SPLITS, Sample
from stores.settings import check_name
from stores.spelling import few

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
FORMAT = 1
PAIRINGS = ("recorded", "composed", "synthetic")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Samples of one corpus and what is known of the corpus.

    `labels` maps each scheme to its classes in order. `pairing` says whether the modalities of a sample were
    recorded together, composed by label, or synthesised. `dropped` counts source rows left out, by reason;
    `notes` are facts the report repeats (planted effects, for instance).

    Raises ManifestError on a duplicate id, a label outside its scheme or an unknown split.
    """

    name: str
    samples: tuple[Sample, ...]
    labels: Mapping[str, tuple[str, ...]]
    pairing: str = "recorded"
    source: str = ""
    licence: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name, "the manifest's ")
        if self.pairing not in PAIRINGS:
            raise ManifestError(f"pairing should be one of {', '.join(PAIRINGS)}, got {self.pairing!r}")
        if not self.samples:
            raise ManifestError(f"corpus {self.name} has no samples: check its path and column mapping")
        counts = Counter(sample.id for sample in self.samples)
        _refuse("duplicate id", [name for name, count in counts.items() if count > 1], "make every id unique")
        splits = {s.split for s in self.samples} - {None, *SPLITS}
        _refuse("unknown split", sorted(map(str, splits)), f"use one of {', '.join(SPLITS)}, or leave it empty")
        for scheme, classes in self.labels.items():
            wrong = [
                f"{sample.id} ({label!r})"
                for sample in self.samples
                if (label := sample.labels.get(scheme)) is not None and label not in classes
            ]
            hint = f"the classes of {scheme} are {', '.join(classes)}; map or drop other labels in the corpus settings"
            _refuse("label outside the list", wrong, hint)

    def counts(self, scheme: str) -> dict[str, int]:
        """Return the number of samples per class, in class order."""
        found = Counter(sample.labels.get(scheme) for sample in self.samples)
        return {name: found[name] for name in self.labels[scheme]}

    def media(self) -> Iterator[Path]:
        """Yield every media file of the samples."""
        for sample in self.samples:
            yield from (path for path in (sample.audio, sample.image, sample.video) if path is not None)

    def save(self, root: Root) -> None:
        """Write `manifests/<name>.parquet` atomically. Media are stored relative to their common folder."""
        folders = {path.parent for path in self.media()}
        base = Path(os.path.commonpath(folders)) if folders else None  # the deepest that all media lie in
        table = to_table(self.samples, base, self.labels)
        metadata = {key: value for key, value in vars(self).items() if key != "samples"}
        header = {"format_version": FORMAT, "media_folder": str(base) if base else None, **metadata}
        root.put_table(
            table.replace_schema_metadata({"affuse": json.dumps(header)}), "manifests", f"{self.name}.parquet"
        )

    @classmethod
    def load(cls, root: Root, name: str) -> "Manifest":
        """Read a saved manifest. Raises NotFound if there is none of that name."""
        if not root.exists("manifests", f"{name}.parquet"):
            raise NotFound(f"no manifest {name!r} under {root.address}: run `affuse manifest` first")
        table = root.read_table("manifests", f"{name}.parquet")
        header = json.loads(table.schema.metadata[b"affuse"])
        if (version := header.pop("format_version")) > FORMAT:
            raise ManifestError(f"manifest {name} has format {version}, this affuse reads up to {FORMAT}: update")
        folder = header.pop("media_folder")
        header["labels"] = {scheme: tuple(classes) for scheme, classes in header["labels"].items()}
        return cls(samples=tuple(from_table(table, Path(folder) if folder else None)), **header)


def _refuse(problem: str, names: list[str], hint: str) -> None:
    if names:
        raise ManifestError(f"{problem}: {few(names)}; {hint}")


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
    """Return a stored path. Raises ManifestError if it leaves `base` as it is spelled: this program writes no such."""
    if relative not in known:
        if base is None or relative.startswith("/") or (".." in relative and ".." in relative.split("/")):
            raise ManifestError(f"stored media path {relative!r} leaves {base}: build the manifest again")
        known[relative] = base / relative
    return known[relative]
