"""Where the media paths of a corpus lead, links resolved, and which of them leave its folder."""

import os
from pathlib import Path

from stores.errors import ManifestError


class MediaFolder:
    """The folder that a corpus's media paths are relative to; each folder below it is resolved once."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._real = _resolved(self._folder)
        self._parents: dict[str, str] = {}

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
        return _resolved(path) if os.path.islink(path) else path


def _resolved(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a NUL in it: no such file can be opened, and its sample is quarantined
        return os.path.abspath(path)
