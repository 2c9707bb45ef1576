"""Modalities that nobody of a part has: refused where heads are trained or stopped on it, told where they are scored.

Under `missing = "mask"` a sample needs one modality only, so a part may be left without another.
"""

from collections.abc import Iterator, Sequence

from fusion.splits import Split
from stores.block import ABSENT, FeatureBlock
from stores.errors import ConfigError


def check_modalities(split: Split, block: FeatureBlock) -> None:
    """Raise ConfigError if no training sample, or no validation sample, of a repeat has a modality."""
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


def gaps(splits: Sequence[Split], block: FeatureBlock) -> Iterator[str]:
    """Tell of test parts, and of classes in training, that have nobody with a modality, and in which repeats."""
    for m in block.modalities:
        there = [block.repeat_rows(m, split.repeat) != ABSENT for split in splits]
        if unheard := [split.repeat for split, own in zip(splits, there, strict=True) if not own[split.test].any()]:
            yield f"untested_{m}: no test sample has {m} in {_named(unheard)}; heads on it alone predict the prior"
        for k, label in enumerate(block.classes):
            trained = [own[s.train[block.labels[s.train] == k]].any() for s, own in zip(splits, there, strict=True)]
            if missed := [split.repeat for split, any_there in zip(splits, trained, strict=True) if not any_there]:
                yield f"untrained_{m}: no training sample of {label} has {m} in {_named(missed)}"


def _named(repeats: Sequence[int]) -> str:
    return f"repeat{'' if len(repeats) == 1 else 's'} {', '.join(map(str, repeats))}"
