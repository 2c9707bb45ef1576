"""What test parts share with training parts, looked for in the cached rows once a study: `radar.parquet`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fusion.splits import Split
from reports.findings.near_duplicates import EQUAL, GROUP, IDENTICAL, NEAR, SEEN, SEEN_GROUP, UNSURE, Near, find_near
from stores.block import FeatureBlock
from stores.encoders import Trainee
from stores.errors import DamagedError
from stores.identity import fingerprint
from stores.samples import Sample
from stores.studies import RADAR, StudyStore

VERSION = 2  # of what is looked for, and by which rule
# words in the names of kinds of groups that say neither who nor which recording, and that acted corpora share by design
WHAT_IS_SAID = {"sentence", "statement", "phrase", "script", "prompt", "stimulus", "word"}
_NOBODY = -1


@dataclass(frozen=True)
class Scene:
    """What is looked at: the aligned rows, and by modality the key of every sample and, by store, digests of its row.

    `splits` are positions into `samples`; `trainees` are those of each encoder of a modality.
    """

    samples: Sequence[Sample]
    block: FeatureBlock
    keys: Mapping[str, Sequence[str | None]]
    digests: Mapping[str, Sequence[Sequence[str | None]]]
    splits: Sequence[Split]
    trainees: Mapping[str, Sequence[Sequence[Trainee]]] = field(default_factory=dict)

    @cached_property
    def groups(self) -> np.ndarray:
        """The group of every sample, (n,) int64; one of its own if a split cuts its group in two."""
        groups = np.unique(self.block.groups, return_inverse=True)[1].astype(np.int64)
        cut = np.zeros(len(groups), dtype=bool)
        for split in self.splits:
            cut[np.intersect1d(groups[split.train], groups[split.test])] = True
        return np.where(cut[groups], len(groups) + np.arange(len(groups)), groups)


def look_once(scene: Scene, store: StudyStore) -> None:
    """Write the radar of a study unless it is there; again only if the groups of its samples are others."""
    groups = [one.groups for one in scene.samples]
    groups += [one.groups for own in scene.trainees.values() for seen in own for one in seen]
    basis = fingerprint([VERSION, [sorted(own.items()) for own in groups]])
    try:
        there = store.radar()
    except DamagedError:
        there = None
    if there is None or json.loads(there.schema.metadata[b"affuse"])["basis"] != basis:
        store.write_radar(look(scene, basis=basis))


def look(scene: Scene, *, basis: str = "") -> pa.Table:
    """Return one row a flagged (repeat, test sample, kind): the modality or kind of group, and its closest reason.

    `nearest` is the training sample it is like; `similarity` is null for groups. The metadata tell by modality how
    many rows were compared and how near counted as near, and which kinds of groups only say what is said.
    """
    sights, flagged = {}, []
    for modality in scene.block.modalities:
        nears = _near_by_store(scene, modality)
        sights[modality] = _told([near for _, near in nears])
        for split in scene.splits:
            own = split.repeat if len(nears) > 1 else 0
            flagged.append(_flagged(scene, modality, split, *nears[own], digests=scene.digests[modality][own]))
    kinds = sorted({kind for sample in scene.samples for kind in sample.groups})
    for kind in kinds:
        shared = _codes([sample.groups.get(kind) for sample in scene.samples])
        for split in scene.splits:
            flagged.append(_rows(scene, split, kind, GROUP, *_in_training(shared, split), similarity=None))
    said = [kind for kind in kinds if WHAT_IS_SAID & set(kind.casefold().split("_"))]
    metadata = {"basis": basis, "version": VERSION, "modalities": sights, "kinds": kinds, "said": said}
    table = pa.concat_tables([RADAR.empty_table(), *flagged])
    table = pa.concat_tables([table, pa.Table.from_pylist(list(_by_encoders(scene, kinds, table)), RADAR)])
    return table.replace_schema_metadata({"affuse": json.dumps(metadata)})


def _by_encoders(scene: Scene, kinds: Sequence[str], of_heads: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of what encoders were trained on, recordings and groups, and no head was in that repeat."""
    told = {tuple(row.values())[:4] for row in of_heads.to_pylist()}
    for split in scene.splits:
        seen = {m: own[split.repeat if len(own) > 1 else 0] for m, own in scene.trainees.items()}
        known = {(m, SEEN): {t.key: t.sample_id for t in own} for m, own in seen.items()}
        for kind in kinds:
            grouped = [t for own in seen.values() for t in own if kind in t.groups]
            known[kind, SEEN_GROUP] = {t.groups[kind]: t.sample_id for t in grouped}
        for (kind, reason), nearest in known.items():
            as_head, similarity = (IDENTICAL, 1.0) if reason == SEEN else (GROUP, None)
            for i in split.test.tolist():
                sample = scene.samples[i]
                value = scene.keys[kind][i] if reason == SEEN else sample.groups.get(kind)
                if value in nearest and (split.repeat, sample.id, kind, as_head) not in told:
                    found = (split.repeat, sample.id, kind, reason, nearest[value], similarity)
                    yield dict(zip(RADAR.names, found, strict=True))


Things = tuple[np.ndarray, Near]  # which distinct row every sample has, _NOBODY for none; pairs of distinct rows


def _near_by_store(scene: Scene, modality: str) -> list[Things]:
    """Return near pairs of all samples in one pass or, where every repeat has its own encoder, test with training."""
    block, splits = scene.block, {split.repeat: split for split in scene.splits}
    if len(block.rows[modality]) == 1:
        everybody = np.arange(len(scene.samples))
        return [_things(scene, modality, 0, everybody, everybody)]
    nobody = np.empty(0, np.int64)
    return [
        _things(scene, modality, store, *((own.test, own.train) if (own := splits.get(store)) else (nobody, nobody)))
        for store in range(len(block.rows[modality]))
    ]


def _things(scene: Scene, modality: str, store: int, query: np.ndarray, base: np.ndarray) -> Things:
    thing = _codes(scene.digests[modality][store])
    row = scene.block.rows[modality][store][_first(thing, np.arange(len(thing)))[:-1]]
    groups = _groups_of(thing, scene.groups, len(row))
    asked, known = (np.unique(thing[own][thing[own] != _NOBODY]) for own in (query, base))
    there = scene.block.values[modality][row[known]]
    values = there if np.array_equal(asked, known) else scene.block.values[modality][row[asked]]
    near = find_near(values, groups[asked], there, groups[known])
    pairs = np.stack([asked[near.pairs[:, 0]], known[near.pairs[:, 1]]], axis=1)
    return thing, replace(near, pairs=pairs)


def _groups_of(thing: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Return the group of every distinct row; one of its own for a row that several groups share."""
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, dtype=np.int64)
    there = thing != _NOBODY
    np.minimum.at(low, thing[there], groups[there])
    np.maximum.at(high, thing[there], groups[there])
    return np.where(low == high, low, -2 - np.arange(count))


def _flagged(
    scene: Scene, modality: str, split: Split, thing: np.ndarray, near: Near, *, digests: Sequence[str | None]
) -> pa.Table:
    """Return the rows of one modality and repeat: identical content first, then equal rows, then near ones."""
    found, seen = [], np.zeros(len(scene.samples), dtype=bool)
    similar = np.ones(len(scene.samples))
    near_tests, nearest, sure = _near_in_training(thing, near, split, similar)
    for reason, (tests, partners) in (
        (IDENTICAL, _in_training(_codes(scene.keys[modality]), split)),
        (EQUAL, _in_training(thing, split)),
        (NEAR, (near_tests[sure], nearest[sure])),
        (UNSURE, (near_tests[~sure], nearest[~sure])),
    ):
        fresh = ~seen[tests]
        seen[tests] = True
        similarity = similar[tests] if reason in (NEAR, UNSURE) else np.ones(len(tests))
        found.append(_rows(scene, split, modality, reason, tests[fresh], partners[fresh], similarity=similarity[fresh]))
    return pa.concat_tables(found)


def _in_training(codes: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return the test samples whose code a training sample has too, and the first such sample of each."""
    partner = _first(codes, split.train)[codes[split.test]]
    there = (codes[split.test] != _NOBODY) & (partner != _NOBODY)
    return split.test[there], partner[there]


def _near_in_training(
    thing: np.ndarray, near: Near, split: Split, similar: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the same for near rows, the nearest of each, whether that is sure, and note in `similar` (n,) how near."""
    first = _first(thing, split.train)
    order = np.argsort(near.similarity, kind="stable")
    order = order[first[near.pairs[order, 1]] != _NOBODY]
    best = np.full(len(first), _NOBODY, dtype=np.int64)
    best[near.pairs[order, 0]] = order  # the last, most similar one stays
    chosen = best[thing[split.test]]
    there = (thing[split.test] != _NOBODY) & (chosen != _NOBODY)
    tests, chosen = split.test[there], chosen[there]
    similar[tests] = near.similarity[chosen]
    return tests, first[near.pairs[chosen, 1]], near.sure[chosen]


def _first(codes: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return for every code the first sample of a part that has it, _NOBODY if none has; one more for _NOBODY."""
    first = np.full(codes.max(initial=_NOBODY) + 2, _NOBODY, dtype=np.int64)
    first[codes[part][::-1]] = part[::-1]
    first[_NOBODY] = _NOBODY
    return first


def _codes(values: Sequence[str | None]) -> np.ndarray:
    """Return (n,) int64: a number for every distinct value, _NOBODY for None."""
    coded = pa.array(values, pa.string()).dictionary_encode().indices.fill_null(_NOBODY)
    return np.asarray(coded.to_numpy(zero_copy_only=False).astype(np.int64))


def _rows(
    scene: Scene, split: Split, kind: str, reason: str, tests: np.ndarray, partners: np.ndarray,
    *, similarity: np.ndarray | None,
) -> pa.Table:  # fmt: skip
    names, count = pa.array(scene.block.sample_ids, pa.string()), len(tests)
    columns: dict[str, Any] = {
        "repeat": [split.repeat] * count,
        "sample_id": names.take(pa.array(tests)),
        "kind": [kind] * count,
        "reason": [reason] * count,
        "nearest": names.take(pa.array(partners)),
        "similarity": [None] * count if similarity is None else similarity,
    }
    return pa.table(columns, schema=RADAR)


def _told(nears: Sequence[Near]) -> dict[str, Any]:
    """Return what was looked at in a modality: medians over its stores, and why a store could not be looked at."""

    def middle(values: Iterator[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.median(known)) if known else None

    return {
        "stores": len(nears),
        "looked": sum(near.ratio is not None for near in nears),
        "dimension": middle(near.dimension for near in nears),
        "ratio": middle(near.ratio for near in nears),
        "reason": next((near.reason for near in nears if near.reason), ""),
    }
