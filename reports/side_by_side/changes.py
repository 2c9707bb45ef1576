"""What two studies differ in: data, protocol, seeds, features, versions, settings of models, procedure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stores.differences import differences, in_words
from stores.identity import canonical_json

DATA = ("corpus", "scheme", "classes", "modalities", "groups", "missing", "excluded", "lacking")
_OF_FEATURE = ("extractor", "weights", "random", "encoder_samples", "encoders", "ids", "views", "grids")
_FOLLOWS = ("ids", "encoders", "weights")  # of the identity: told only where the identity is the same
_PROCEDURE = ("primary_metric", "primary_test", "alpha", "draws", "seed")
_SPEC = ("version", "config", "training", "search", "precision")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference: its kind, and what it is in words (A -> B).

    `bears_on` names the modalities, models or families it concerns; empty where it concerns everything.
    """

    kind: str
    words: str
    bears_on: tuple[str, ...] = ()


def find_changes(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    specs: Mapping[str, Mapping[str, Any]],
    others: Mapping[str, Mapping[str, Any]],
) -> tuple[Change, ...]:
    """Return what differs between two results.json, and between the settings of the models that both have."""
    one, other = first["facts"], second["facts"]
    found = [
        *_all("data", _some(one, DATA), _some(other, DATA)),
        *_all("protocol", {"protocol": one["protocol"]}, {"protocol": other["protocol"]}),
        *_all("seeds", {"seed": one["seed"]}, {"seed": other["seed"]}),
        *_features(one.get("features", {}), other.get("features", {})),
        *_models(specs, others),
        *_all("procedure", _some(first["method"], _PROCEDURE), _some(second["method"], _PROCEDURE)),
        *_all("procedure", {"reference": first["reference"]}, {"reference": second["reference"]}),
        *_families(first, second),
    ]
    if one["snapshot"] != other["snapshot"] and not any(
        c.kind in ("data", "protocol", "seeds", "features") for c in found
    ):
        found.append(Change(kind="data", words="other samples, labels, rows or splits: the snapshots differ"))
    return tuple(found)


def _some(side: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: side.get(name) for name in names}


def _all(kind: str, one: Mapping[str, Any], other: Mapping[str, Any], *bears_on: str) -> Iterable[Change]:
    for name, pair in differences(one, other).items():
        yield Change(kind=kind, words=in_words({name: pair}), bears_on=bears_on)


def _features(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterable[Change]:
    for modality in sorted({*one, *other}):
        if modality not in one or modality not in other:
            words = f"{modality} only in {'A' if modality in one else 'B'}"
            yield Change(kind="features", words=words, bears_on=(modality,))
            continue
        yield from _feature(modality, one[modality], other[modality])


def _feature(modality: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterable[Change]:
    identity = differences(one.get("identity", {}), other.get("identity", {}))
    told = [name for name in _OF_FEATURE if not (identity and name in _FOLLOWS)]
    rest = differences(*({name: side.get(name) for name in told} for side in (one, other)))
    for name, pair in {**identity, **rest}.items():
        yield Change(kind="features", words=f"{modality}: {in_words({name: pair})}", bears_on=(modality,))
    versions = [set(side.get("versions") or ()) for side in (one, other)]
    if versions[0] != versions[1]:
        gone, come = sorted(versions[0] - versions[1]), sorted(versions[1] - versions[0])
        words = f"{modality}: {', '.join(gone) or 'none'} -> {', '.join(come) or 'none'}"
        yield Change(kind="versions", words=words, bears_on=(modality,))
    devices = [sorted(side.get("computed_on") or {}) for side in (one, other)]
    if devices[0] != devices[1]:
        words = f"{modality}: computed on {', '.join(devices[0])} -> {', '.join(devices[1])}"
        yield Change(kind="versions", words=words, bears_on=(modality,))


def _models(one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> Iterable[Change]:
    """Return one change a difference, with all the models that have it."""
    shared = [name for name in one if name in other]
    bearers: dict[str, tuple[str, list[str]]] = {}
    for name in shared:
        sides = [{key: side[name].get(key) for key in _SPEC} for side in (one, other)]
        for key, pair in differences(*sides).items():
            words = in_words({key: pair})
            bearers.setdefault(canonical_json([key, *pair]), (words, []))[1].append(name)
    for words, models in bearers.values():
        whom = (
            "all models"
            if len(models) == len(shared)
            else f"{len(models)} models"
            if len(models) > 3
            else ", ".join(models)
        )
        yield Change(kind="settings", words=f"{whom}: {words}", bears_on=tuple(models))


def _families(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterable[Change]:
    """Return the families of other sizes: Holm's correction is the stricter the more comparisons there are."""
    sizes = [{family["name"]: len(family["pairs"]) for family in side["families"]} for side in (first, second)]
    for name in sizes[0]:
        if name in sizes[1] and sizes[0][name] != sizes[1][name]:
            words = f"Holm over {sizes[0][name]} -> {sizes[1][name]} comparisons ({name})"
            yield Change(kind="procedure", words=words, bears_on=(name,))
