"""Where the media paths of a corpus lead, links resolved, and which of them leave its folder."""

import os
import stat
from functools import cache, reduce
from pathlib import Path

from stores.errors import ManifestError
from stores.spelling import plain


class MediaFolder:
    """The folder that a corpus's media paths are relative to; each folder below it is resolved, and listed, once.

    A file that is not there as its path spells it is looked for under names that `plain` spells alike (other forms of
    Unicode, blanks at the ends), and with `\\` for `/`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._real = _resolved(self._folder)
        self._parent, self._listed = cache(_resolved), cache(_listed)
        self._place = cache(lambda parent: reduce(self._step, Path(parent).parts, self._folder))

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
        path = os.path.join(self._parent(parent), name)
        try:
            return _resolved(path) if stat.S_ISLNK(os.lstat(path).st_mode) else path
        except (OSError, ValueError):
            return self._other_spelling(relative) or path

    def _other_spelling(self, relative: str) -> str | None:
        for spelled in dict.fromkeys((relative, relative.replace("\\", "/"))):
            parent, name = os.path.split(spelled)
            place = self._place(parent)
            if (found := self._listed(place).get(plain(name))) is not None:
                return _resolved(os.path.join(place, found))
        return None

    def _step(self, place: str, part: str) -> str:
        exact = os.path.join(place, part)
        return exact if os.path.lexists(exact) else os.path.join(place, self._listed(place).get(plain(part), part))


def _listed(place: str) -> dict[str, str]:
    """Return the names in a folder by how they are spelled plainly."""
    try:
        return {plain(name): name for name in sorted(os.listdir(place), reverse=True)}
    except (OSError, ValueError):
        return {}


def _resolved(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a NUL in it: no such file can be opened, and its sample is quarantined
        return os.path.abspath(path)
