"""Who takes part in a study: labelled samples with every modality, or with some, and why the others do not.

What a study will stumble over in its corpus is told before anything is extracted.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.study_config import StudyConfig
from fusion.errors import SplitError
from fusion.splits import Split, make_splits
from stores.dealing import merge_groups
from stores.errors import ConfigError, ManifestError
from stores.manifest import Manifest
from stores.plugins import nearest
from stores.samples import Sample
from stores.spelling import few, twins

ENCODER = "encoder"
RESERVED_REASON = "reserved for encoders"


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The samples a study may use. `labels` is (n,) int64 into `classes`; `groups` is (n,) str.

    `excluded` maps the other sample ids to a reason.
    """

    samples: tuple[Sample, ...]
    labels: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]
    excluded: Mapping[str, str]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sample.id for sample in self.samples)

    def splits(self, config: StudyConfig) -> list[Split]:
        """Return the splits every head shares; they depend on labels, groups and the seed alone.

        Raises SplitError, naming the classes, if the protocol cannot be carried out.
        """
        try:
            return make_splits(
                self.labels,
                self.groups,
                len(self.classes),
                config.protocol,
                config.seed,
                fixed=[sample.split for sample in self.samples],
                per_repeat_encoders=config.per_repeat,
            )
        except SplitError as error:
            named = ", ".join(f"{number} is {name}" for number, name in enumerate(self.classes))
            raise SplitError(f"{error} (class {named})") from None


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who takes part, and who is in which part of which repeat."""

    candidates: Candidates
    splits: tuple[Split, ...]


def choose(manifest: Manifest, config: StudyConfig) -> Candidates:
    """Return who takes part. Raises ConfigError if the scheme or a group kind does not exist, or nobody is left."""
    scheme = config.study.scheme
    if scheme not in manifest.labels:
        schemes = list(manifest.labels)
        raise ConfigError(
            f"[study] scheme {scheme!r} is not in corpus {manifest.name}{nearest(scheme, schemes)}; "
            f"it has: {', '.join(schemes) or 'none'}"
        )
    kinds = sorted({kind for sample in manifest.samples for kind in sample.groups})
    for kind in config.study.groups:
        if kind not in kinds:
            raise ConfigError(
                f"[study] groups: no sample of {manifest.name} has a {kind!r}{nearest(kind, kinds)}; "
                f"there are: {', '.join(kinds) or 'none'}"
            )
    reasons = {sample.id: _why_not(sample, config) for sample in manifest.samples}
    in_order = sorted(manifest.samples, key=lambda sample: sample.id)  # splits do not depend on that of the manifest
    chosen = tuple(sample for sample in in_order if reasons[sample.id] is None)
    if not chosen:
        counts = Counter(reasons.values())
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        raise ConfigError(f"no sample of {manifest.name} is left for the study: {listed}")
    classes = manifest.labels[scheme]
    if len(classes) < 2:
        raise ConfigError(
            f"scheme {scheme!r} of {manifest.name} has one class only ({classes[0]}): nothing to tell apart"
        )
    number = {name: i for i, name in enumerate(classes)}
    return Candidates(
        samples=chosen,
        labels=np.array([number[sample.labels[scheme]] for sample in chosen], dtype=np.int64),
        groups=merged_groups(chosen, config.study.groups),
        classes=classes,
        excluded={name: reason for name, reason in reasons.items() if reason is not None},
    )


def merged_groups(samples: Sequence[Sample], kinds: Sequence[str]) -> np.ndarray:
    """Return (n,) str: one group a sample, joined wherever two samples share a value of any kind."""
    if not kinds:
        return np.array([sample.id for sample in samples])
    return merge_groups([[sample.groups.get(kind) for sample in samples] for kind in kinds])


def _why_not(sample: Sample, config: StudyConfig) -> str | None:
    """Return why a sample takes no part in a study, or None; of unknown group it might be anybody in any part."""
    if sample.split == ENCODER:
        return RESERVED_REASON
    if sample.labels.get(config.study.scheme) is None:
        return f"no {config.study.scheme} label"
    if unknown := [kind for kind in config.study.groups if kind not in sample.groups]:
        return f"no {unknown[0]}"
    absent = [m for m in config.modalities if sample.medium(m) is None]
    if len(absent) >= (len(config.modalities) if config.study.masks else 1):
        return f"absent: {', '.join(absent)}"
    if config.protocol.kind == "fixed" and sample.split is None:
        return "no split in the corpus"
    return None


def probable_twins(manifest: Manifest) -> Iterator[str]:
    """Tell of ids, labels and groups that are probably one, written in two ways."""
    columns: defaultdict[str, set[str]] = defaultdict(set)
    for sample in manifest.samples:
        for name, value in (("id", sample.id), *sample.labels.items(), *sample.groups.items()):
            columns[name].add(value)
    for name, values in sorted(columns.items()):
        if alike := [" and ".join(map(repr, own)) for own in twins(values)]:
            hint = "differ only by case, blanks or leading zeros: if they mean one, write them in one way"
            yield f"probable_twins: {name} {few(alike)} {hint}"


def stumbling_blocks(config: StudyConfig, manifest: Manifest) -> Iterator[str]:
    """Tell of probable twins, of samples that lack what the study asks for, and of files that are not there.

    Raises ManifestError if no file of a modality of the study is found.
    """
    yield from probable_twins(manifest)
    lacking: defaultdict[str, list[str]] = defaultdict(list)
    for sample in manifest.samples:
        named = {f"{scheme} label": scheme in sample.labels for scheme in {config.study.scheme} & {*manifest.labels}}
        named |= {kind: kind in sample.groups for kind in config.study.groups}
        named |= {modality: bool(sample.medium(modality)) for modality in config.modalities}
        for what in (what for what, known in named.items() if not known):
            lacking[what].append(sample.id)
    for what, ids in lacking.items():
        yield f"no {what}: {len(ids):,} of {len(manifest.samples):,} samples ({few(ids)})"
    for modality in config.modalities:
        files = {s.id: path for s in manifest.samples if isinstance(path := s.medium(modality), Path)}
        missing = [name for name, path in files.items() if not os.path.exists(path)]
        if missing and len(missing) == len(files):
            raise ManifestError(
                f"{modality}: none of {len(files):,} files is found, the first tried is {files[missing[0]]}: "
                "check the folder of the corpus (path, media_folder) and the names of its files"
            )
        if missing:
            yield f"file not found: {len(missing):,} of {len(files):,} of {modality} ({few(missing)})"
