"""How heads are trained: every setting, its default, and the presets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fusion.balance import BALANCES, EVEN
from fusion.inputs import INPUT_NORMS
from fusion.optimiser import OPTIMISERS
from stores.errors import ConfigError
from stores.plugins import nearest
from stores.settings import check_choices

WIDEST = 1 << 14  # no head is meant for more, and what would not fit into memory is better said than tried
SMALLEST_BATCH = 32  # that batches are halved to: the reference paper's
PRECISIONS = ("float32", "bfloat16")
CLASSIFIERS = ("linear", "hidden", "residual")
DECAYS = ("decoupled", "l2")
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "fast": {"batch_size": 256, "precision": "bfloat16", "learning_rate": 1e-3, "patience": 5, "plateau_epochs": 2},
}
_CHOICES = {
    "input_norm": INPUT_NORMS,
    "optimiser": tuple(OPTIMISERS),
    "decay": DECAYS,
    "precision": PRECISIONS,
    "classifier": CLASSIFIERS,
    "balance": BALANCES,
}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How every head of a study is trained: on mean categorical cross-entropy, stopped on validation loss.

    `learning_rate` and `batch_size` are the reference paper's (Table 7), and so is the choice of optimisers (Table 6).
    It names learning-rate decay, early stopping, dropout and L2 without amounts (audit A25): those are ours. So is the
    bound: heads of a small corpus still learn after the paper's 50 epochs, and comparing them says which learns faster.

    Training stops once the validation loss has not fallen by `least_gain` for `patience` epochs, or after `epochs`;
    after `plateau_epochs` without a lower one the rate is multiplied by `plateau_decay`. These count epochs of
    `epoch_steps` optimiser steps or more: on a small corpus batches are halved for that, to 32 at least, and where
    epochs still have fewer, as many more make up for it. `width` is the shared width of projections and hidden layers.
    `weight_decay` is decoupled from the gradient (AdamW), or added to it (`decay = "l2"`). `momentum` is sgd's.
    `classifier` is linear, hidden (one more layer) or residual (a skip around that). `modality_dropout` hides each
    modality of a training sample with that probability, in each epoch anew, but never all. `balance` treats minority
    classes, which grow by the share `balance_target`, at `inf` to the size of the largest (see `fusion.balance`).
    `precision` is that of the products of features and projections.
    """

    optimiser: str = "adam"
    learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 1e-5
    decay: str = "decoupled"
    batch_size: int = 32
    epochs: int = 1000
    epoch_steps: int = 10
    patience: int = 7
    least_gain: float = 1e-3
    plateau_decay: float = 0.5
    plateau_epochs: int = 3
    dropout: float = 0.3
    modality_dropout: float = 0.0
    label_smoothing: float = 0.0
    width: int = 128
    classifier: str = "linear"
    input_norm: str = "batch"
    balance: str = "none"
    balance_target: float = 0.35
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "epoch_steps", "patience", "plateau_epochs", "width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} should be 1 or more, got {getattr(self, name)}")
        object.__setattr__(self, "balance_target", min(self.balance_target, EVEN))
        if self.width > WIDEST:
            raise ConfigError(f"width should be {WIDEST} at most, got {self.width}")
        if odd := [name for name, value in vars(self).items() if isinstance(value, float) and not math.isfinite(value)]:
            raise ConfigError(f"{odd[0]} should be a finite number, got {getattr(self, odd[0])}")
        if not (self.learning_rate > 0 and self.weight_decay >= 0 and self.balance_target > 0):
            raise ConfigError("learning_rate and balance_target should be above 0, and weight_decay 0 or more")
        if not 0 < self.plateau_decay <= 1:
            raise ConfigError(f"plateau_decay should be in (0, 1], got {self.plateau_decay}")
        for name in ("dropout", "modality_dropout", "label_smoothing", "momentum", "least_gain"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} should be in [0, 1), got {getattr(self, name)}")
        check_choices(self, **_CHOICES)

    def batch_for(self, samples: int) -> int:
        """Return the size of batches in a study of so many samples: halved for `epoch_steps`, but not below 32."""
        size = self.batch_size
        while size >= 2 * SMALLEST_BATCH and math.ceil(samples / size) < self.epoch_steps:
            size //= 2
        return size

    @property
    def shape(self) -> tuple[Any, ...]:
        """What all members of one stack share; every other setting is each member's own."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in OWN)


# fmt: off
OWN = frozenset({
    "learning_rate", "weight_decay", "epochs", "patience", "least_gain", "plateau_decay", "plateau_epochs",
    "dropout", "modality_dropout", "label_smoothing", "balance", "balance_target",
})
# fmt: on


def with_preset(table: Mapping[str, Any], *, where: str = "training") -> dict[str, Any]:
    """Return a `[training]` table with its `preset` (paper or fast) replaced by the settings it stands for.

    Raises ConfigError, naming the table `where`, for another preset.
    """
    preset = table.get("preset", "paper")
    if not isinstance(preset, str) or preset not in PRESETS:
        hint = nearest(str(preset), list(PRESETS))
        raise ConfigError(f"[{where}] preset should be one of {', '.join(PRESETS)}, got {preset!r}{hint}")
    return {**PRESETS[preset], **{key: value for key, value in table.items() if key != "preset"}}
