"""What a feature is: its shape on disk, its promise, and everything that goes into its name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stores.errors import MediaError
from stores.identity import canonical, short_id

LAYOUTS = ("vector", "ragged")
NUMERICS = ("standard", "exact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How close a stored row must be to the reference: `cosine` at least, `max_abs` at most."""

    metric: str
    bound: float


EMBEDDING_TOLERANCE = {
    "standard": Tolerance(metric="cosine", bound=0.9999),
    "exact": Tolerance(metric="max_abs", bound=1e-4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """The form of a row: `vector` is (dim,), `ragged` is (frames, dim); `unit` says what a number means."""

    layout: str
    dim: int
    unit: str
    dtype: str
    tolerance: Tolerance

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS or self.dim < 1 or self.dtype not in ("float16", "float32"):
            raise ValueError(f"not a feature spec: {self}")

    def checked(self, row: np.ndarray, *, sample_id: str) -> np.ndarray:
        """Return `row` in the stored dtype. Raises MediaError (stage `validate`) for a wrong shape or non-finite."""
        ndim = 1 if self.layout == "vector" else 2
        if row.ndim != ndim or row.shape[-1] != self.dim or row.shape[0] == 0:
            want = f"({self.dim},)" if ndim == 1 else f"(frames, {self.dim})"
            message = f"{sample_id}: expected a row of shape {want}, got {row.shape}"
            raise MediaError(message, reason="wrong_shape", stage="validate")
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(row, dtype=self.dtype)
        if not np.isfinite(stored).all():
            raise MediaError(f"{sample_id}: the row is not finite", reason="not_finite", stage="validate")
        return stored


def embedding_spec(dim: int, numerics: str, unit: str = "embedding") -> FeatureSpec:
    """Return the spec of an embedding: float16 in class `standard`, float32 in `exact` (DESIGN section 3)."""
    dtype = "float16" if numerics == "standard" else "float32"
    return FeatureSpec(layout="vector", dim=dim, unit=unit, dtype=dtype, tolerance=EMBEDDING_TOLERANCE[numerics])


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureIdentity:
    """Everything that decides what a row is. Runtime settings are another type and cannot get in.

    `config` holds every default and no path: `weights` and `tokenizer` are digests in their place.
    `upstream` is the id of the feature this one reads; `encoder` that of the trained encoder that made it.
    """

    extractor: str
    version: int
    modality: str
    preprocessing: int
    config: Mapping[str, Any]
    spec: FeatureSpec
    numerics: str = "standard"
    weights: str | None = None
    tokenizer: str | None = None
    upstream: str | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        if self.numerics not in NUMERICS:
            raise ValueError(f"numerics should be one of {', '.join(NUMERICS)}, got {self.numerics!r}")

    @property
    def id(self) -> str:
        """`<extractor>-<12 hex>`."""
        return short_id(self.extractor, self)

    def as_dict(self) -> dict[str, Any]:
        value = canonical(self)
        assert isinstance(value, dict)
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "FeatureIdentity":
        spec = dict(value["spec"])
        return cls(**{**value, "spec": FeatureSpec(**{**spec, "tolerance": Tolerance(**spec["tolerance"])})})


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """How a part was made: device and dtype really used, versions, time spent. Not part of any identity.

    `stages` are seconds by stage, as in `stores.receipt`; `write` is that of the part's own values. Parts of earlier
    versions have none.
    """

    device: str
    dtype: str
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)
