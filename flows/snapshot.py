"""The frozen input of a study: aligned features, filtered splits, and the facts the report repeats."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from flows.candidates import Candidates
from flows.features import Feature
from flows.leakage import refuse_leakage
from flows.study_config import StudyConfig
from fusion.splits import Split
from stores.block import ABSENT, FeatureBlock, gather
from stores.encoders import EncoderStore
from stores.errors import ConfigError, MediaError
from stores.identity import fingerprint, short_id
from stores.manifest import Manifest
from stores.root import Root
from stores.samples import Sample
from stores.studies import StudyStore

PARTS = ("train", "val", "test", "encoder")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What heads are trained and scored on; `splits` hold complete samples only."""

    block: FeatureBlock
    splits: tuple[Split, ...]
    store: StudyStore


def take_snapshot(
    config: StudyConfig,
    manifest: Manifest,
    candidates: Candidates,
    splits: Sequence[Split],
    features: Mapping[str, Feature],
    root: Root,
) -> Snapshot:
    """Align the features, refuse leakage, drop incomplete samples from every part, and write the study down.

    Raises LeakageError, or ConfigError if a training part is left without one of the classes.
    """
    keys = {m: [_key(sample, m) for sample in candidates.samples] for m in config.modalities}
    values, rows, digests = {}, {}, {}
    for modality in config.modalities:
        values[modality], rows[modality], digests[modality] = gather(features[modality].stores, keys[modality])
    block = FeatureBlock(
        sample_ids=tuple(sample.id for sample in candidates.samples),
        labels=candidates.labels,
        groups=candidates.groups,
        classes=candidates.classes,
        values=values,
        rows=rows,
    )
    _check_encoders(config, candidates, splits, features, keys, root)
    lost = {m: _lost(features[m], rows[m], splits) for m in config.modalities}
    complete = ~np.any([lost[m] for m in config.modalities], axis=0)
    kept = tuple(_filtered(split, complete) for split in splits)
    for split in kept:
        _check_classes(split, block)
    excluded = dict(candidates.excluded)
    for i in np.flatnonzero(~complete):
        excluded[block.sample_ids[i]] = "quarantined: " + ", ".join(m for m in config.modalities if lost[m][i])
    identity = _identity(config, candidates, keys, digests, features)
    facts = _facts(config, manifest, candidates, kept, features, keys, excluded, identity)
    samples = _samples_table(manifest, candidates, config, excluded)
    store = StudyStore.create(root, short_id("study", identity), facts, samples, _splits_table(kept, block))
    return Snapshot(block=block, splits=kept, store=store)


def _key(sample: Sample, modality: str) -> str | None:
    try:
        return sample.key(modality)
    except MediaError:
        return None


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


def _filtered(split: Split, complete: np.ndarray) -> Split:
    parts = {part: (own := getattr(split, part))[complete[own]] for part in PARTS if part != "encoder"}
    return replace(split, **parts)


def _check_classes(split: Split, block: FeatureBlock) -> None:
    missing = set(range(len(block.classes))) - set(block.labels[split.train].tolist())
    if missing:
        names = ", ".join(block.classes[i] for i in sorted(missing))
        raise ConfigError(
            f"repeat {split.repeat}: no training sample of {names} is left once incomplete samples are dropped: "
            "drop the class from the corpus settings, or use fewer modalities"
        )


def _check_encoders(
    config: StudyConfig,
    candidates: Candidates,
    splits: Sequence[Split],
    features: Mapping[str, Feature],
    keys: Mapping[str, Sequence[str | None]],
    root: Root,
) -> None:
    for modality, feature in features.items():
        if modality not in keys:
            continue
        for number, encoder in enumerate(feature.encoders):
            own = [splits[number]] if len(feature.encoders) > 1 else splits
            scored = sorted({int(i) for split in own for part in (split.val, split.test) for i in part})
            refuse_leakage(
                encoder,
                EncoderStore(root).trained_on(encoder),
                [(candidates.samples[i], keys[modality][i]) for i in scored],
                kinds=config.study.groups,
                modality=modality,
            )


def _identity(
    config: StudyConfig,
    candidates: Candidates,
    keys: Mapping[str, Sequence[str | None]],
    digests: Mapping[str, list[list[str | None]]],
    features: Mapping[str, Feature],
) -> dict[str, Any]:
    samples = [
        [sample.id, sample.labels[config.study.scheme], str(group), *(keys[m][i] for m in config.modalities)]
        for i, (sample, group) in enumerate(zip(candidates.samples, candidates.groups, strict=True))
    ]
    rows = {m: [[s.id for s in features[m].stores], fingerprint(digests[m])] for m in config.modalities}
    return {
        "samples": fingerprint(sorted(samples)),
        "rows": rows,
        "scheme": config.study.scheme,
        "classes": list(candidates.classes),
        "groups": list(config.study.groups),
        "protocol": asdict(config.protocol),
        "seed": config.seed,
    }


def _facts(
    config: StudyConfig,
    manifest: Manifest,
    candidates: Candidates,
    splits: Sequence[Split],
    features: Mapping[str, Feature],
    keys: Mapping[str, Sequence[str | None]],
    excluded: Mapping[str, str],
    identity: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "name": config.name,
        "seed": config.seed,
        "snapshot": fingerprint(identity),
        "corpus": {
            "name": manifest.name,
            "pairing": manifest.pairing,
            "source": manifest.source,
            "licence": manifest.licence,
            "notes": dict(manifest.notes),
            "dropped": dict(manifest.dropped),
            "samples": len(manifest.samples),
        },
        "scheme": config.study.scheme,
        "classes": list(candidates.classes),
        "modalities": list(config.modalities),
        "groups": list(config.study.groups),
        "protocol": asdict(config.protocol),
        "missing": config.study.missing,
        "features": {m: _feature_facts(features[m]) for m in config.modalities},
        "excluded": dict(sorted(Counter(excluded.values()).items())),
        "warnings": _warnings(config, splits, keys),
    }


def _feature_facts(feature: Feature) -> dict[str, Any]:
    summaries = [store.summary() for store in feature.stores]
    return {
        "ids": [store.id for store in feature.stores],
        "extractor": feature.plan.name,
        "weights": feature.weights_note,
        "random": feature.is_random,
        "encoders": list(feature.encoders),
        "encoder_samples": feature.plan.train_on,
        "identity": feature.stores[0].identity.as_dict(),
        "rows": sum(summary["rows"] for summary in summaries),
        "computed_on": summaries[0]["computed_on"],
        "versions": sorted({version for summary in summaries for version in summary["versions"]}),
    }


def _warnings(config: StudyConfig, splits: Sequence[Split], keys: Mapping[str, Sequence[str | None]]) -> list[str]:
    found = []
    if config.protocol.encoder_share == 1 and config.per_repeat:
        found.append(
            "in_sample_rows: heads are trained on rows their encoder was fitted on; "
            "they may trust that modality more than it deserves"
        )
    if "text" in keys:
        recurring = [_recurring(keys["text"], split) for split in splits]
        if (share := float(np.mean(recurring))) > 0:
            found.append(
                f"identical_text: {share:.1%} of test utterances also occur, word for word, in the training part"
            )
    return found


def _recurring(text: Sequence[str | None], split: Split) -> float:
    known = {text[i] for i in split.train}
    return float(np.mean([text[i] in known for i in split.test]))


def _samples_table(
    manifest: Manifest, candidates: Candidates, config: StudyConfig, excluded: Mapping[str, str]
) -> pa.Table:
    group = dict(zip((s.id for s in candidates.samples), map(str, candidates.groups), strict=True))
    rows = [
        {
            "sample_id": sample.id,
            "label": sample.labels.get(config.study.scheme),
            "group": group.get(sample.id),
            "excluded": excluded.get(sample.id),
            "gender": sample.gender,
            "age": sample.age,
            "culture": sample.culture,
        }
        for sample in manifest.samples
    ]
    names = ("sample_id", "label", "group", "excluded", "gender", "age", "culture")
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))


def _splits_table(splits: Sequence[Split], block: FeatureBlock) -> pa.Table:
    rows = [
        {"repeat": split.repeat, "sample_id": block.sample_ids[i], "part": part}
        for split in splits
        for part in PARTS
        for i in getattr(split, part)
    ]
    return pa.Table.from_pylist(
        rows, pa.schema([("repeat", pa.int32()), ("sample_id", pa.string()), ("part", pa.string())])
    )
