"""What becomes of each modality of a study, and why: what is held, what is missing, and what is stored nearest."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from extractors.extractor import Extractor
from extractors.plan import Plan, plan
from flows.candidates import Cast
from flows.encoder_plans import Alternatives, best, extractor_of, plan_encoders
from flows.feature_plan import FeaturePlan
from flows.features import read_by
from flows.study_config import StudyConfig
from flows.views import viewed_by_heads
from stores.differences import Differences, counted, in_words, nearest_encoder, nearest_feature, short
from stores.digests import Remembered, content_digest, remembered
from stores.encoders import EncoderRecipe, EncoderStore
from stores.features import FeatureStore
from stores.manifest import Manifest
from stores.root import Root
from stores.rows import Index
from stores.samples import Sample
from stores.spec import FeatureIdentity

HIT, PARTIAL, RECOMPUTED, FIRST = "hit", "partial", "recomputed", "first"
_NOUNS = {"text": "utterance", "speech": "recording", "image": "picture"}
_Reason = tuple[str, tuple[str, Differences] | None, str]  # state, nearest id and differences to it, words
Seen = Mapping[Path, Remembered | None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One store a feature means: whose rows it should hold, and the recipe of its encoder if it has one.

    `tried` are the encoders it is chosen from. Unless all are there, it stands for one that is to be trained.
    """

    root: Root
    extractor: Extractor[Any]
    samples: Sequence[Sample]
    recipe: EncoderRecipe | None = None
    tried: Alternatives = ()

    @cached_property
    def plan(self) -> Plan:
        return plan(self.extractor, self.samples, self.root)

    @cached_property
    def store(self) -> FeatureStore:
        return FeatureStore(self.root, self.extractor.identity)

    @cached_property
    def is_trained(self) -> bool:
        """Whether no encoder is missing."""
        return self.recipe is None or self.recipe.id in EncoderStore(self.root)

    @cached_property
    def is_stored(self) -> bool:
        return self.root.exists(self.store.folder, "feature.json")


def seen_before(samples: Iterable[Sample]) -> Seen:
    """Return what is remembered of the media of samples; to be asked before anything reads them again."""
    return {path: remembered(path) for s in samples for path in (s.audio, s.image, s.video) if path is not None}


def changed_since(medium: str | Path | None, seen: Seen) -> tuple[str, str] | None:
    """Return the digests of a file (when last seen, now) if they differ; None of one that cannot be read."""
    before = seen.get(medium) if isinstance(medium, Path) else None
    if before is None or not isinstance(medium, Path):
        return None
    with suppress(OSError, ValueError):
        now = content_digest(medium)
        return None if now == before.digest else (before.digest, now)
    return None


def wanted(config: StudyConfig, modality: str, manifest: Manifest, cast: Cast | None, root: Root) -> list[Wanted]:
    """Return the stores a modality means: one, or one a repeat. Rows that its upstream lacks count as if made."""
    own = config.features[modality]
    upstream = _Promised.of(own, manifest, root)
    if own.train is None:
        return [Wanted(root=root, extractor=extractor_of(own, root, upstream=upstream), samples=manifest.samples)]
    encoders, found = EncoderStore(root), []
    repeats = plan_encoders(own, config, manifest, cast, root, upstream)
    for tried, samples in zip(repeats, read_by(own, manifest, cast), strict=True):
        one = next((each for each in tried if each.id not in encoders), None) or best(tried, root)
        extractor = extractor_of(one.plan, root, upstream=upstream, encoder=one.id)
        found.append(Wanted(root=root, extractor=extractor, samples=samples, recipe=one.recipe, tried=tried))
    return found


def wanted_views(own: FeaturePlan, found: Sequence[Wanted], manifest: Manifest, cast: Cast) -> list[list[Wanted]]:
    """Return the stores of each view heads are trained on; `found` are those of the modality itself."""
    root, views = found[0].root, []
    for varied in map(own.of_view, own.head_views):
        upstream = _Promised.of(varied, manifest, root)
        stores = []
        for original, samples in zip(found, viewed_by_heads(own, cast), strict=True):
            encoder = original.recipe.id if original.recipe else None
            chosen = replace(varied, config=original.extractor.config)
            extractor = extractor_of(chosen, root, upstream=upstream, encoder=encoder)
            stores.append(Wanted(root=root, extractor=extractor, samples=samples, recipe=original.recipe))
        views.append(stores)
    return views


def judge(name: str, found: Sequence[Wanted], seen: Seen, others: Sequence[Wanted] = ()) -> dict[str, Any]:
    """Return what becomes of a modality, or of a view of it: `state`, `feature`, and why, in one `line`.

    Counts are of samples, summed over repeats if encoders are trained per repeat: samples = absent + cached + todo +
    quarantined. `differences` are those to the `nearest` stored id. `others` are stores of the same study, which are no
    neighbours.
    """
    untrained = next((own for own in found if not own.is_trained), None)
    missing = untrained or next((own for own in found if not own.is_stored), None)
    counts = {
        "samples": sum(len(own.samples) for own in found),
        "absent": sum(len(own.plan.absent) for own in found),
        "cached": sum(len(own.plan.cached) for own in found),
        "todo": sum(own.plan.pending for own in found),
        "quarantined": sum(len(own.plan.quarantined) for own in found),
    }
    asked = counted(counts["samples"] - counts["absent"], "sample" if len(found) == 1 else "row")
    cached = f"{counts['cached']:,} of {asked}"
    state, near, reason = _missing(found, missing, others) if missing else _held(found, seen, cached)
    nearest, changes = near or (None, {})
    failed = f"; {counts['quarantined']:,} quarantined" if counts["quarantined"] else ""
    todo = f"; {counts['todo']:,} of {asked} to do" if missing else ""
    return {
        "state": state,
        "feature": (missing or found[0]).store.id,
        **counts,
        "line": f"{name}: {reason}{failed}{todo}",
        "nearest": nearest,
        "differences": {setting: list(pair) for setting, pair in changes.items()},
    }


def _held(found: Sequence[Wanted], seen: Seen, cached: str) -> _Reason:
    """Every store is there: a hit, or one that lacks rows."""
    words = f"hit, {found[0].store.id} holds {cached}"
    if len(found) > 1:
        words = f"hit, {len(found)} of {len(found)} encoders reused, their features hold {cached}"
    todo = [sample for own in found for pending in own.plan.todo for sample in pending.samples]
    if not todo:
        return HIT, None, words
    modality = found[0].extractor.modality
    changed = sum(changed_since(sample.medium(modality), seen) is not None for sample in todo)
    kinds = [(len(todo) - changed, f"new {_NOUNS[modality]}"), (changed, f"changed {_NOUNS[modality]}")]
    why = ", ".join(counted(number, kind) for number, kind in kinds if number)
    return PARTIAL, None, f"{words}; {len(todo):,} to do: {why}"


def _missing(found: Sequence[Wanted], missing: Wanted, others: Sequence[Wanted]) -> _Reason:
    """An encoder or a feature is not there: told against the nearest that is, and is none of this study's own."""
    root, wants = missing.root, missing.extractor.identity
    reads = missing.extractor.inputs.upstream
    upstream = reads.identity if reads else None
    tried = [each.id in EncoderStore(root) for own in found for each in own.tried]
    if any(tried) and not all(tried) and len(tried) > len(found):
        lacking = len(tried) - sum(tried)
        return PARTIAL, None, f"grid: {sum(tried)} of {len(tried)} encoders trained, {lacking} to be trained"
    if missing.recipe is not None and not missing.is_trained:
        own_encoders = {own.recipe.id for own in found if own.recipe}
        near = nearest_encoder(root, missing.recipe, wants.modality, upstream, own_encoders)
        again, first, kind = f"{_training(found)}:", "first training", "encoder "
    else:
        near = nearest_feature(root, wants, upstream, {own.store.id for own in (*found, *others)})
        again, first, kind = "recomputed,", "first extraction", ""
    if near is not None:
        return RECOMPUTED, near, f"{again} {in_words(near[1])} against {kind}{short(near[0])}"
    if any(own.is_stored for own in found):  # an extraction that did not come to its end
        return PARTIAL, None, _training(found)
    return FIRST, None, first


def _training(found: Sequence[Wanted]) -> str:
    if len(found) == 1:
        return "encoder to be trained again"
    reused = sum(own.is_trained for own in found)
    return f"{reused} of {len(found)} encoders reused, {len(found) - reused} to be trained"


class _Promised(FeatureStore):
    """An upstream feature as it will be: rows that are still to be extracted count as there."""

    def __init__(self, root: Root, identity: FeatureIdentity, keys: Iterable[str]) -> None:
        super().__init__(root, identity)
        self._promised = sorted(keys)

    @classmethod
    def of(cls, own: FeaturePlan, manifest: Manifest, root: Root) -> "_Promised | None":
        if own.upstream is None:
            return None
        extractor = extractor_of(own.upstream, root)
        ahead = plan(extractor, manifest.samples, root)
        keys = {*ahead.cached, *(pending.key for pending in ahead.todo)}
        return cls(root, extractor.identity, keys)

    def index(self) -> Index:
        n = len(self._promised)
        return Index([("promised", pa.table({"key": self._promised, "row": range(n), "digest": [""] * n}))])
