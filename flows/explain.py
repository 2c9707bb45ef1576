"""Why the features of a study are a hit or a miss; nothing is extracted, trained or written for the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from flows.pipeline import cast_study
from flows.progress import console
from flows.study_config import load_study
from flows.verdicts import Seen, Wanted, changed_since, judge, seen_before, wanted, wanted_views
from stores.differences import listed, short
from stores.digests import load_digests
from stores.errors import MediaError, NotFound
from stores.manifest import Manifest
from stores.plugins import nearest
from stores.root import Root
from stores.samples import Sample

_KEY = 12  # characters of a key that are shown
_OUTCOMES = {
    "hit": "reused",
    "partial": "completed",
    "first": "extracted for the first time",
    "miss": "to be extracted",
}


def explain_study(study: str, address: str | None, sample: str | None = None) -> dict[str, Any]:
    """Return {modalities: {modality: verdict}, summary}; with a sample id, {sample, ...} and where its rows lie.

    A verdict lists those of the views that heads are trained on. Reads the corpus, the store and the files' digests;
    only a synthetic corpus whose media are not under the root yet is written, since there is no corpus before. Raises
    ConfigError for settings that cannot be, and NotFound, naming the nearest, for an unknown sample.
    """
    config, root = load_study(study), Root(address)
    manifest = config.corpus.build(root, base=config.base)
    load_digests(root, manifest.name)
    asked = find_sample(manifest, sample) if sample is not None else None
    seen = seen_before(manifest.samples)
    cast = cast_study(config, manifest) if config.needs_cast else None
    answers: dict[str, dict[str, Any]] = {}
    for modality in config.modalities:
        own, stores = config.features[modality], wanted(config, modality, manifest, cast, root)
        answers[modality] = judge(modality, stores, seen) if asked is None else locate(asked, modality, stores, seen)
        if asked is None and own.head_views and cast is not None:
            views = wanted_views(own, stores, manifest, cast)
            others = [*stores, *chain.from_iterable(views)]
            answers[modality]["views"] = [
                judge(f"{modality} view {view.number}", varied, seen, others)
                for view, varied in zip(own.head_views, views, strict=True)
            ]
    found = {"modalities": answers, "summary": _summary(answers)}
    return found if asked is None else {"sample": asked.id, **found}


def show_explanation(found: Mapping[str, Any]) -> None:
    """Print one line a modality, and the summary."""
    for answer in (one for own in found["modalities"].values() for one in (own, *own.get("views", ()))):
        console.print(answer["line"], highlight=False, markup=False)
    console.print(found["summary"], highlight=False, markup=False, style="bold")


def _summary(answers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return `text and speech reused; image recomputed`, the views after the modalities."""
    views = {f"{m} view {n}": view for m, own in answers.items() for n, view in enumerate(own.get("views", ()), 1)}
    by_state: dict[str, list[str]] = {}
    for name, answer in {**answers, **views}.items():
        by_state.setdefault(_OUTCOMES.get(answer["state"], answer["state"]), []).append(name)
    return "; ".join(f"{listed(names)} {outcome}" for outcome, names in by_state.items())


def find_sample(manifest: Manifest, name: str) -> Sample:
    """Return a sample by its id, or by what follows the corpus in it. Raises NotFound naming the nearest."""
    found = [sample for sample in manifest.samples if name in (sample.id, sample.id.partition("/")[2])]
    if len(found) != 1:
        hint = nearest(name, [sample.id for sample in manifest.samples])
        raise NotFound(f"no sample {name!r} in {manifest.name}{hint}; it has {len(manifest.samples):,} samples")
    return found[0]


def locate(sample: Sample, modality: str, stores: Sequence[Wanted], seen: Seen) -> dict[str, Any]:
    """Return where the row of a sample lies, or why there is none. Of several repeats, the first that reads it.

    `state` is hit, miss, quarantined, absent, or outside (of every repeat). `row` is its number in `part` of `feature`;
    `changed` are the digests of its file when last seen and now.
    """
    readers = [own for own in stores if sample in own.samples]
    feature = (readers or stores)[0].store.id
    if sample.medium(modality) is None:
        return _place("absent", feature, f"{modality}: absent, {sample.id} has no {modality}")
    if not readers:
        return _place("outside", feature, f"{modality}: {sample.id} is read in none of {len(stores)} repeats")
    changed = changed_since(sample.medium(modality), seen)
    try:
        key = sample.key(modality)
    except MediaError as error:
        line = f"{modality}: no key, {error.reason} at stage {error.stage}: {error}"
        return _place("quarantined", feature, line, changed=changed)
    own = next((reader for reader in readers if key in reader.store.index()), readers[0])
    index, known = own.store.index(), {"key": key, "changed": changed}
    start = f"{modality}: key {key[:_KEY]}"
    since = f"; its file changed since it was last seen, digest {' -> '.join(map(short, changed))}" if changed else ""
    if key in index:
        place = index[key]
        repeats = sum(key in reader.store.index() for reader in readers)
        many = f", in {repeats} of {len(readers)} repeats" if len(readers) > 1 else ""
        line = f"{start}, row {place.row} of part {place.part} of {own.store.id}{many}{since}"
        return _place("hit", own.store.id, line, part=place.part, row=place.row, **known)
    failure = next((row for row in own.plan.quarantined if row.sample_id == sample.id), None)
    if failure is not None:
        tried = f"{failure.attempts} attempt{'' if failure.attempts == 1 else 's'}"
        line = f"{start}, quarantined: {failure.reason} at stage {failure.stage} ({tried}): {failure.message}{since}"
        return _place("quarantined", own.store.id, line, quarantined=asdict(failure), **known)
    verdict = judge(modality, stores, seen)
    why = "" if verdict["state"] in ("hit", "partial") else f"; {verdict['line'].removeprefix(f'{modality}: ')}"
    return _place("miss", own.store.id, f"{start}, no row under this key in {own.store.id}{since}{why}", **known)


def _place(state: str, feature: str, line: str, **found: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("key", "part", "row", "quarantined", "changed"))
    return {"state": state, "feature": feature, "line": line, **nothing, **found}
