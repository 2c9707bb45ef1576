"""Members that are trained: what each says of a part of its split."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusion.balance import Roster
from fusion.heads._head import FusionHead
from fusion.inputs import Condition, Inputs, Reading
from fusion.members import Member
from fusion.readings import deal

SCORED_AT_ONCE = 256  # samples a member, at most


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a member says of one part: posteriors (n, K) float32 in the order of its split.

    `weights` (n, modalities) float32 are those of a head that weighs by sample.
    """

    posteriors: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """How one member's training went; `weights` is (modalities,) or (modalities, K), None for a head without."""

    best_epoch: int
    curves: tuple[Mapping[str, float], ...]
    weights: np.ndarray | None
    roster: Roster
    val: Scored
    seconds: float


class Stack:
    """Members that are trained: `fitted` says how it went, `predict` lets them speak of a part of their split.

    The test part is not touched before it is asked for.
    """

    def __init__(self, head: FusionHead, inputs: Inputs, members: Sequence[Member], prior: Tensor) -> None:
        self.head = head
        self.inputs = inputs
        self.members = members
        self.prior = prior
        self.fitted: list[Fitted] = []

    def predict(self, part: str, condition: Condition | None = None) -> list[Scored]:
        """Return what each member says of its `part`: val or test, under a condition if one is given."""
        positions = [getattr(member.split, part) for member in self.members]
        places = list(range(len(self.members)))
        found = speak(self.head, self.inputs, places, positions, self.prior, condition)
        rows = found.logits.softmax(dim=2).cpu().numpy()
        mask = found.real.cpu().numpy()
        weights = found.weights.cpu().numpy() if found.weights is not None else None
        return [
            Scored(posteriors=rows[m][mask[m]], weights=None if weights is None else weights[m][mask[m]])
            for m in places
        ]


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Logits (M, n, K), positions and whether real (M, n), and weights (M, n, modalities) of a head that has such."""

    logits: Tensor
    samples: Tensor
    real: Tensor
    weights: Tensor | None


@torch.inference_mode()
def speak(
    head: FusionHead,
    inputs: Inputs,
    places: Sequence[int],
    positions: Sequence[np.ndarray],
    prior: Tensor,
    condition: Condition | None = None,
    weigh: bool = True,
) -> Spoken:
    """Let each member speak of its positions, n being the most of them, padded to whole batches."""
    head.eval()
    longest = max(len(own) for own in positions)
    size = math.ceil(longest / math.ceil(longest / SCORED_AT_ONCE))  # as few batches, as even as can be
    samples, real = (dealt.to(inputs.device) for dealt in deal(positions, size))
    members = torch.tensor(places, device=inputs.device)
    logits, weights = [], []
    for batch, counted in zip(samples, real, strict=True):
        x, present = inputs.batch(Reading(samples=batch, real=counted), members)
        if condition is not None:
            x, present = condition(x, present, places)
        sees = present.any(dim=2, keepdim=True)
        logits.append(torch.where(sees, head(x, present), prior[members][:, None]))
        own = head.sample_weights(x, present) if weigh else None
        if own is not None:
            weights.append(own)
    return Spoken(
        logits=torch.cat(logits, dim=1),
        samples=samples.swapaxes(0, 1).flatten(1),
        real=real.swapaxes(0, 1).flatten(1),
        weights=torch.cat(weights, dim=1) if weights else None,
    )
