"""A CSV or Parquet of samples, with a column mapping."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from corpora._corpus import Corpus
from corpora._rows import MEDIA, Row, RowsConfig, build_manifest, check_columns
from stores.errors import ConfigError, ManifestError
from stores.manifest import Manifest
from stores.root import Root

_SUFFIXES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class TableConfig(RowsConfig):
    """The table's `path`, and `media_folder`, relative to it: media paths in the table are relative to that folder.

    `columns` needs `id` and at least one of text, audio, image, video; the rest is described in RowsConfig.
    """

    path: str
    media_folder: str = "."

    def __post_init__(self) -> None:
        super().__post_init__()
        if "id" not in self.columns or not any(name in self.columns for name in MEDIA):
            raise ConfigError(f"columns needs id and at least one of {', '.join(MEDIA)}, got {dict(self.columns)}")
        if Path(self.path).suffix.lower() not in _SUFFIXES:
            raise ConfigError(f"path should end in {', '.join(_SUFFIXES)}, got {self.path!r}")


class Table(Corpus[TableConfig]):
    """Samples listed in a table, one a row; UTF-8 if it is text.

    A blank cell means absent: no label, no group, no such modality. Only where text is all a sample can have does
    a blank stay an (empty) text, which the extraction quarantines by name.
    """

    config_type = TableConfig

    def build(self, root: Root, *, base: Path) -> Manifest:
        path = base / self.config.path
        if not path.is_file():
            raise ManifestError(f"corpus {self.config.name}: no table {self.config.path!r} in {base}: check `path`")
        header, rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
        if not rows:
            raise ManifestError(f"{path.name} has no rows: a table needs a header and at least one sample")
        check_columns(self.config, header, what=path.name)
        media = path.parent / self.config.media_folder
        return build_manifest(self.config, rows, columns=self.config.columns, media=media, dropped={})


def _read_text(path: Path) -> tuple[list[str], list[Row]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=delimiter, strict=True)
            header = next(lines, [])
            if twice := {name for name in header if header.count(name) > 1}:
                raise ManifestError(f"{path.name} has two columns named {min(twice)!r}: rename one")
            return header, list(_rows(path, header, lines))
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path.name} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except csv.Error as error:
        raise ManifestError(f"{path.name}, line {lines.line_num}: {error}: check quotes and line ends") from None


def _rows(path: Path, header: list[str], lines: Iterator[list[str]]) -> Iterator[Row]:
    for number, cells in enumerate(lines, start=2):
        if not cells:
            continue  # a blank line at the end of the file
        if len(cells) != len(header):
            raise ManifestError(
                f"{path.name}, row {number}: expected {len(header)} cells as in the header, got {len(cells)}"
            )
        yield Row(f"{path.name}, row {number}", dict(zip(header, map(_cell, cells), strict=True)))


def _read_parquet(path: Path) -> tuple[list[str], list[Row]]:
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ManifestError(f"{path.name} is not a Parquet file: {error}") from None
    rows = [
        Row(f"{path.name}, row {number}", {name: _cell(value) for name, value in row.items()})
        for number, row in enumerate(table.to_pylist(), start=1)
    ]
    return table.column_names, rows


def _cell(value: object) -> str:
    text = "" if value is None or value != value else str(value)  # NaN, a blank to pandas, differs from itself
    return text if text.strip() else ""
