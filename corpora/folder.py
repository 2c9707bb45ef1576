"""A folder with one media file a sample, whose names say the label."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import regex

from corpora._corpus import Corpus
from corpora._rows import Row, RowsConfig, build_manifest, check_columns
from stores.errors import ConfigError, ManifestError
from stores.manifest import MEDIA, Manifest
from stores.media_folder import MediaFolder
from stores.root import Root
from stores.settings import as_name

_PATH = "relative path"  # no group of a pattern can have this name
_PATIENCE_S = 0.5  # of processor time a name; an ordinary pattern needs a microsecond


@dataclass(frozen=True, kw_only=True)
class FolderConfig(RowsConfig):
    r"""The folder's `path`, the `medium` of its files, and the `pattern` their relative paths match in full.

    The named groups of the pattern are the columns that `labels`, `groups`, `columns` and `where` refer to:
    `(?P<speaker>\w+)_(?P<emotion>\w+)_(?P<sentence>\d+)\.wav`. Paths are relative, use `/` and are matched as NFC.
    """

    path: str
    pattern: str
    medium: str = "audio"

    @property
    def own_name(self) -> str:
        return as_name(Path(self.path).name, "folder")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pattern", unicodedata.normalize("NFC", self.pattern))
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

    A sample's id is its relative path. Links to folders are entered like folders, if they stay in the corpus or
    `outside` says so. Hidden files are passed over; files that do not match are counted as dropped.
    """

    config_type = FolderConfig

    def build(self, root: Root, *, base: Path) -> Manifest:
        config = self.config
        folder = base / config.path
        if not folder.is_dir():
            raise ManifestError(f"corpus {config.name}: no folder {config.path!r} in {base}: check `path`")
        dropped: Counter[str] = Counter()
        files = sorted(_media_files(folder, config, dropped))
        pattern = regex.compile(config.pattern)
        matches = {path: match for path in files if (match := _match(pattern, unicodedata.normalize("NFC", path)))}
        if not matches:
            example = f", for instance {files[0]!r}" if files else ""
            raise ManifestError(f"none of the {len(files)} files in {folder} matches {config.pattern!r}{example}")
        rows = [Row(path, {_PATH: path, **match.groupdict("")}) for path, match in matches.items()]
        check_columns(config, list(pattern.groupindex), what="pattern")
        columns = {**config.columns, "id": _PATH, config.medium: _PATH}
        dropped["name does not match"] = len(files) - len(rows)
        counts = {reason: count for reason, count in dropped.items() if count}
        return build_manifest(config, rows, columns=columns, media=folder, dropped=counts)


def _match(pattern: Any, path: str) -> Any:
    """Return the match of a path in full, or None. Raises ConfigError for a pattern that tries without end."""
    try:
        return pattern.fullmatch(path, timeout=_PATIENCE_S)
    except TimeoutError:
        raise ConfigError(
            f"pattern {pattern.pattern!r} takes too long on {path!r}: it repeats what repeats, such as `(a+)+`; "
            r"let each repetition begin or end with a sign of its own, such as `\w+_\w+`"
        ) from None


def _media_files(folder: Path, config: FolderConfig, dropped: Counter[str]) -> Iterator[str]:
    """Yield the relative paths of the files that are not hidden; count what is no file and what no table can name.

    Raises ManifestError on a folder that is a link and leaves the corpus unasked, or that cannot be listed.
    """
    media, links = MediaFolder(folder), set[Path]()
    resolve = media.path if config.outside else partial(media.inside, what="a linked folder")
    for place, folders, names in os.walk(folder, onerror=_unlisted, followlinks=True):
        here, below = Path(place).resolve(), Path(place).relative_to(folder)
        folders[:] = [name for name in sorted(folders) if name[0] != "."]
        for name in (name for name in tuple(folders) if os.path.islink(os.path.join(place, name))):
            if resolve(str(below / name)) in (here, *here.parents) or here / name in links:
                folders.remove(name)  # a loop, or a link that was followed on another way
            links.add(here / name)
        for name in (name for name in names if name[0] != "."):
            if not os.path.isfile(os.path.join(place, name)):
                dropped["no file, or a link that leads nowhere"] += 1
            elif (relative := (below / name).as_posix()).encode(errors="ignore").decode() != relative:
                dropped["name is not UTF-8"] += 1  # Python puts lone surrogates for bytes that are no text
            else:
                yield relative


def _unlisted(error: OSError) -> None:
    raise ManifestError(f"cannot list the folder {error.filename}: {error.strerror}: change its permissions")
