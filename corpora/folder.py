"""A folder with one media file a sample, whose names say the label."""

import re
from dataclasses import dataclass
from pathlib import Path

from corpora._corpus import Corpus
from corpora._rows import Row, RowsConfig, build_manifest, check_columns
from stores.errors import ConfigError, ManifestError
from stores.manifest import Manifest
from stores.root import Root

MEDIA = ("audio", "image", "video")
_PATH = "relative path"  # no group of a pattern can have this name


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
        files = _media_files(folder)
        pattern = re.compile(config.pattern)
        matches = {path: match for path in files if (match := pattern.fullmatch(path))}
        if not matches:
            example = f", for instance {files[0]!r}" if files else ""
            raise ManifestError(f"none of the {len(files)} files in {folder} matches {config.pattern!r}{example}")
        rows = [Row(path, {_PATH: path, **match.groupdict("")}) for path, match in matches.items()]
        check_columns(config, list(pattern.groupindex), what="pattern")
        columns = {**config.columns, "id": _PATH, config.medium: _PATH}
        unmatched = {"name does not match": len(files) - len(rows)} if len(files) > len(rows) else {}
        return build_manifest(config, rows, columns=columns, media=folder, dropped=unmatched)


def _media_files(folder: Path) -> list[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
