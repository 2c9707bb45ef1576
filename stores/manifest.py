"""The manifest: one row a sample, with labels, groups and where the media lie (DESIGN section 2)."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from stores.errors import ManifestError, NotFound
from stores.root import Root
from stores.samples import SPLITS, Sample

FORMAT = 1
PAIRINGS = ("recorded", "composed", "synthetic")
_MEDIA = ("audio", "image", "video")
_PLAIN = ("gender", "age", "culture")
_SHOWN = 5  # offending rows named in an error


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
        base = _common_folder(self.samples)
        table = pa.Table.from_pylist([_row(sample, base) for sample in self.samples], _schema(self))
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
        header.pop("format_version")
        folder = header.pop("media_folder")
        base = Path(folder) if folder else None
        header["labels"] = {scheme: tuple(classes) for scheme, classes in header["labels"].items()}
        return cls(samples=tuple(_sample(row, base) for row in table.to_pylist()), **header)


def _refuse(problem: str, names: list[str], hint: str) -> None:
    if names:
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        raise ManifestError(f"{problem}: {shown}; {hint}")


def _common_folder(samples: Iterable[Sample]) -> Path | None:
    parents = {str(path.parent) for s in samples for path in (s.audio, s.image, s.video) if path is not None}
    return Path(os.path.commonpath(parents)) if parents else None


def _names(manifest: Manifest, attribute: str) -> list[str]:
    return sorted({name for sample in manifest.samples for name in getattr(sample, attribute)})


def _schema(manifest: Manifest) -> pa.Schema:
    text = [(name, pa.string()) for name in ("id", "corpus", "text", *_MEDIA)]
    times = [("start_ms", pa.int64()), ("end_ms", pa.int64()), ("split", pa.string())]
    labels = [(f"label_{name}", pa.string()) for name in sorted({*manifest.labels, *_names(manifest, "labels")})]
    scores = [(f"score_{name}", pa.float64()) for name in _names(manifest, "scores")]
    groups = [(f"group_{name}", pa.string()) for name in _names(manifest, "groups")]
    return pa.schema([*text, *times, *labels, *scores, *groups, *((name, pa.string()) for name in _PLAIN)])


def _row(sample: Sample, base: Path | None) -> dict[str, Any]:
    row = {key: value for key, value in asdict(sample).items() if key not in ("labels", "scores", "groups")}
    for medium in _MEDIA:
        path = getattr(sample, medium)
        row[medium] = path.relative_to(base).as_posix() if path is not None and base is not None else None
    for prefix in ("label", "score", "group"):
        row |= {f"{prefix}_{name}": value for name, value in getattr(sample, f"{prefix}s").items()}
    return row


def _sample(row: dict[str, Any], base: Path | None) -> Sample:
    prefixed: dict[str, dict[str, Any]] = {"label_": {}, "score_": {}, "group_": {}}
    plain: dict[str, Any] = {}
    for column, value in row.items():
        prefix = next((p for p in prefixed if column.startswith(p)), None)
        if prefix is None:
            plain[column] = value
        elif value is not None:
            prefixed[prefix][column.removeprefix(prefix)] = value
    for medium in _MEDIA:
        plain[medium] = _media_path(base, plain[medium]) if plain[medium] is not None and base is not None else None
    return Sample(**plain, labels=prefixed["label_"], scores=prefixed["score_"], groups=prefixed["group_"])


def _media_path(base: Path, relative: str) -> Path:
    """Return a stored path. Raises ManifestError if it leaves `base` as it is spelled: this program writes no such."""
    if relative.startswith("/") or (".." in relative and ".." in relative.split("/")):
        raise ManifestError(f"stored media path {relative!r} leaves {base}: build the manifest again")
    return base / relative
