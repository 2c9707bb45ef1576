"""The frozen input of a study: aligned features and filtered splits, written down under the study's id."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flows.candidates import Candidates, Cast, probable_twins
from flows.facts import (
    check_promise,
    fitted_facts,
    gaps,
    group_facts,
    remarked,
    samples_table,
    splits_table,
    study_facts,
    tested_facts,
    warnings,
)
from flows.features import Feature
from flows.leakage import check_encoders, trainees_of
from flows.radar import Scene, look_once
from flows.study_config import StudyConfig
from fusion.splits import Split
from stores.block import ABSENT, FeatureBlock, gather_all
from stores.encoders import Trainee
from stores.errors import ConfigError, MediaError
from stores.features import FeatureStore
from stores.identity import fingerprint, short_id
from stores.manifest import Manifest
from stores.root import Root
from stores.samples import Sample
from stores.studies import StudyStore


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What heads are trained and scored on; `splits` hold whoever has all modalities, or one under `mask`."""

    block: FeatureBlock
    splits: tuple[Split, ...]
    store: StudyStore


@dataclass(frozen=True, kw_only=True)
class _Aligned:
    """The candidates' rows in one order, and by modality what they were found by and what they hold.

    `views[modality]` is (stores, K, n) int64, ABSENT for samples the repeats of a store do not train on.
    """

    block: FeatureBlock
    keys: Mapping[str, list[str | None]]
    digests: Mapping[str, list[list[str | None]]]
    views: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class _Filtered:
    """The repeats that can be scored, and why each sample that takes no part in them does not.

    `lost[modality]` is (n,) bool: who has no row of it; `lacking` counts who takes part all the same.
    """

    splits: tuple[Split, ...]
    excluded: Mapping[str, str]
    lost: Mapping[str, np.ndarray]
    lacking: Mapping[str, int]


def take_snapshot(
    config: StudyConfig,
    manifest: Manifest,
    cast: Cast,
    features: Mapping[str, Feature],
    root: Root,
) -> Snapshot:
    """Align the features, refuse leakage, drop who lacks rows from every part, and write the study down.

    Raises LeakageError, ConfigError if a training part is left without one of the classes or modalities, or a
    validation part without one of the modalities, or StoreError if the splits are not those written down before.
    """
    check_promise(config.name, cast, root)
    aligned = _align(config, cast, features)
    block, keys = aligned.block, aligned.keys
    trainees = {m: trainees_of(features[m], manifest, root) for m in config.modalities if features[m].encoders}
    check_encoders(config, cast, features, trainees)
    filtered = _filter(config, cast, features, block)
    splits = filtered.splits
    told = [
        *warnings(config, cast, splits, keys, trainees),
        *remarked(features, keys),
        *gaps(splits, block),
        *probable_twins(manifest),
    ]
    store = _write_down(config, manifest, cast, features, aligned, filtered, trainees, told, root)
    look_once(Scene(cast.candidates.samples, block, keys, aligned.digests, splits, trainees), store)
    views = {m: _trained_on(rows, splits, len(cast.splits)) for m, rows in aligned.views.items()}
    return Snapshot(block=replace(block, views=views), splits=splits, store=store)


def _align(config: StudyConfig, cast: Cast, features: Mapping[str, Feature]) -> _Aligned:
    candidates = cast.candidates
    keys = {m: [_key(sample, m) for sample in candidates.samples] for m in config.modalities}
    stores = {m: (*features[m].stores, *_view_stores(features[m])) for m in config.modalities}
    found = gather_all(
        {m: (stores[m], keys[m]) for m in config.modalities},
        {m: _readable(features[m], cast) for m in config.modalities if features[m].views},
    )
    own = {m: len(features[m].stores) for m in config.modalities}  # rows beyond these are of views
    block = FeatureBlock(
        sample_ids=tuple(sample.id for sample in candidates.samples),
        labels=candidates.labels,
        groups=candidates.groups,
        classes=candidates.classes,
        values={m: gathered.values for m, gathered in found.items()},
        rows={m: gathered.rows[: own[m]] for m, gathered in found.items()},
    )
    views = {
        m: gathered.rows[own[m] :].reshape(-1, own[m], len(candidates.samples)).swapaxes(0, 1)
        for m, gathered in found.items()
        if features[m].views
    }
    digests = {m: gathered.digests() for m, gathered in found.items()}
    return _Aligned(block=block, keys=keys, digests=digests, views=views)


def _view_stores(feature: Feature) -> list[FeatureStore]:
    return [store for view in feature.views for store in view.stores]


def _readable(feature: Feature, cast: Cast) -> np.ndarray:
    """Return (stores, n) bool: whose rows may be read of the feature's stores, and then of those of its views."""
    stores = len(feature.stores)
    trained = np.zeros((stores, len(cast.candidates.samples)), dtype=bool)
    for number, split in enumerate(cast.splits):
        trained[number if stores > 1 else 0, split.train] = True
    return np.concatenate([np.ones_like(trained), *[trained] * len(feature.views)])


def _trained_on(rows: np.ndarray, splits: Sequence[Split], repeats: int) -> np.ndarray:
    """Return (repeats, K, n) int64: of (stores, K, n) rows of views, those of the samples each repeat trains on."""
    found = np.full((repeats, *rows.shape[1:]), ABSENT, dtype=np.int64)
    for split in splits:
        own = rows[split.repeat if len(rows) > 1 else 0]
        found[split.repeat][:, split.train] = own[:, split.train]
    return found


def _filter(config: StudyConfig, cast: Cast, features: Mapping[str, Feature], block: FeatureBlock) -> _Filtered:
    """Drop samples without their rows from every part, and repeats that are left with nobody to score."""
    lost = {m: _lost(features[m], rows, cast.splits) for m, rows in block.rows.items()}
    dropped = _blind(block, cast.splits) if config.study.masks else np.any(list(lost.values()), axis=0)
    filtered = [_without(split, dropped) for split in cast.splits]
    kept = tuple(split for split in filtered if len(split.val) and len(split.test))
    if len(kept) < 2:
        raise ConfigError(
            f"only {len(kept)} of {len(cast.splits)} repeats have a sample to validate and one to test on"
        )
    for split in kept:
        _check_parts(split, block)
    excluded = dict(cast.candidates.excluded)
    for i in np.flatnonzero(dropped):
        excluded[block.sample_ids[i]] = _reason(cast.candidates.samples[i], [m for m in lost if lost[m][i]])
    lacking = {m: int((own & ~dropped).sum()) for m, own in lost.items()}
    return _Filtered(splits=kept, excluded=excluded, lost=lost, lacking=lacking)


def _write_down(
    config: StudyConfig,
    manifest: Manifest,
    cast: Cast,
    features: Mapping[str, Feature],
    aligned: _Aligned,
    filtered: _Filtered,
    trainees: Mapping[str, Sequence[Sequence[Trainee]]],
    told: Sequence[str],
    root: Root,
) -> StudyStore:
    identity = _identity(config, cast.candidates, filtered.splits, aligned, features)
    facts = {
        **study_facts(config, manifest, cast.candidates, features, aligned.keys),
        **group_facts(manifest, cast.candidates.groups, filtered.splits),
        "snapshot": fingerprint(identity),
        "excluded": dict(sorted(Counter(filtered.excluded.values()).items())),
        "lacking": dict(filtered.lacking),
        "fitted_by_encoders": fitted_facts(config, cast, filtered.splits, trainees),
        "tested": tested_facts(cast, filtered.splits),
        "warnings": list(told),
    }
    samples = samples_table(manifest, cast.candidates, config, filtered.excluded, filtered.lost)
    splits = splits_table(filtered.splits, aligned.block.sample_ids)
    return StudyStore.create(root, short_id("study", identity), facts, samples, splits)


def _key(sample: Sample, modality: str) -> str | None:
    try:
        return None if sample.medium(modality) is None else sample.key(modality)
    except MediaError:
        return None


def _reason(sample: Sample, lost: Sequence[str]) -> str:
    """Say why a sample takes no part: what the corpus lacks of it, then what has no row."""
    absent = [m for m in lost if sample.medium(m) is None]
    quarantined = [m for m in lost if m not in absent]
    told = {"absent": absent, "quarantined": quarantined}
    return "; ".join(f"{why}: {', '.join(own)}" for why, own in told.items() if own)


def _lost(feature: Feature, rows: np.ndarray, splits: Sequence[Split]) -> np.ndarray:
    """Return (n,) bool: samples a repeat scores or trains heads on without having their row."""
    if len(feature.stores) == 1:
        found: np.ndarray = rows[0] == ABSENT
        return found
    lost = np.zeros(rows.shape[1], dtype=bool)
    for split, row in zip(splits, rows, strict=True):
        used = np.concatenate([split.train, split.val, split.test])
        lost[used[row[used] == ABSENT]] = True
    return lost


def _blind(block: FeatureBlock, splits: Sequence[Split]) -> np.ndarray:
    """Return (n,) bool: samples of which a repeat scores or trains heads on nothing at all."""
    found = np.zeros(len(block.sample_ids), dtype=bool)
    for split in splits:
        rows = np.stack([block.repeat_rows(m, split.repeat) for m in block.modalities])
        used = np.concatenate([split.train, split.val, split.test])
        found[used] |= (rows[:, used] == ABSENT).all(axis=0)
    return found


def _without(split: Split, dropped: np.ndarray) -> Split:
    parts = {part: (own := getattr(split, part))[~dropped[own]] for part in ("train", "val", "test")}
    return replace(split, **parts)


def _check_parts(split: Split, block: FeatureBlock) -> None:
    """Raise ConfigError if a repeat has none of a class or modality to train on, or of a modality to validate on."""
    missing = set(range(len(block.classes))) - set(block.labels[split.train].tolist())
    if missing:
        names = ", ".join(block.classes[i] for i in sorted(missing))
        raise ConfigError(
            f"repeat {split.repeat}: no training sample of {names} is left once incomplete samples are dropped: "
            "drop the class from the corpus settings, or use fewer modalities"
        )
    for m in block.modalities:
        there = block.repeat_rows(m, split.repeat) != ABSENT
        counts = {part: int(there[getattr(split, part)].sum()) for part in ("train", "val")}
        if not counts["train"]:
            raise ConfigError(
                f"repeat {split.repeat}: no training sample has {m}: take [features.{m}] out of the study, or look in "
                "the quarantine for what became of it"
            )
        if not counts["val"]:
            raise ConfigError(
                f"repeat {split.repeat}: none of {len(split.val)} validation samples has {m}, and {counts['train']} of "
                f"{len(split.train)} training samples have: no head can be stopped on it. Give validation a larger "
                f'share or another seed, set missing = "complete", or take [features.{m}] out of the study'
            )


def _identity(
    config: StudyConfig,
    candidates: Candidates,
    splits: Sequence[Split],
    aligned: _Aligned,
    features: Mapping[str, Feature],
) -> dict[str, Any]:
    samples = [
        [sample.id, sample.labels[config.study.scheme], str(group), *(aligned.keys[m][i] for m in config.modalities)]
        for i, (sample, group) in enumerate(zip(candidates.samples, candidates.groups, strict=True))
    ]
    rows = {
        m: [[store.id for store in (*features[m].stores, *_view_stores(features[m]))], fingerprint(aligned.digests[m])]
        for m in config.modalities
    }
    parts = [[s.repeat, s.train.tolist(), s.val.tolist(), s.test.tolist()] for s in splits]
    return {
        "samples": fingerprint(samples),
        "splits": fingerprint(parts),
        "rows": rows,
        "scheme": config.study.scheme,
        "classes": list(candidates.classes),
        "groups": list(config.study.groups),
        "protocol": config.protocol.settings,
        "seed": config.seed,
    }
