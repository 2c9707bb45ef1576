"""A CSV or Parquet of samples, with a column mapping."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpora._corpus import Corpus
from corpora._rows import MEDIA, Row, RowsConfig, build_manifest, check_columns
from stores.errors import ConfigError, ManifestError
from stores.manifest import Manifest
from stores.root import Root
from stores.samples import MOST_CHARACTERS
from stores.spelling import plain

_SUFFIXES = (".csv", ".tsv", ".parquet")
_MOST_ROWS = 500_000
_MOST_SIZE = 100_000_000  # characters in the columns it reads: a small file may unfold to any size
_LONGEST_CELL = 10 * MOST_CHARACTERS  # a text that is too long is a sample that fails, not the end of the corpus
_BATCH = 8192  # rows of a Parquet file turned into objects at once
csv.field_size_limit(_LONGEST_CELL)


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
    """Samples listed in a table, one a row; UTF-8 if it is text, its cells apart by commas, semicolons or tabs.

    Columns that the settings name hold text (or its bytes in UTF-8), numbers, truth values, dates or times; others may
    hold anything. A whole number has no point: 1.0 is the name `1`, as programs write 1 where a column has blanks.
    A blank cell means absent: no label, no group, no such modality. Only where text is all a sample can have does
    a blank stay an (empty) text, which the extraction quarantines by name.
    """

    config_type = TableConfig

    def build(self, root: Root, *, base: Path) -> Manifest:
        path = base / self.config.path
        if not path.is_file():
            raise ManifestError(f"corpus {self.config.name}: no table {self.config.path!r} in {base}: check `path`")
        read = _parquet if path.suffix.lower() == ".parquet" else _text
        wanted = {column for _, column in self.config.named_columns()}
        lines = read(path, wanted)
        header = _header(path, next(lines, (0, []))[1])
        if header:
            check_columns(self.config, header, what=path.name)
        rows = _rows(path, header, lines, wanted)
        if (first := next(rows, None)) is None:
            raise ManifestError(f"{path.name} has no rows: a table needs a header and at least one sample")
        media = path.parent / self.config.media_folder
        return build_manifest(self.config, chain([first], rows), columns=self.config.columns, media=media, dropped={})


def _header(path: Path, names: Sequence[str]) -> list[str]:
    header = [plain(name) for name in names]
    if twice := [name for name, count in Counter(filter(None, header)).items() if count > 1]:
        raise ManifestError(f"{path.name} has two columns named {min(twice)!r}: rename one")
    return header


def _rows(
    path: Path, header: list[str], lines: Iterator[tuple[int, list[str]]], wanted: Collection[str]
) -> Iterator[Row]:
    places = {name: place for place, name in enumerate(header) if name in wanted}
    few = min(1, header.count(""))  # one column without a name is an index; two that hold something are a mistake
    rows = size = 0
    for number, cells in lines:
        nameless = [cell for name, cell in zip_longest(header, cells, fillvalue="") if not name and plain(cell)]
        if len(cells) < len(header) or len(nameless) > few:
            if not any(map(plain, cells)):
                continue
            raise ManifestError(
                f"{path.name}, row {number}: expected {len(header)} cells as in the header, got {len(cells)}: "
                "check what stands between cells, and that every column has a name"
            )
        row = Row(f"{path.name}, row {number}", {name: _cell(cells[place]) for name, place in places.items()})
        if any(row.cells.values()) or any(map(plain, cells)):
            rows, size = rows + 1, size + sum(map(len, row.cells.values()))
            _check_size(path, rows, size)
            yield row


def _check_size(path: Path, rows: int, size: int) -> None:
    for what, number, most in (("rows", rows, _MOST_ROWS), ("characters in the columns it names", size, _MOST_SIZE)):
        if number > most:
            raise ManifestError(
                f"{path.name} has {number:,} {what}; expected at most {most:,}: make it several corpora"
            )


def _text(path: Path, wanted: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, cells), the header first: the first row that is not blank.

    What stands between cells is what gives the header the columns that are wanted.
    """
    comma, lines, number = "\t" if path.suffix.lower() == ".tsv" else ",", None, 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            physical = iter(partial(file.readline, 2 * _LONGEST_CELL), "")
            for number, line in enumerate(physical, start=1):  # noqa: B007 (the header's, below)
                if told := re.fullmatch(r'"?sep=(.)"?\s*', line):  # a line for Excel
                    comma = told[1]
                elif plain(line.strip(',;\t"\r\n')):
                    break
            else:
                return
            headers = {mark: next(csv.reader([line], delimiter=mark)) for mark in (comma, *",;\t")}
            comma = next((mark for mark, names in headers.items() if set(map(plain, names)) >= set(wanted)), comma)
            lines = csv.reader(chain([line], physical), delimiter=comma, strict=True)
            yield from enumerate(lines, start=number)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path.name} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except csv.Error as error:
        place = lines.line_num if lines else number
        raise ManifestError(f"{path.name}, line {place}: {error}: check quotes and line ends") from None


def _parquet(path: Path, wanted: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, cells), the names of the columns first; cells of columns that are not wanted are blank."""
    number = 0
    try:
        about = pq.read_metadata(path)
        schema = about.schema.to_arrow_schema()
        yield number, schema.names
        named = [name for name in schema.names if plain(name) in wanted]
        for name in named:
            if pa.types.is_nested(kind := schema.field(name).type) or isinstance(kind, pa.BaseExtensionType):
                raise ManifestError(f"{path.name}: column {name!r} holds {kind}, expected text, numbers or times")
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        if size > _MOST_SIZE:  # pyarrow dies of some damaged columns
            chunks = (group.column(i) for group in groups for i in range(group.num_columns))
            size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in named)
        _check_size(path, about.num_rows, size)
        file = pq.ParquetFile(path, read_dictionary=named, page_checksum_verification=True)  # equal cells are kept once
        for batch in file.iter_batches(_BATCH, columns=named):
            batch.validate(full=True)
            found = {name: _cells(batch.column(name), f"{path.name}: column {name!r}") for name in named}
            for cells in zip(*(found.get(name, repeat("", len(batch))) for name in schema.names), strict=True):
                number += 1
                yield number, list(cells)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path.name} is not a Parquet file that can be read: {error}") from None


def _cells(column: pa.Array, what: str) -> list[str]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        values = _cells(column.dictionary, what)
        return ["" if place is None else values[place] for place in column.indices.to_pylist()]
    try:
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp("us", kind.tz), safe=False)
        return [_cell(value) for value in column.to_pylist()]
    except (ValueError, OverflowError) as error:  # bytes that are no UTF-8, times beyond the year 9999
        raise ManifestError(f"{what} holds {kind} that cannot be told as text: {error}") from None


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN, a blank to pandas, differs from itself
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    text = value.decode() if isinstance(value, bytes) else str(value)
    return text if plain(text) else ""
