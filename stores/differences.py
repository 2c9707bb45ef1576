"""What differs between two identities: dotted names, old and new values, the nearest of several, and the words."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

from stores.encoders import EncoderRecipe, EncoderStore, Trainee
from stores.features import FeatureStore, feature_ids
from stores.identity import canonical_json
from stores.root import Root
from stores.spec import FeatureIdentity

Differences = dict[str, tuple[Any, Any]]
TRAINEES = "trained_on"
_CHANGES = ("relabelled", "with other media", "added", "removed", "moved between fit and stop")  # causes first
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


def nearest_feature(
    root: Root, wanted: FeatureIdentity, upstream: FeatureIdentity | None, own: Set[str]
) -> tuple[str, Differences] | None:
    """Return (id, differences) of the nearest stored feature that is not among `own`, or None.

    `upstream` is the feature the wanted one reads: it lies among those of the modality, and is none of them.
    """
    features = _features(root, wanted.modality)
    reads = upstream.extractor if upstream else None
    stored = {i: it for i, it in features.items() if it["extractor"] != reads and i not in own}
    if not stored:
        return None
    found = {i: differences(identity, wanted.as_dict()) for i, identity in stored.items()}
    nearest = min(found, key=lambda i: ("extractor" in found[i], len(found[i]), i))
    return nearest, _with_upstream(found[nearest], features, upstream)


def nearest_encoder(
    root: Root, wanted: EncoderRecipe, modality: str, upstream: FeatureIdentity | None, own: Set[str]
) -> tuple[str, Differences] | None:
    """Return (id, differences) of the nearest trained encoder: fewest settings, then fewest trainees that differ.

    None if none of that extractor is stored that is not among `own`.
    """
    store = EncoderStore(root)
    recipes = {i: store.describe(i)["recipe"] for i in root.names("encoders") if i in store and i not in own}
    found = {
        i: differences(recipe, wanted.settings())
        for i, recipe in recipes.items()
        if recipe["extractor"] == wanted.extractor
    }
    if not found:
        return None
    fewest = min(map(len, found.values()))
    alike = {i: _trainee_changes(store.trained_on(i), wanted.trainees) for i in found if len(found[i]) == fewest}
    nearest = min(alike, key=lambda i: (sum(alike[i].values()), i))
    trainees = {f"{TRAINEES}.{change}": (0, count) for change, count in alike[nearest].items()}
    return nearest, _with_upstream(found[nearest], _features(root, modality), upstream) | trainees


def _features(root: Root, modality: str) -> dict[str, dict[str, Any]]:
    """Return the identity of every stored feature of a modality, by id."""
    return {i: FeatureStore.open(root, modality, i).identity.as_dict() for i in feature_ids(root, modality)}


def _with_upstream(
    found: Differences, features: Mapping[str, Mapping[str, Any]], upstream: FeatureIdentity | None
) -> Differences:
    """List what differs in another upstream feature, if that is still stored."""
    old = features.get(found["upstream"][0]) if "upstream" in found else None
    if old is None or upstream is None:
        return found
    return found | {f"upstream.{name}": pair for name, pair in differences(old, upstream.as_dict()).items()}


def _trainee_changes(old: Sequence[Trainee], new: Sequence[Trainee]) -> dict[str, int]:
    """Return how many trainees changed, by how."""
    before, after = ({trainee.sample_id: trainee for trainee in trainees} for trainees in (old, new))
    changes = Counter(_change(before.get(i), after.get(i)) for i in {*before, *after})
    return {change: changes[change] for change in _CHANGES if changes[change]}


def _change(old: Trainee | None, new: Trainee | None) -> str:
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old.label != new.label:
        return "relabelled"
    if old.key != new.key:
        return "with other media"
    return "moved between fit and stop" if old.use != new.use else ""
