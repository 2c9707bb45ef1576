"""The leakage rule: nobody is scored on rows of an encoder that has seen them (DESIGN section 4)."""

from collections.abc import Iterable, Sequence

from stores.encoders import Trainee
from stores.samples import Sample

_SHOWN = 3  # offending samples that are named


class LeakageError(ValueError):
    """A validation or test part shares a sample, a group or a recording with an encoder's training."""


def refuse_leakage(
    encoder: str,
    trained_on: Sequence[Trainee],
    scored: Iterable[tuple[Sample, str | None]],
    *,
    kinds: Sequence[str],
    modality: str,
) -> None:
    """Raise LeakageError, naming who, if a scored (sample, key) shares an id, group or recording with `trained_on`.

    Identical text alone is not refused: short utterances recur. Views of a sample count as the sample.
    """
    ids = {trainee.sample_id for trainee in trained_on}
    keys = {trainee.key for trainee in trained_on} if modality != "text" else set()
    groups = {(kind, t.groups[kind]) for t in trained_on for kind in kinds if kind in t.groups}
    leaks = []
    for sample, key in scored:
        common = {(kind, sample.groups[kind]) for kind in kinds if kind in sample.groups} & groups
        if sample.id in ids:
            leaks.append(f"{sample.id} (the sample itself)")
        elif key in keys:
            leaks.append(f"{sample.id} (the same {modality} recording)")
        elif common:
            leaks.append(f"{sample.id} ({' '.join(min(common))})")
    if leaks:
        more = f" and {len(leaks) - _SHOWN:,} more" if len(leaks) > _SHOWN else ""
        raise LeakageError(
            f"encoder {encoder} has seen {len(leaks):,} of the samples to be scored: "
            f"{', '.join(leaks[:_SHOWN])}{more}; "
            "reserve whole groups for encoders, or train them per repeat"
        )
