"""What differs between two identities: dotted names, old and new values, the nearest of several, and the words."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stores.identity import canonical_json

Differences = dict[str, tuple[Any, Any]]
TRAINEES = "trained_on"
_SHOWN = 4
_DIGEST = re.compile(r"(?:(?P<name>\w+)-)?(?P<hex>[0-9a-f]{12}|[0-9a-f]{64})")
_DIGESTS = {"weights", "tokenizer", "initial"}
_LONG = 40  # characters of a value that are shown


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Differences:
    """Return dotted name -> (old, new) of every leaf that is not the same; None where one side lacks it.

    The spec follows from the settings: its leaves count only if nothing else differs. Of two extractors nothing but
    the names can be compared.
    """
    if old.get("extractor") != new.get("extractor"):
        return {"extractor": (old.get("extractor"), new.get("extractor"))}
    before, after = _flat(old), _flat(new)
    names = sorted({*before, *after})
    found = {
        name: (before.get(name), after.get(name))
        for name in names
        if canonical_json(before.get(name)) != canonical_json(after.get(name))
    }
    return {name: pair for name, pair in found.items() if not name.startswith("spec.")} or found


def nearest_identity(stored: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, Any]) -> tuple[str, Differences]:
    """Return (id, differences) of the stored identity like `wanted`: of the same extractor, with fewest differences."""
    found = {name: differences(identity, wanted) for name, identity in stored.items()}
    best = min(found, key=lambda name: ("extractor" in found[name], len(found[name]), name))
    return best, found[best]


def in_words(found: Differences) -> str:
    """Return `size 64 -> 112, weights digest a1b2.. -> b7c8..`: at most four differences, and how many more."""
    words = [_words(name, old, new) for name, (old, new) in found.items()]
    if len(words) > _SHOWN:
        return f"{', '.join(words[:_SHOWN])} and {len(words) - _SHOWN} more"
    return listed(words)


def listed(words: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def short(name: str) -> str:
    """Return `bert-0123..` of `bert-0123456789ab`."""
    return _cut(name, 4)


def counted(number: int, noun: str) -> str:
    """Return `1 recording`, `1,284 recordings`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, item in value.items():
        found |= _flat(item, f"{prefix}{name}.") if isinstance(item, Mapping) else {prefix + name: item}
    return found


def _words(name: str, old: Any, new: Any) -> str:
    if name.startswith(f"{TRAINEES}."):
        return f"{counted(new, 'trainee')} {name.removeprefix(f'{TRAINEES}.')}"
    before, after = _shown(old, 4), _shown(new, 4)
    for length in (6, 12, 64):
        if before == after:  # digests that begin alike
            before, after = _shown(old, length), _shown(new, length)
    return f"{_title(name)} {before} -> {after}"


def _title(name: str) -> str:
    """Return the name as a study file has it: `config.network.filters` is `filters`."""
    above, _, rest = name.rpartition("upstream.")
    title = re.sub(r"^config\.(network\.|training\.)?", "", rest)
    title += " digest" if rest in _DIGESTS else ""
    return f"upstream {title}" if name.startswith("upstream.") else above + title


def _shown(value: Any, length: int) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        value = "[" + ", ".join(map(str, value)) + "]"
    cut = _cut(str(value), length)
    return cut if len(cut) <= _LONG else cut[:_LONG] + ".."


def _cut(text: str, length: int) -> str:
    """Cut a digest, alone or at the end of an id, to its first characters."""
    match = _DIGEST.fullmatch(text)
    if match is None:
        return text
    name, digits = match["name"], match["hex"]
    return (f"{name}-" if name else "") + digits[:length] + (".." if length < len(digits) else "")
