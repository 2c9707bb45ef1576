"""From a TOML table to a frozen dataclass: strict types, and the nearest valid key for an unknown one."""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from stores.errors import ConfigError
from stores.plugins import nearest

T = TypeVar("T")
MOST = 10**7  # of anything that is counted; a seed may be larger
_SIGNS, _LONGEST, _MOST_BYTES = "-_.", 100, 200  # a name is the larger part of a file's, which has 255 bytes


def check_name(name: str, what: str = "") -> str:
    """Return a name that files are called by, in NFC. Raises ConfigError if it is a path, or no name."""
    if not is_name(name):
        raise ConfigError(
            f"{what}name should be letters, digits, '-', '_' and '.', not beginning with '.', and have 1 to {_LONGEST} "
            f"characters, got {name!r}"
        )
    return unicodedata.normalize("NFC", name)


def is_name(text: str) -> bool:
    """Return whether a text is letters of any script, digits, `-_.`, and neither empty, hidden nor too long."""
    plain = 0 < len(text) <= _LONGEST and text[0] != "." and all(map(_plain, text))
    return plain and len(text.encode()) <= _MOST_BYTES


def as_name(text: str, otherwise: str) -> str:
    """Return the name of something that was given none: a file's, with `_` for what a name cannot hold."""
    found = "".join(sign if _plain(sign) else "_" for sign in text[:_LONGEST]).lstrip(".")
    return found if is_name(found) else otherwise


def _plain(sign: str) -> bool:
    return sign in _SIGNS or unicodedata.category(sign)[0] in "LMN"


def build(kind: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """Return `kind(**table)` with values checked against the declared types.

    Raises ConfigError naming the TOML table `where`, the key, and the nearest valid key or the expected type.
    """
    check_keys(table, [field.name for field in fields(kind)], where=where)  # type: ignore[arg-type]
    for key, value in table.items():
        if isinstance(value, int) and abs(value) > MOST and not key.endswith("seed"):
            raise ConfigError(f"[{where}] {key} should be {MOST:,} at most, got {value:,}")
    try:
        return TypeAdapter(kind).validate_json(json.dumps(dict(table), default=str), strict=True)
    except ValidationError as error:
        raise ConfigError("; ".join(_problem(problem, where) for problem in error.errors())) from None


def check_keys(table: Mapping[str, Any], allowed: Iterable[str], *, where: str) -> None:
    """Raise ConfigError for the first key of `table` that is not allowed, naming the nearest that is."""
    names = list(allowed)
    for key in table:
        if key not in names:
            hint = nearest(key, names)
            raise ConfigError(f"[{where}] has an unknown key {key!r}{hint}; it takes: {', '.join(sorted(names))}")


def check_choices(config: Any, **known: Iterable[Any]) -> None:
    """Raise ConfigError for the first field of `config` that is none of its `known` values, naming the nearest."""
    for name, there in known.items():
        if (got := getattr(config, name)) not in (values := [*there]):
            hint = nearest(str(got), [*map(str, values)])
            raise ConfigError(f"{name} should be one of {', '.join(map(str, values))}, got {got!r}{hint}")


def table_of(content: Mapping[str, Any], key: str, *, where: str) -> dict[str, Any]:
    """Return the sub-table `key`, or an empty one. Raises ConfigError if it is something else."""
    value = content.get(key, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"[{where}] {key} should be a table, got {value!r}")
    return dict(value)


def _problem(problem: Any, where: str) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"[{where}] lacks the required key {place!r}"
    got = f", got {problem['input']!r}" if place else ""
    return f"[{where}] {place}: {message}{got}" if place else f"[{where}] {message}"
