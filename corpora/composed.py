"""Trimodal samples put together by label from corpora that recorded one modality each."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from corpora._corpus import Corpus, CorpusConfig
from stores.errors import ConfigError, ManifestError
from stores.manifest import Manifest
from stores.plugins import find_plugin, nearest
from stores.root import Root
from stores.samples import MODALITIES, SPLITS, Sample
from stores.settings import build
from stores.spelling import plain_names

PARTS = SPLITS[:3]
Pool = Mapping[tuple[str, str], list[Sample]]  # (part, class) -> samples


def divide(
    samples: Sequence[Sample], shares: Mapping[str, float], *, scheme: str, kind: str | None, rng: np.random.Generator
) -> dict[str, str]:
    """Return sample id -> part, near `shares` (part -> share of each class) with the groups of `kind` kept whole.

    Groups go, largest first and otherwise in random order, to the part that still lacks most of what they hold,
    relative to its share: so every part gets a group before any gets a second. A sample without a group is its own.
    """
    classes = sorted({sample.labels[scheme] for sample in samples})
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        group = sample.groups.get(kind) if kind else None
        groups[("sample", sample.id) if group is None else ("group", group)].append(sample)
    members = [groups[key] for key in sorted(groups)]
    held = np.array([[sum(s.labels[scheme] == c for s in group) for c in classes] for group in members])
    names = list(shares)
    target = np.outer([shares[name] for name in names], held.sum(axis=0))
    have = np.zeros_like(target)
    part_of: dict[str, str] = {}
    shuffled = rng.permutation(len(members))
    for index in shuffled[np.argsort(-held.sum(axis=1)[shuffled], kind="stable")]:
        part = int(np.argmax(((target - have) / target) @ held[index]))
        have[part] += held[index]
        part_of |= {sample.id: names[part] for sample in members[index]}
    return part_of


@dataclass(frozen=True, kw_only=True)
class ComposedConfig(CorpusConfig):
    """What is paired, and how its parts are made.

    parts: modality -> the settings of the corpus it comes from, with `kind`, the name of that corpus plug-in.
    classes: labels of `scheme`, in order; samples with other labels are counted as dropped.
    apart: modality -> the kind of group that may not straddle parts; its only kind if it has just one.
    own_split: modalities that keep their corpus' own split (validation is cut from train if it has none).
    val, test: shares of those parts in all other modalities.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, Mapping[str, Any]]
    scheme: str = "emotion"
    apart: Mapping[str, str] = field(default_factory=dict)
    own_split: tuple[str, ...] = ()
    val: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "classes", plain_names(self.classes))
        if len(self.parts) < 2:
            raise ConfigError(f"parts should name at least two of {', '.join(MODALITIES)}, got {list(self.parts)}")
        for modality in (*self.parts, *self.apart, *self.own_split):
            known = MODALITIES if modality in self.parts else tuple(self.parts)
            if modality not in known:
                hint = nearest(modality, list(known))
                raise ConfigError(f"unknown modality {modality!r}{hint}; expected {', '.join(known)}")
        if not (self.val > 0 and self.test > 0 and self.val + self.test < 1):
            raise ConfigError(f"val and test should be shares that leave some for train, got {self.val}, {self.test}")


class Composed(Corpus[ComposedConfig]):
    """Pairs single-modality corpora by label: pairing is `composed`, and scores on it say nothing of real people.

    Every item is used once, and only with items of the same part: train, val and test are made in each corpus
    first, then paired. A sample's id is its items' ids joined by `+`; its group kinds are theirs, prefixed by
    modality (`speech_speaker`). Study it with the `fixed` protocol.
    """

    config_type = ComposedConfig

    def build(self, root: Root, *, base: Path) -> Manifest:
        config = self.config
        sources = {modality: _source(modality, config.parts[modality], root, base) for modality in sorted(config.parts)}
        dropped: Counter[str] = Counter()
        pools = {modality: self._pool(modality, source, dropped) for modality, source in sources.items()}
        samples = [sample for part in PARTS for label in config.classes for sample in self._pair(part, label, pools)]
        for modality, pool in pools.items():
            if left := sum(map(len, pool.values())) - len(samples):
                dropped[f"{modality} without a partner"] = left
        return Manifest(
            name=config.name,
            samples=tuple(samples),
            labels={config.scheme: config.classes},
            pairing="composed",
            source="; ".join(f"{modality}: {source.source or source.name}" for modality, source in sources.items()),
            licence="; ".join(f"{modality}: {source.licence or 'not given'}" for modality, source in sources.items()),
            dropped=dict(dropped),
        )

    def _pool(self, modality: str, source: Manifest, dropped: Counter[str]) -> Pool:
        config = self.config
        dropped.update({f"{modality}: {reason}": count for reason, count in source.dropped.items()})
        usable = [s for s in source.samples if s.medium(modality) and s.labels.get(config.scheme) in config.classes]
        if unusable := len(source.samples) - len(usable):
            dropped[f"{modality} without {config.scheme} in the classes, or without {modality}"] = unusable
        kinds = {kind for sample in usable for kind in sample.groups}
        kind = config.apart.get(modality, min(kinds) if len(kinds) == 1 else None)
        if kinds and kind not in kinds:
            listed = ", ".join(sorted(kinds))
            raise ConfigError(f"apart.{modality} should name one of its groups ({listed}), got {kind!r}")
        if kind in kinds and (known := [s for s in usable if kind in s.groups]) != usable:
            dropped[f"{modality} without a {kind}"] = len(usable) - len(known)  # whose it is decides its part
            usable = known
        if absent := sorted(set(config.classes) - {s.labels[config.scheme] for s in usable}):
            there = ", ".join(source.labels.get(config.scheme, ())) or f"no scheme {config.scheme!r}"
            raise ManifestError(f"{modality} corpus {source.name} has no {absent[0]!r}: it has {there}")
        rng = np.random.default_rng([config.seed, MODALITIES.index(modality)])
        part_of = self._parts(modality, usable, kind, rng)
        pool: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for index in rng.permutation(len(usable)):
            sample = usable[index]
            pool[part_of[sample.id], sample.labels[config.scheme]].append(sample)
        return pool

    def _parts(
        self, modality: str, samples: list[Sample], kind: str | None, rng: np.random.Generator
    ) -> dict[str, str]:
        config = self.config
        if modality not in config.own_split:
            shares = {"train": 1 - config.val - config.test, "val": config.val, "test": config.test}
            return divide(samples, shares, scheme=config.scheme, kind=kind, rng=rng)
        own = {sample.id: str(sample.split) for sample in samples}
        if other := sorted(set(own.values()) - set(PARTS)):
            raise ManifestError(f"own_split of {modality} needs train, val or test on every sample, found {other[0]}")
        if "val" in own.values():
            return own
        train = [sample for sample in samples if sample.split == "train"]
        shares = {"train": 1 - config.val, "val": config.val}
        return own | divide(train, shares, scheme=config.scheme, kind=kind, rng=rng)

    def _pair(self, part: str, label: str, pools: Mapping[str, Pool]) -> list[Sample]:
        columns = {modality: pool.get((part, label), []) for modality, pool in pools.items()}
        if part == "train" and not all(columns.values()):
            counts = ", ".join(f"{modality} {len(items)}" for modality, items in columns.items())
            raise ManifestError(f"no {label} sample can be composed for {part}: {counts}; add data or other groups")
        rows = zip(*columns.values(), strict=False)  # the shortest decides, the rest is counted as dropped
        return [self._joined(part, label, dict(zip(columns, row, strict=True))) for row in rows]

    def _joined(self, part: str, label: str, items: Mapping[str, Sample]) -> Sample:
        speech, image, text = items.get("speech"), items.get("image"), items.get("text")
        timed = speech or image
        assert timed is not None
        name = "+".join(item.id.partition("/")[2] for item in items.values())
        cut = {item.segment(modality) for modality, item in items.items() if modality != "text"} - {(None, None)}
        if speech and image and image.image is None and cut:
            raise ManifestError(f"{name}: a segment of a video cannot be paired with speech: extract its frames first")
        return Sample(
            id=f"{self.config.name}/{name}",
            corpus=self.config.name,
            text=text.text if text else None,
            audio=speech.audio or speech.video if speech else None,
            image=image.image if image else None,
            video=image.video if image and image.image is None else None,
            start_ms=timed.start_ms,
            end_ms=timed.end_ms,
            split=part,
            labels={self.config.scheme: label},
            groups={f"{modality}_{kind}": group for modality, s in items.items() for kind, group in s.groups.items()},
        )


def _source(modality: str, settings: Mapping[str, Any], root: Root, base: Path) -> Manifest:
    where = f"parts.{modality}"
    kind = settings.get("kind")
    if not isinstance(kind, str):
        raise ConfigError(f"[{where}] lacks the key 'kind', the name of a corpus plug-in")
    corpus = find_plugin("corpora", kind, Corpus)  # type: ignore[type-abstract]
    own = {key: value for key, value in settings.items() if key != "kind"}
    return corpus(build(corpus.config_type, {"name": modality, **own}, where=where)).build(root, base=base)
