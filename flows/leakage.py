"""The leakage rule: nobody is scored on rows of an encoder that has seen them (DESIGN section 4)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from flows.candidates import Cast
from flows.features import Feature
from flows.study_config import StudyConfig
from stores.encoders import EncoderStore, Trainee
from stores.manifest import Manifest
from stores.root import Root
from stores.samples import Sample
from stores.spelling import few


class LeakageError(ValueError):
    """A validation or test part shares a sample or a declared group with an encoder's training."""


def trainees_of(feature: Feature, manifest: Manifest, root: Root) -> list[list[Trainee]]:
    """Return whom each encoder of a feature was trained on, in the groups the manifest puts them in now.

    The stored groups of a sample count once the corpus has it no more.
    """
    groups = {sample.id: sample.groups for sample in manifest.samples}
    return [
        [replace(trainee, groups=groups.get(trainee.sample_id, trainee.groups)) for trainee in own]
        for own in map(EncoderStore(root).trained_on, feature.encoders)
    ]


def check_encoders(
    config: StudyConfig,
    cast: Cast,
    features: Mapping[str, Feature],
    trainees: Mapping[str, Sequence[Sequence[Trainee]]],
) -> None:
    """Raise LeakageError if an encoder of a study has seen somebody it scores."""
    for modality, own in trainees.items():
        for number, (encoder, seen) in enumerate(zip(features[modality].encoders, own, strict=True)):
            splits = cast.splits[number : number + 1] if len(own) > 1 else cast.splits
            scored = sorted({int(i) for split in splits for part in (split.val, split.test) for i in part})
            refuse_leakage(encoder, seen, [cast.candidates.samples[i] for i in scored], kinds=config.study.groups)


def refuse_leakage(
    encoder: str, trained_on: Sequence[Trainee], scored: Iterable[Sample], *, kinds: Sequence[str]
) -> None:
    """Raise LeakageError, naming who, if a scored sample shares its id or a group of these kinds with `trained_on`.

    Views of a sample count as the sample. The same recording under another id, and groups of other kinds, are looked
    for by the radar, for encoders as for heads.
    """
    ids = {trainee.sample_id for trainee in trained_on}
    groups = {(kind, t.groups[kind]) for t in trained_on for kind in kinds if kind in t.groups}
    leaks = []
    for sample in scored:
        common = {(kind, sample.groups[kind]) for kind in kinds if kind in sample.groups} & groups
        if sample.id in ids:
            leaks.append(f"{sample.id} (the sample itself)")
        elif common:
            leaks.append(f"{sample.id} ({' '.join(min(common))})")
    if leaks:
        raise LeakageError(
            f"encoder {encoder} has seen {len(leaks):,} of the samples to be scored: "
            f"{few(leaks, 3)}; reserve whole groups for encoders, or train them per repeat"
        )
