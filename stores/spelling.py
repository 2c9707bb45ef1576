"""How names are spelled: one spelling of each, and which ones are probably meant as one."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_BLANKS = "\u2800" + "".join(
    c for c in map(chr, (*range(0x3001), 0xFEFF)) if c.isspace() or unicodedata.category(c) in ("Cc", "Cf")
)
_NO_BLANKS = dict.fromkeys(map(ord, _BLANKS))
_LONG = 1000  # characters; the time to normalise marks on one letter grows with their square
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def plain(name: str) -> str:
    """Return a name as it is kept: NFC, without blanks, controls and invisible characters at its ends.

    What is too long for a name only loses its blanks.
    """
    name = name.strip(_BLANKS)
    return name if name.isascii() or len(name) > _LONG else unicodedata.normalize("NFC", name)


def plain_names(settings: Any) -> Any:
    """Return settings (text, sequences and mappings of text) with every name in them as it is kept, once."""
    if isinstance(settings, Mapping):
        return {plain(key): plain_names(value) for key, value in settings.items()}
    return plain(settings) if isinstance(settings, str) else tuple(dict.fromkeys(map(plain_names, settings)))


def few(names: Sequence[str], most: int = 5) -> str:
    """Return the first of many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def twins(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the names that differ only by case, blanks or leading zeros, sorted, those that are alike together."""
    first: dict[str, str] = {}
    alike: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        key = _LEADING_ZEROS.sub("", name.translate(_NO_BLANKS).casefold())
        if first.setdefault(key, name) != name:
            alike[key] |= {first[key], name}
    return sorted(tuple(sorted(own)) for own in alike.values())
