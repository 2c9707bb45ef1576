"""From rows of text cells to a Manifest: the column mapping that `table` and `folder` share."""

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corpora._corpus import CorpusConfig
from stores.errors import ConfigError, ManifestError
from stores.manifest import PAIRINGS, Manifest
from stores.media_folder import MediaFolder
from stores.plugins import nearest
from stores.samples import Sample
from stores.spelling import plain, plain_names

MEDIA = ("text", "audio", "image", "video")
_FILES = ("audio", "image", "video")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # C:\ and \\server\share
_NAMES = ("columns", "labels", "classes", "label_map", "scores", "groups", "split_map", "where")
COLUMNS = ("id", "corpus", *MEDIA, "start_ms", "end_ms", "split", "gender", "age", "culture")


@dataclass(frozen=True, slots=True)
class Row:
    """One source row: `place` names it in messages, `cells` maps every named column to text, '' if blank.

    `row[column]` is the cell as a name (id, label, group, split), in the one spelling of `plain`.
    """

    place: str
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return plain(self.cells[column])


@dataclass(frozen=True, kw_only=True)
class RowsConfig(CorpusConfig):
    """How source columns become manifest columns.

    columns: manifest column -> source column (id, corpus, text, audio, image, video, start_ms, end_ms, split,
        gender, age, culture). labels, scores, groups: scheme, score or kind -> source column.
    classes: scheme -> its labels in order; the labels found, sorted, if left out.
    label_map: scheme -> source label -> class; "" drops the row. split_map: source split -> split.
    where: source column -> the value, or the values, of the rows to keep.
    outside: media paths may leave the corpus folder (absolute, by `..` or through a link) only if this says so.
    limit: at most this many rows of each class of the first scheme, chosen by `seed` whatever the order of rows.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    label_map: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    scores: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    split_map: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    outside: bool = False
    limit: int | None = None
    seed: int = 0
    pairing: str = "recorded"
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _NAMES:
            object.__setattr__(self, name, plain_names(getattr(self, name)))
        for key in self.columns:
            if key not in COLUMNS:
                hint = nearest(key, list(COLUMNS))
                raise ConfigError(f"columns has an unknown manifest column {key!r}{hint}; known: {', '.join(COLUMNS)}")
        for scheme in (*self.classes, *self.label_map):
            if scheme not in self.labels:
                raise ConfigError(f"scheme {scheme!r} has classes or a label_map but no column: add it to labels")
        for scheme, classes in self.classes.items():
            targets = {target for target in self.label_map.get(scheme, {}).values() if target}
            if wrong := sorted(targets - set(classes)):
                raise ConfigError(f"label_map.{scheme} maps to {wrong[0]!r}, which is not in classes.{scheme}")
        if self.limit is not None and (self.limit < 1 or not self.labels):
            raise ConfigError(f"limit should be at least 1 and needs a label scheme, got {self.limit}")
        if self.pairing not in PAIRINGS:
            raise ConfigError(f"pairing should be one of {', '.join(PAIRINGS)}, got {self.pairing!r}")

    def label(self, scheme: str, row: Row) -> str:
        """Return the class of a row in a scheme, '' if it has none or is to be dropped."""
        cell = row[self.labels[scheme]]
        return self.label_map.get(scheme, {}).get(cell, cell)

    def named_columns(self) -> Iterator[tuple[str, str]]:
        """Yield (setting, source column) for every column the settings name."""
        for setting in ("columns", "labels", "scores", "groups"):
            for key, column in getattr(self, setting).items():
                yield f"{setting}.{key}", column
        for column in self.where:
            yield "where", column


def build_manifest(
    config: RowsConfig, rows: Iterable[Row], *, columns: Mapping[str, str], media: Path, dropped: Mapping[str, int]
) -> Manifest:
    """Return the manifest of `rows`; media paths are relative to `media` and may not leave it unasked.

    `columns` maps manifest columns to cells; `dropped` counts what was left out before, by reason.
    Raises ManifestError naming the rows that are wrong.
    """
    counts = Counter(dropped)
    folder = MediaFolder(media)
    samples, places, number = [], dict[str, str](), 0
    for number, row in enumerate(rows, start=1):  # noqa: B007 (told below)
        if reason := _left_out(config, row):
            counts[reason] += 1
            continue
        sample = _sample(config, row, columns, folder)
        if (first := places.setdefault(sample.id, row.place)) is not row.place:
            raise ManifestError(f"duplicate id: {sample.id} ({first}, and {row.place}): make every id unique")
        samples.append(sample)
    if not samples:
        why = "".join(f"; left out: {count} ({reason})" for reason, count in counts.items())
        raise ManifestError(f"corpus {config.name} has no samples left of {number} rows{why}")
    kept = _limited(config, samples)
    if len(kept) < len(samples):
        counts[f"over the limit of {config.limit} a class"] = len(samples) - len(kept)
    found = {scheme: {s.labels[scheme] for s in samples if scheme in s.labels} for scheme in config.labels}
    return Manifest(
        name=config.name,
        samples=tuple(kept),
        labels={scheme: config.classes.get(scheme) or tuple(sorted(found[scheme])) for scheme in config.labels},
        pairing=config.pairing,
        source=config.source,
        licence=config.licence,
        dropped=dict(counts),
    )


def check_columns(config: RowsConfig, header: Sequence[str], *, what: str) -> None:
    """Raise ConfigError if the settings name a column that `header` lacks, naming the nearest it has."""
    for setting, column in config.named_columns():
        if column not in header:
            hint = nearest(column, list(header))
            raise ConfigError(
                f"{setting} names column {column!r}, which {what} lacks{hint}; it has: {', '.join(header)}"
            )


def _left_out(config: RowsConfig, row: Row) -> str | None:
    for column, wanted in config.where.items():
        if row[column] not in ((wanted,) if isinstance(wanted, str) else wanted):
            return f"not selected by {column}"
    for scheme, column in config.labels.items():
        if row[column] and not config.label(scheme, row):
            return f"{scheme} {row[column]} dropped"
    return None


def _sample(config: RowsConfig, row: Row, columns: Mapping[str, str], folder: MediaFolder) -> Sample:
    cells = {key: row[column] for key, column in columns.items()}
    if not cells["id"]:
        raise ManifestError(f"{row.place}: column {columns['id']!r} is blank: give every row an id")
    corpus = cells.get("corpus") or config.name
    text = row.cells[columns["text"]] if cells.get("text") else ""  # an utterance is no name: it keeps its blanks
    only_text = not any(name in cells for name in _FILES)
    paths = {name: _media_path(config, row, columns[name], folder) for name in _FILES if cells.get(name)}
    split = cells.get("split", "")
    start, end = (_milliseconds(cells, name, row) for name in ("start_ms", "end_ms"))
    if end is not None and end <= (start or 0):
        raise ManifestError(f"{row.place}: end_ms should be after start_ms, got {start} to {end}")
    return Sample(
        id=f"{corpus}/{cells['id']}",
        corpus=corpus,
        text=text if text or only_text else None,
        audio=paths.get("audio"),
        image=paths.get("image"),
        video=paths.get("video"),
        start_ms=start,
        end_ms=end,
        split=config.split_map.get(split, split) or None,
        labels={scheme: label for scheme in config.labels if (label := config.label(scheme, row))},
        scores={name: _number(row, column) for name, column in config.scores.items() if row[column]},
        groups={kind: group for kind, column in config.groups.items() if (group := row[column])},
        gender=cells.get("gender") or None,
        age=cells.get("age") or None,
        culture=cells.get("culture") or None,
    )


def _media_path(config: RowsConfig, row: Row, column: str, folder: MediaFolder) -> Path:
    cell = row.cells[column]
    path = folder.path(cell) if config.outside else folder.inside(cell, what=row.place)
    if _WINDOWS.match(plain(cell)) and not os.path.lexists(path):
        hint = "copy the files here and write their paths relative to media_folder"
        raise ManifestError(f"{row.place}: path {cell!r} is on a Windows drive or share, not of this machine: {hint}")
    return path


def _milliseconds(cells: Mapping[str, str], name: str, row: Row) -> int | None:
    if not cells.get(name):
        return None
    try:
        value = float(cells[name])
    except ValueError:
        value = -1.0
    if value < 0 or not value.is_integer():
        raise ManifestError(f"{row.place}: {name} should be whole milliseconds, got {cells[name]!r}")
    return int(value)


def _number(row: Row, column: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise ManifestError(f"{row.place}: {column} should be a number, got {row[column]!r}") from None


def _limited(config: RowsConfig, samples: list[Sample]) -> list[Sample]:
    if config.limit is None:
        return samples
    scheme = next(iter(config.labels))
    by_class = defaultdict(list)
    for sample in samples:
        rank = hashlib.sha256(f"{config.seed} {sample.id}".encode()).hexdigest()
        by_class[sample.labels.get(scheme)].append((rank, sample.id))
    chosen = {name for ranked in by_class.values() for _, name in sorted(ranked)[: config.limit]}
    return [sample for sample in samples if sample.id in chosen]
