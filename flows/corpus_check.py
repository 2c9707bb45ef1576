"""What a study will stumble over in its corpus, told before anything is extracted."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.study_config import StudyConfig
from stores.errors import ManifestError
from stores.manifest import Manifest
from stores.spelling import twins

_SHOWN = 5


def probable_twins(manifest: Manifest) -> Iterator[str]:
    """Tell of ids, labels and groups that are probably one, written in two ways."""
    columns: defaultdict[str, set[str]] = defaultdict(set)
    for sample in manifest.samples:
        for name, value in (("id", sample.id), *sample.labels.items(), *sample.groups.items()):
            columns[name].add(value)
    for name, values in sorted(columns.items()):
        if alike := [" and ".join(map(repr, own)) for own in twins(values)]:
            hint = "differ only by case, blanks or leading zeros: if they mean one, write them in one way"
            yield f"probable_twins: {name} {_listed(alike)} {hint}"


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
        yield f"no {what}: {len(ids):,} of {len(manifest.samples):,} samples ({_listed(ids)})"
    for modality in config.modalities:
        files = {s.id: path for s in manifest.samples if isinstance(path := s.medium(modality), Path)}
        missing = [name for name, path in files.items() if not os.path.exists(path)]
        if missing and len(missing) == len(files):
            raise ManifestError(
                f"{modality}: none of {len(files):,} files is found, the first tried is {files[missing[0]]}: "
                "check the folder of the corpus (path, media_folder) and the names of its files"
            )
        if missing:
            yield f"file not found: {len(missing):,} of {len(files):,} of {modality} ({_listed(missing)})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
