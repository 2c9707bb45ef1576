"""The manifest: one row a sample, with labels, groups and where the media lie (DESIGN section 2)."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stores.errors import ManifestError, NotFound
from stores.manifest_table import common_folder, from_table, to_table
from stores.root import Root
from stores.samples import SPLITS, Sample
from stores.settings import check_name

FORMAT = 1
PAIRINGS = ("recorded", "composed", "synthetic")
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
        base = common_folder(self.samples)
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
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        raise ManifestError(f"{problem}: {shown}; {hint}")
