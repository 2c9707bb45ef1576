"""A/A calibration: how often this study's own procedure sees a difference between models that have none.

Two models become equal by exchanging their predictions wherever a coin says so: one coin a group, the same in every
repeat, because what is alike in the repeats is what the naive test overlooks. Whatever is then found is a false alarm.
The models stay as they were fitted, so the rate is conditional on them: what training on overlapping parts adds is not
in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.evidence import Evidence
from reports.measures import Measures
from reports.metrics import Margins, counted_score
from reports.statistics._statistic import FEWEST_REPEATS
from reports.statistics.clustered_bootstrap import ClusteredBootstrap

FEWEST_COINS = 6  # groups; fewer make at most 16 different exchanges
DRAWS = 120  # of the bootstrap within a repetition: 2 x 3 / 121 is just below 0.05
_CELLS = 1 << 24  # coins, or resampled counts, held at once


@dataclass(frozen=True, kw_only=True)
class FalsePositives:
    """How many of the repetitions rejected, and the 95 % interval of Wilson for the rate behind it."""

    count: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The false positives between a and b, one comparison alone, by the primary and by the naive procedure."""

    a: str
    b: str
    primary: FalsePositives
    naive: FalsePositives


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The false-positive rates of a study beside the `nominal` one; no pairs where they cannot be told, with a reason.

    `draws` are those of the bootstrap within a repetition, None where the primary test is a t test.
    """

    metric: str
    nominal: float
    repetitions: int
    groups: int
    draws: int | None
    pairs: tuple[Calibrated, ...]
    reason: str = ""


def calibrate(
    evidence: Evidence,
    measures: Measures,
    pairs: Sequence[tuple[str, str]],
    metric: str,
    *,
    repetitions: int,
    seed: int,
) -> Calibration:
    """Return the false-positive rates of `pairs` on a counted metric; pairs share their coins."""
    names, codes = np.unique(np.concatenate([part.groups for part in evidence.held_out]), return_inverse=True)
    clustered = isinstance(measures.primary, ClusteredBootstrap)
    found = Calibration(
        metric=metric,
        nominal=measures.design.alpha,
        repetitions=repetitions,
        groups=len(names),
        draws=DRAWS if clustered else None,
        pairs=(),
        reason=_refusal(len(names), len(evidence.held_out)),
    )
