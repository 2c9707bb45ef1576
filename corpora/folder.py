"""A folder with one media file a sample, whose names say the label."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex

from corpora._corpus import Corpus
from corpora._rows import Row, RowsConfig, build_manifest, check_columns
from stores.errors import ConfigError, ManifestError
from stores.manifest import Manifest
from stores.root import Root

MEDIA = ("audio", "image", "video")
_PATH = "relative path"  # no group of a pattern can have this name
_PATIENCE_S = 0.5  # of processor time a name; an ordinary pattern needs a microsecond


@dataclass(frozen=True, kw_only=True)
class FolderConfig(RowsConfig):
    r"""The folder's `path`, the `medium` of its files, and the `pattern` their relative paths match in full.

    The named groups of the pattern are the columns that `labels`, `groups`, `columns` and `where` refer to:
    `(?P<speaker>\w+)_(?P<emotion>\w+)_(?P<sentence>\d+)\.wav`. Paths are relative and use `/`.
    """

    path: str
    pattern: str
    medium: str = "audio"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.medium not in MEDIA:
            raise ConfigError(f"medium should be one of {', '.join(MEDIA)}, got {self.medium!r}")
        if wrong := [key for key in self.columns if key in ("id", *MEDIA)]:
            raise ConfigError(f"columns.{wrong[0]} is the file itself here: leave it out")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(f"pattern {self.pattern!r} is not a regular expression: {error}") from None


class Folder(Corpus[FolderConfig]):
    """The media files below a folder; building it again finds what was added, changed or deleted.

    A sample's id is its relative path. Hidden files are passed over; files that do not match are counted as dropped.
    """

    config_type = FolderConfig

    def build(self, root: Root, *, base: Path) -> Manifest:
        config = self.config
        folder = base / config.path
        if not folder.is_dir():
            raise ManifestError(f"corpus {config.name}: no folder {config.path!r} in {base}: check `path`")
        files, unnamed = _media_files(folder)
        pattern = regex.compile(config.pattern)
        matches = {path: match for path in files if (match := _match(pattern, path))}
        if not matches:
            example = f", for instance {files[0]!r}" if files else ""
            raise ManifestError(f"none of the {len(files)} files in {folder} matches {config.pattern!r}{example}")
        rows = [Row(path, {_PATH: path, **match.groupdict("")}) for path, match in matches.items()]
        check_columns(config, list(pattern.groupindex), what="pattern")
        columns = {**config.columns, "id": _PATH, config.medium: _PATH}
        dropped = {"name does not match": len(files) - len(rows), "name is not UTF-8": unnamed}
        dropped = {reason: count for reason, count in dropped.items() if count}
        return build_manifest(config, rows, columns=columns, media=folder, dropped=dropped)


def _match(pattern: Any, path: str) -> Any:
    """Return the match of a path in full, or None. Raises ConfigError for a pattern that tries without end."""
    try:
        return pattern.fullmatch(path, timeout=_PATIENCE_S)
    except TimeoutError:
        raise ConfigError(
            f"pattern {pattern.pattern!r} takes too long on {path!r}: it repeats what repeats, such as `(a+)+`; "
            r"let each repetition begin or end with a sign of its own, such as `\w+_\w+`"
        ) from None


def _media_files(folder: Path) -> tuple[list[str], int]:
    """Return the relative paths of the files that are not hidden, and how many have a name no table can hold."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    paths = [path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)]
    named = sorted(path for path in paths if _is_utf8(path))
    return named, len(paths) - len(named)


def _is_utf8(name: str) -> bool:
    """Return whether a file name is text: Python puts lone surrogates for bytes that are not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
