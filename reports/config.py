"""What a report compares and how."""

from dataclasses import dataclass

from reports.metrics import METRICS, RANKED
from stores.errors import ConfigError
from stores.plugins import nearest


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What is compared and how; part of the report's id.

    `reference` is the name of the model the others are set against (`weighted[...]` on all modalities by default);
    `draws` (the least number; few groups and large families take more) and `seed` are those of the bootstrap over
    groups; differences within +- `rope` (a share: 0.01 is one point) count as no difference that matters; `swaps` is
    how often the A/A calibration is repeated.
    """

    primary_metric: str = "macro_f1"
    reference: str | None = None
    alpha: float = 0.05
    draws: int = 2000
    seed: int = 0
    rope: float = 0.01
    swaps: int = 1000

    def __post_init__(self) -> None:
        allowed = [metric for metric in METRICS if metric not in RANKED]
        if self.primary_metric not in allowed:
            raise ConfigError(
                f"[report] primary_metric {self.primary_metric!r} is not a score that can be tested"
                f"{nearest(self.primary_metric, allowed)}; there are: {', '.join(allowed)}"
            )
        if not 0 < self.alpha < 0.5:
            raise ConfigError(f"[report] alpha should lie between 0 and 0.5, got {self.alpha}")
        if self.draws < 1000:
            raise ConfigError(f"[report] draws should be at least 1000, got {self.draws}: fewer blur the interval")
        if not 0 <= self.rope < 0.5:
            raise ConfigError(f"[report] rope should lie between 0 and 0.5 (0.01 is one point), got {self.rope}")
        if self.swaps < 1000:
            raise ConfigError(f"[report] swaps should be at least 1000, got {self.swaps}: fewer blur the error rate")
