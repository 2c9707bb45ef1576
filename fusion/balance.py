"""Imbalance: what a member reads in an epoch, so that minority classes count for more. Training parts only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stores.block import FeatureBlock

BALANCES = ("none", "class_weights", "oversample", "smote", "views")


@dataclass(frozen=True, kw_only=True)
class Roster:
    """What a member reads in every epoch, E samples, all of its training part.

    `samples` (E,) int64 are positions into the block. `partners` (E,) int64 and `mix` (E,) float32 are of synthetic
    samples: features are `(1 - mix) x[sample] + mix x[partner]` (SMOTE); None if there are none. `viewed` (E,) bool are
    those that are read in one of their views. `class_weights` (K,) float32 weigh each sample's loss. `before` and
    `after` (K,) are class counts; `after` holds weights where samples are weighed.
    """

    samples: np.ndarray
    class_weights: np.ndarray
    before: np.ndarray
    after: np.ndarray
    partners: np.ndarray | None = None
    mix: np.ndarray | None = None
    viewed: np.ndarray | None = None

    def partner_of(self, order: np.ndarray) -> np.ndarray:
        """Return the partners (E,) in an order; whoever has none is its own."""
        return (self.samples if self.partners is None else self.partners)[order]

    def mix_of(self, order: np.ndarray) -> np.ndarray:
        """Return the shares (E,) float32 of the partners in an order."""
        return np.zeros(len(order), np.float32) if self.mix is None else self.mix[order]


def make_roster(
    block: FeatureBlock,
    train: np.ndarray,
    modalities: Sequence[str],
    repeat: int,
    *,
    balance: str,
    target: float,
    seed: int,
) -> Roster:
    """Return what a member trained on the positions `train` reads: every sample once, and what `balance` adds."""
    counts = np.bincount(block.labels[train], minlength=len(block.classes))
    return Roster(
        samples=train, class_weights=np.ones(len(block.classes), np.float32), before=counts, after=counts.astype(float)
    )
