"""Extract a random share of the rows again and see how far the stored ones are from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from extractors._ahead import decoded
from extractors.extractor import Extractor, Runtime
from extractors.plan import read_keys
from stores.errors import MediaError
from stores.features import FeatureStore
from stores.rows import ABSENT, read_rows
from stores.samples import Sample
from stores.spec import Tolerance

_BATCH = 32  # samples embedded at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """The row furthest from what its extractor gives now.

    `worst` is a cosine or a largest absolute difference, as `metric` says; None if nothing could be recomputed.
    `failed` names samples that have a row but no longer give one.
    """

    feature: str
    rows: int
    metric: str
    bound: float
    worst: float | None
    sample: str | None
    failed: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every recomputed row is within the promise of its numerics class."""
        return not self.failed and (self.worst is None or _within(self.worst, self.metric, self.bound))


def recompute(
    extractor: Extractor[Any], samples: Sequence[Sample], runtime: Runtime, *, share: float, seed: int
) -> Deviation:
    """Extract `share` of the rows of these samples again (at least one), chosen by `seed`; nothing is written."""
    store = FeatureStore(extractor.inputs.root, extractor.identity)
    index, tolerance = store.index(), store.identity.spec.tolerance
    present = [sample for sample in samples if sample.medium(extractor.modality) is not None]
    keys = [None if isinstance(key, MediaError) else key for key in read_keys(present, extractor.modality)]
    held = {key: sample for sample, key in zip(present, keys, strict=True) if key is not None}
    held = {key: held[key] for key, entry in zip(held, index.find(list(held)), strict=True) if entry != ABSENT}
    ordered = sorted(held)
    count = min(len(ordered), max(1, round(share * len(ordered))))
    chosen = sorted(np.random.default_rng(seed).choice(ordered, size=count, replace=False).tolist()) if ordered else []
    worst: tuple[float, str] | None = None
    failed: list[str] = []
    if chosen:
        extractor.open(runtime)
    size = runtime.batch_size or _BATCH
    for start in range(0, len(chosen), size):
        batch = chosen[start : start + size]
        items = [(key, decoded(extractor, held[key], key)) for key in batch]
        failed += [held[key].id for key, item in items if isinstance(item, MediaError)]
        good = [(key, item) for key, item in items if not isinstance(item, MediaError)]
        stored = read_rows(store, index, index.find([key for key, _ in good])) if good else []
        rows = extractor.embed([item for _, item in good]) if good else iter(())
        for (key, _), old, new in zip(good, stored, rows, strict=True):
            distance = _distance(old, new, tolerance)
            if worst is None or not _within(distance, tolerance.metric, worst[0]):
                worst = distance, held[key].id
    return Deviation(
        feature=store.id,
        rows=len(chosen),
        metric=tolerance.metric,
        bound=tolerance.bound,
        worst=None if worst is None else worst[0],
        sample=None if worst is None else worst[1],
        failed=tuple(failed),
    )


def _within(value: float, metric: str, bound: float) -> bool:
    return value >= bound if metric == "cosine" else value <= bound


def _distance(old: np.ndarray, new: np.ndarray, tolerance: Tolerance) -> float:
    if old.shape != new.shape or not np.isfinite(new).all():
        return -1.0 if tolerance.metric == "cosine" else float("inf")
    a, b = old.astype(np.float64).ravel(), np.asarray(new, dtype=np.float64).ravel()
    if tolerance.metric == "max_abs":
        return float(np.abs(a - b).max())
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norms) if norms else float(np.array_equal(a, b))
