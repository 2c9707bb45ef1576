"""The one place everything is written under: a folder or any fsspec address."""

import json
import logging
import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from zarr.storage import FsspecStore, LocalStore

from stores import errors
from stores.errors import ConfigError, DamagedError, ForeignError, NotFound, RootError, StoreError
from stores.identity import canonical, fingerprint
from stores.local_files import INVISIBLE, put_file, sync

DEFAULT = "runs"
VARIABLE = "AFFUSE_ROOT"
_DIGEST, _PLACE = b"affuse_schema", b"affuse_place"  # keys of a table's metadata


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file below the root: relative path, bytes, time of the last change in s since 1970."""

    path: str
    size: int
    modified: float


class Root:
    """A folder or object-store prefix; relative paths use `/` and may not leave it.

    `Root(None)` is `$AFFUSE_ROOT`, else `./runs`. Everything raises RootError, saying what to do, where the disk or
    the object store refuses.
    """

    def __init__(self, address: str | Path | None = None) -> None:
        self.address = str(address or os.environ.get(VARIABLE) or DEFAULT)
        remote = "://" in self.address and not self.address.startswith(("file://", "memory://"))
        if remote and set(self.address) & set("*?["):
            raise ConfigError(f"the root {self.address!r} holds a sign that object stores take as a pattern: rename it")
        options = {"use_listings_cache": False} if remote else {}  # other processes write too
        try:
            self._fs, self._base = fsspec.core.url_to_fs(self.address, **options)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"cannot use the root {self.address!r}: {error}") from None
        self.is_local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else [self._fs.protocol])
        if self.is_local:
            self.address = self._base  # absolute: worker processes may stand in another folder

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Root) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)

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

    def demand(self) -> "Root":
        """Return itself. Raises NotFound if nothing has been written under this root yet."""
        if not self.names():
            raise NotFound(f"there is no store at {self.address}: check --root; `affuse run STUDY` makes one")
        return self

    def exists(self, *parts: str) -> bool:
        with self.telling("look for", *parts):
            return bool(self._fs.exists(self.path(*parts)))

    def names(self, *parts: str) -> list[str]:
        """Return the sorted names directly below a folder, without temporary ones; [] if there is none."""
        folder = self.path(*parts)
        entries = {str(entry).rstrip("/") for entry in self._entries(*parts, detail=False)} - {folder}
        return sorted(name for name in map(posixpath.basename, entries) if not name.startswith(INVISIBLE))

    def stamps(self, *parts: str) -> dict[str, tuple[int, float]]:
        """Return name -> (bytes, time of the last change) directly below a folder; folders are (0, 0.0)."""
        return {
            posixpath.basename(str(entry["name"]).rstrip("/")): (int(entry["size"] or 0), _modified(entry))
            if entry["type"] == "file"
            else (0, 0.0)
            for entry in self._entries(*parts, detail=True)
        }

    def _entries(self, *parts: str, detail: bool) -> list[Any]:
        self._fs.invalidate_cache()
        with self.telling("list", *parts):
            try:
                return list(self._fs.ls(self.path(*parts), detail=detail))
            except NotADirectoryError:
                return []
            except FileNotFoundError as error:
                if errors.lacks_bucket(error):
                    raise
                return []

    def files(self, *parts: str) -> list[StoredFile]:
        """Return every file below a folder, temporary ones included, sorted by path."""
        self._fs.invalidate_cache()
        with self.telling("list", *parts):
            found = self._fs.find(self.path(*parts), detail=True)
        names = {name: posixpath.relpath(name, self._base) for name in found}
        return [
            StoredFile(names[name], int(info["size"] or 0), _modified(info)) for name, info in sorted(found.items())
        ]

    def open(self, *parts: str) -> BinaryIO:
        """Open a file for reading bytes."""
        with self.telling("read", *parts):
            return cast(BinaryIO, self._fs.open(self.path(*parts), "rb"))

    def read(self, *parts: str) -> bytes:
        with self.telling("read", *parts):
            return cast(bytes, self._fs.cat_file(self.path(*parts)))

    def put(self, data: bytes, *parts: str) -> None:
        """Write a file with one atomic operation: temporary sibling, fsync, rename; or one PUT."""
        with self.telling("write", *parts):
            if self.is_local:
                put_file(Path(self.path(*parts)), data)
            else:
                self._fs.pipe_file(self.path(*parts), data)

    def put_new(self, data: bytes, *parts: str) -> bool:
        """Write a file atomically unless there is one; return whether it was written. Of two writers one wins."""
        with self.telling("write", *parts):
            try:
                if self.is_local:
                    put_file(Path(self.path(*parts)), data, new=True)
                else:
                    self._fs.pipe_file(self.path(*parts), data, mode="create")
            except FileExistsError:
                return False
        return True

    def put_json(self, content: Mapping[str, Any], *parts: str) -> None:
        """Write a JSON object atomically, with its place and a digest of both inside."""
        plain = cast(dict[str, Any], canonical({**content, "place": _where(*parts)}))
        self.put((json.dumps({**plain, "digest": fingerprint(plain)}, indent=1) + "\n").encode(), *parts)

    def read_json(self, *parts: str) -> dict[str, Any]:
        """Return what `put_json` wrote. Raises DamagedError, or ForeignError if it is another's."""
        where = _where(*parts)
        try:
            content = json.loads(self.read(*parts))
            digest, own = content.pop("digest"), fingerprint(content)
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(f"{where} is not the JSON that was written: {error}") from None
        if digest != own:
            raise DamagedError(f"{where} is not what was written: its digest differs")
        _check_place(where, content.pop("place", None))
        return cast(dict[str, Any], content)

    def put_table(self, table: pa.Table, *parts: str, compression: str = "zstd", use_dictionary: bool = True) -> None:
        """Write a Parquet file atomically, with checksums of its pages and a digest of columns, metadata and place."""
        metadata = {**(table.schema.metadata or {}), _PLACE: _where(*parts).encode()}
        signature = {_PLACE: metadata[_PLACE], _DIGEST: _schema_digest(table.schema.with_metadata(metadata))}
        sink, options = pa.BufferOutputStream(), {"compression": compression, "use_dictionary": use_dictionary}
        with pq.ParquetWriter(sink, table.schema, write_page_checksum=True, **options) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(signature)  # that of a schema would be written twice
        self.put(sink.getvalue().to_pybytes(), *parts)

    def read_table(self, *parts: str, like: pa.Schema | None = None) -> pa.Table:
        """Return a Parquet file. Raises DamagedError if it is not what was written, ForeignError if it is another's.

        `like` has the columns it should begin with; a table of an earlier version may lack the last of them.
        One thread reads: a worker of Arrow's that still holds the bytes when Python exits aborts the process.
        """
        data = pa.BufferReader(self.read(*parts))
        try:
            table = pq.ParquetFile(data, page_checksum_verification=True).read(use_threads=False)
            metadata = dict(table.schema.metadata or {})
            if metadata.pop(_DIGEST, None) != _schema_digest(table.schema):
                raise ValueError("its columns or metadata have changed")
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedError(f"{_where(*parts)} is not the table that was written: {reason}") from None
        _check_place(_where(*parts), metadata.pop(_PLACE, None))
        if like is not None and any(one != other for one, other in zip(table.schema.names, like.names, strict=False)):
            raise ForeignError(
                f"{_where(*parts)} has the columns {', '.join(table.schema.names)}: it is of another kind"
            )
        return table.replace_schema_metadata(metadata or None)

    def tables(self, folder: str, like: pa.Schema) -> dict[str, pa.Table]:
        """Return name -> table of every Parquet file in a folder that is one of its own; others are passed over."""
        found = {}
        for name in self.names(folder):
            try:
                if name.endswith(".parquet"):
                    found[name] = self.read_table(folder, name, like=like)
            except ForeignError as error:
                say_once(f"{self.address}: not read: {error}")
        return found

    def zarr(self, *parts: str) -> LocalStore | FsspecStore:
        """Return a zarr store at a relative path."""
        if self.is_local:
            return LocalStore(self.path(*parts))
        return FsspecStore.from_url(
            posixpath.join(self.address.rstrip("/"), *parts), storage_options={"use_listings_cache": False}
        )

    def flush(self, *parts: str, done: set[str] | None = None) -> None:
        """Force a written folder to disk; zarr's local store never does. No-op on an object store.

        What is in `done` is passed over, and what was flushed joins it: files, and folders with the names in them.
        """
        if not self.is_local:
            return
        flushed = set() if done is None else done
        with self.telling("flush", *parts):
            for folder, folders, files in os.walk(self.path(*parts)):
                for path in (os.path.join(folder, name) for name in files):
                    if path in flushed:
                        continue
                    with suppress(FileNotFoundError):  # the temporary name of a file that is being written
                        sync(path)
                        flushed.add(path)
                named = "\0".join((folder, *sorted((*folders, *files))))
                if named not in flushed:
                    sync(folder)
                    flushed.add(named)

    def delete(self, *parts: str) -> None:
        """Delete a file, or a folder with everything in it; nothing happens if it is gone already."""
        path = self.path(*parts)
        if path == self._base:
            raise StoreError(f"refused to delete the whole root {self.address}")
        with self.telling("delete", *parts), suppress(FileNotFoundError):
            self._fs.rm(path, recursive=True)

    @contextmanager
    def telling(self, doing: str, *parts: str) -> Iterator[None]:
        """Turn what the disk or the object store raises into a RootError that says what, where and what to do.

        A file that is not there stays a FileNotFoundError: who asks knows what its absence means.
        """
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            told = errors.is_refusal(error)
            if isinstance(error, FileNotFoundError):
                told = doing == "write" if self.is_local else errors.lacks_bucket(error)
            if not told:
                raise
            what = posixpath.join(*parts) if parts else "."
            text = errors.refusal(error, doing=doing, what=what, address=self.address, is_local=self.is_local)
            raise RootError(text) from error


@cache
def say_once(text: str) -> None:
    """Tell who runs this what was passed over."""
    logging.getLogger("affuse").warning(text)


def _where(*parts: str) -> str:
    return posixpath.normpath(posixpath.join(*parts))


def _check_place(where: str, place: str | bytes | None) -> None:
    """Refuse a document that was written to another place; those of earlier versions do not say where."""
    said = place.decode(errors="replace") if isinstance(place, bytes) else place
    if said not in (None, where):
        raise ForeignError(f"{where} is another's: it was written as {said}; put it back there, or delete it")


def _schema_digest(schema: pa.Schema) -> bytes:
    """Return the digest of what no checksum of a page covers: names and types of columns, and metadata.

    Tables of earlier versions, which do not say where they were written to, leave the types out.
    """
    metadata = {key.hex(): value.hex() for key, value in (schema.metadata or {}).items() if key != _DIGEST}
    signed: list[Any] = [list(schema.names), metadata]
    if _PLACE in (schema.metadata or {}):  # Parquet gives back `item`, the name of what is in a list, as `element`
        signed.append([str(kind).replace("<item: ", "<element: ") for kind in schema.types])
    return fingerprint(signed).encode()


def _modified(info: Mapping[str, Any]) -> float:
    for name in ("mtime", "LastModified", "last_modified", "created"):
        if (found := info.get(name)) is not None:
            return found.timestamp() if isinstance(found, datetime) else float(found)
    return 0.0
