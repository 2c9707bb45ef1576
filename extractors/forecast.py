"""What an extraction will cost, told before it starts from what earlier parts have cost."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import numpy as np

from extractors.plan import Plan
from stores.errors import StoreError
from stores.features import FeatureStore, feature_ids
from stores.parts import Seal
from stores.spec import FeatureIdentity

_MINUTE, _HOUR = 60, 3600
_UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Samples in all, those with a row, those to be done; seconds and bytes for these, None if nothing tells."""

    samples: int
    cached: int
    todo: int
    seconds: float | None
    size: float | None

    def __str__(self) -> str:
        costs = [f"about {_duration(self.seconds)}"] if self.seconds is not None else []
        costs += [_amount(self.size)] if self.size is not None else []
        told = f"; {', '.join(costs)}" if costs else ""
        share = 100 * self.cached // self.samples
        return f"{share} % cached; {self.todo:,} of {self.samples:,} samples to do{told}"


def forecast(plan: Plan, store: FeatureStore) -> Forecast:
    """Return what a plan will cost, from the median rate of this feature's parts, else of the same extractor's."""
    parts: Sequence[Seal] = store.seals()
    if not parts:
        with suppress(StoreError, OSError, KeyError, ValueError):  # what others have cost is only advice
            parts = _akin(store)
    rates = [seal.receipt.seconds / seal.rows for seal in parts]
    sizes = [seal.receipt.counts["bytes"] / seal.rows for seal in parts if "bytes" in seal.receipt.counts]
    own = _row_bytes(store.identity)
    size = own if own is not None else median(sizes) if sizes else None
    return Forecast(
        samples=plan.samples,
        cached=len(plan.cached),
        todo=plan.pending,
        seconds=median(rates) * len(plan.todo) if rates else None,
        size=size * len(plan.todo) if size is not None else None,
    )


def _akin(store: FeatureStore) -> Sequence[Seal]:
    """Return the parts of the feature of the same extractor whose identity is most like this one's."""
    identity, likest, best = store.identity.as_dict(), None, -1
    for name in feature_ids(store.root, store.identity.modality):
        if name.rsplit("-", 1)[0] != store.identity.extractor:
            continue
        other = FeatureStore.open(store.root, store.identity.modality, name)
        same = sum(other.identity.as_dict()["config"].get(key) == value for key, value in identity["config"].items())
        if same > best:
            likest, best = other, same
    return likest.seals() if likest else []


def _row_bytes(identity: FeatureIdentity) -> int | None:
    spec = identity.spec
    return spec.dim * np.dtype(spec.dtype).itemsize if spec.layout == "vector" else None


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / _MINUTE)} min" if seconds < _HOUR else f"{seconds / _HOUR:.1f} h"


def _amount(size: float) -> str:
    for unit, name in _UNITS:
        if size >= unit / 10:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"
