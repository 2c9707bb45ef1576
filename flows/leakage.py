"""The leakage rule: nobody is scored on rows of an encoder that has seen them (DESIGN section 4)."""

from collections.abc import Iterable, Sequence

from stores.encoders import Trainee
from stores.samples import Sample


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
    """Raise LeakageError if a scored (sample, key) shares a sample id, group or recording with `trained_on`.

    Identical text alone is not refused: short utterances recur.
    """
    ids = {trainee.sample_id for trainee in trained_on}
    keys = {trainee.key for trainee in trained_on} if modality != "text" else set()
    groups = {(kind, t.groups[kind]) for t in trained_on for kind in kinds if kind in t.groups}
    for sample, key in scored:
        shared = None
        if sample.id in ids:
            shared = "the sample itself"
        elif key in keys:
            shared = f"the same {modality} recording"
        elif common := {(kind, sample.groups[kind]) for kind in kinds if kind in sample.groups} & groups:
            kind, value = min(common)
            shared = f"{kind} {value}"
        if shared:
            raise LeakageError(
                f"{sample.id} is scored, but encoder {encoder} was trained on {shared}: "
                "reserve whole groups for encoders, or train them per repeat"
            )
