"""Where the media paths of a corpus lead, links resolved, and which of them leave its folder."""

import os
import stat
from functools import reduce
from pathlib import Path

from stores.errors import ManifestError
from stores.spelling import plain


class MediaFolder:
    """The folder that a corpus's media paths are relative to; each folder below it is resolved once.

    A file that is not there as its path spells it is looked for under names that `plain` spells alike (other forms of
    Unicode, blanks at the ends), and with `\\` for `/`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._real = _resolved(self._folder)
        self._parents: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self._names: dict[str, dict[str, str]] = {}

    def path(self, relative: str) -> Path:
        """Return the absolute path, links resolved, wherever it leads; what cannot be resolved stays as it is."""
        return Path(self._path(relative))

    def inside(self, relative: str, *, what: str) -> Path:
        """Return `path(relative)`, or raise ManifestError if it leaves the folder: by `..`, a root or a link."""
        path = self._path(relative)
        if path != self._real and not path.startswith(os.path.join(self._real, "")):
            hint = "use paths inside it, or say `outside = true`"
            raise ManifestError(f"{what}: path {relative!r} leaves the corpus folder {self._folder}: {hint}")
        return Path(path)

    def _path(self, relative: str) -> str:
        joined = os.path.join(self._folder, relative)
        parent, name = os.path.split(joined)
        if name in ("", ".", ".."):
            return _resolved(joined)
        if parent not in self._parents:
            self._parents[parent] = _resolved(parent)
        path = os.path.join(self._parents[parent], name)
        try:
            return _resolved(path) if stat.S_ISLNK(os.lstat(path).st_mode) else path
        except (OSError, ValueError):
            return self._other_spelling(relative) or path

    def _other_spelling(self, relative: str) -> str | None:
        for spelled in dict.fromkeys((relative, relative.replace("\\", "/"))):
            parent, name = os.path.split(spelled)
            if parent not in self._places:
                self._places[parent] = reduce(self._step, Path(parent).parts, self._folder)
            place = self._places[parent]
            if (found := self._listed(place).get(plain(name))) is not None:
                return _resolved(os.path.join(place, found))
        return None

    def _step(self, place: str, part: str) -> str:
        exact = os.path.join(place, part)
        return exact if os.path.lexists(exact) else os.path.join(place, self._listed(place).get(plain(part), part))

    def _listed(self, place: str) -> dict[str, str]:
        """Return the names in a folder by how they are spelled plainly; it is listed once."""
        if place not in self._names:
            try:
                self._names[place] = {plain(name): name for name in sorted(os.listdir(place), reverse=True)}
            except (OSError, ValueError):
                self._names[place] = {}
        return self._names[place]


def _resolved(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a NUL in it: no such file can be opened, and its sample is quarantined
        return os.path.abspath(path)
