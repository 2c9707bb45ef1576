"""The one place everything is written under: a folder or any fsspec address."""

import os
import posixpath
import uuid
from pathlib import Path
from typing import BinaryIO, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from zarr.storage import FsspecStore, LocalStore

from stores.errors import ConfigError, StoreError

DEFAULT = "runs"
VARIABLE = "AFFUSE_ROOT"


class Root:
    """A folder or object-store prefix; relative paths use `/` and may not leave it.

    `Root(None)` is `$AFFUSE_ROOT`, else `./runs`.
    """

    def __init__(self, address: str | Path | None = None) -> None:
        self.address = str(address or os.environ.get(VARIABLE) or DEFAULT)
        try:
            self._fs, self._base = fsspec.core.url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"cannot use the root {self.address!r}: {error}") from None
        self.is_local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else [self._fs.protocol])
        if self.is_local:
            self.address = self._base  # absolute: worker processes may stand in another folder

    def __repr__(self) -> str:
        return f"Root({self.address!r})"

    def path(self, *parts: str) -> str:
        """Return the full address of a relative path. Raises StoreError if it would leave the root."""
        relative = posixpath.normpath(posixpath.join(*parts)) if parts else "."
        if relative.startswith(("..", "/")):
            raise StoreError(f"path {relative!r} leaves the root {self.address}: use names without '..'")
        return self._base if relative == "." else posixpath.join(self._base, relative)

    def url(self, *parts: str) -> str:
        """Return what others open a file by: a path on this machine, or the address with its scheme."""
        return self.path(*parts) if self.is_local else str(self._fs.unstrip_protocol(self.path(*parts)))

    def local(self, *parts: str) -> Path:
        """Return a path on this machine; raises StoreError for an object store."""
        if not self.is_local:
            raise StoreError(f"{self.address} is not a folder on this machine: give --root a local folder")
        return Path(self.path(*parts))

    def exists(self, *parts: str) -> bool:
        return bool(self._fs.exists(self.path(*parts)))

    def names(self, *parts: str) -> list[str]:
        """Return the sorted names directly below a folder, without temporary ones; [] if there is none."""
        folder = self.path(*parts)
        self._fs.invalidate_cache()
        if not self._fs.isdir(folder):
            return []
        found = (posixpath.basename(str(entry).rstrip("/")) for entry in self._fs.ls(folder, detail=False))
        return sorted(name for name in found if not name.startswith("."))

    def open(self, *parts: str) -> BinaryIO:
        """Open a file for reading bytes."""
        return cast(BinaryIO, self._fs.open(self.path(*parts), "rb"))

    def read(self, *parts: str) -> bytes:
        return cast(bytes, self._fs.cat_file(self.path(*parts)))

    def put(self, data: bytes, *parts: str) -> None:
        """Write a file with one atomic operation: temporary sibling, fsync, rename; or one PUT."""
        target = self.path(*parts)
        if not self.is_local:
            self._fs.pipe_file(target, data)
            return
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)

    def put_table(self, table: pa.Table, *parts: str) -> None:
        """Write a Parquet file atomically."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.put(sink.getvalue().to_pybytes(), *parts)

    def read_table(self, *parts: str) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.read(*parts)))

    def zarr(self, *parts: str) -> LocalStore | FsspecStore:
        """Return a zarr store at a relative path."""
        if self.is_local:
            return LocalStore(self.path(*parts))
        return FsspecStore.from_url(posixpath.join(self.address.rstrip("/"), *parts))

    def flush(self, *parts: str) -> None:
        """Force a written folder to disk; zarr's local store never does. No-op on an object store."""
        if not self.is_local:
            return
        for folder, _, files in os.walk(self.path(*parts)):
            for name in files:
                descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
            _sync_folder(Path(folder))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
