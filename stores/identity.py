"""Fingerprints: canonical typed JSON, and the keys and ids derived from it (DESIGN section 3).

The algorithm is version 1; `tests/stores/test_identity.py` pins literal ids, so a change of algorithm
cannot pass unnoticed.
"""

import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import xxhash

from stores.errors import IdentityError

ALGORITHM = 1


def canonical(value: object) -> object:
    """Return `value` as plain JSON types, or raise IdentityError for a type with no canonical form.

    Dataclasses become mappings with every default inside. `1`, `1.0`, `"1"` and `True` stay different.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise IdentityError(f"expected a finite number, got {value}: it has no canonical form")
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: canonical(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        if bad := [key for key in value if not isinstance(key, str)]:
            raise IdentityError(f"expected text keys in an identity, got {bad[0]!r}")
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    raise IdentityError(
        f"expected JSON types or a dataclass, got {type(value).__name__} ({value!r}): "
        "convert it before it becomes part of an identity"
    )


def canonical_json(value: object) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, UTF-8 kept."""
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(value: object) -> str:
    """Return the sha256 of the canonical JSON of `value`, 64 hex characters."""
    return hashlib.sha256(f"affuse-{ALGORITHM}\0{canonical_json(value)}".encode()).hexdigest()


def short_id(name: str, value: object) -> str:
    """Return `<name>-<first 12 hex>`, the form of feature, encoder, study and run ids."""
    return f"{name}-{fingerprint(value)[:12]}"


def text_key(text: str) -> str:
    """Return the key of an utterance: its NFC-normalised string, nothing else of it."""
    return hashlib.sha256(_header("text") + unicodedata.normalize("NFC", text).encode()).hexdigest()


def media_key(modality: str, content: str, start_ms: int | None = None, end_ms: int | None = None) -> str:
    """Return the key of a recording: the sha256 of its bytes (`content`) and, for a segment, start and end in ms.

    A file is read once for all its segments and modalities.
    """
    segment = "" if start_ms is None and end_ms is None else f"{start_ms}:{end_ms}"
    return hashlib.sha256(_header(modality, segment) + content.encode()).hexdigest()


def _header(*parts: str) -> bytes:
    return "\0".join((f"affuse-{ALGORITHM}", *parts, "")).encode()


def row_digest(row: np.ndarray) -> str:
    """Return 32 hex characters over dtype, shape and bytes of one stored row.

    XXH3 (128 bits): it tells accidents, as fast as memory is read. Keys and ids, which must not be forged, are SHA-256.
    """
    return row_digests(row[None])[0]


def row_digests(rows: Sequence[np.ndarray] | np.ndarray) -> list[str]:
    """Return the `row_digest` of each of many rows; those of one array share what their digests begin with."""
    if not isinstance(rows, np.ndarray):
        return [row_digest(row) for row in rows]
    begun, found = xxhash.xxh3_128(f"{rows.dtype.str}{rows.shape[1:]}".encode()), []
    for row in np.ascontiguousarray(rows):
        digest = begun.copy()
        digest.update(row.data)
        found.append(digest.hexdigest())
    return found


def bytes_digest(arrays: Iterable[np.ndarray]) -> str:
    """Return 32 hex characters (XXH3) over the bytes of arrays, one after the other."""
    digest = xxhash.xxh3_128()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def tensors_digest(tensors: Iterable[tuple[str, np.ndarray]]) -> str:
    """Return the sha256 over (name, dtype, shape, bytes) of tensors sorted by name.

    The digest is of the weights, not of the file they came in: the same tensors in another
    container have the same digest.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        array = np.ascontiguousarray(tensor)
        digest.update(f"{name}\0{array.dtype.str}\0{tensor.shape}\0".encode())  # contiguous makes () into (1,)
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
