"""What a stack reads in one epoch: who is next, in which version, with whom mixed, with what hidden."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fusion.inputs import Inputs, Reading
from fusion.members import Trainee


def epoch_readings(inputs: Inputs, going: Sequence[Trainee]) -> list[tuple[Reading, list[bool]]]:
    """Return the steps of one epoch, and in each whose turn it is."""
    size = going[0].member.training.batch_size
    orders = [trainee.shuffle.permutation(len(trainee.roster.samples)) for trainee in going]
    rosters = [trainee.roster for trainee in going]

    def dealt(columns: Sequence[np.ndarray]) -> Tensor:
        return deal(columns, size)[0].to(inputs.device)

    samples, real = (
        part.to(inputs.device) for part in deal([r.samples[o] for r, o in zip(rosters, orders, strict=True)], size)
    )
    columns: dict[str, Tensor] = {}
    if inputs.versions > 1:
        columns["versions"] = dealt([_versions(t, o, inputs.versions) for t, o in zip(going, orders, strict=True)])
    if any(roster.partners is not None for roster in rosters):
        columns["partners"] = dealt([r.partner_of(o) for r, o in zip(rosters, orders, strict=True)])
        columns["mix"] = dealt([r.mix_of(o) for r, o in zip(rosters, orders, strict=True)])
    if any(trainee.member.training.modality_dropout for trainee in going):
        columns["hidden"] = dealt(
            [_hidden(t, inputs, r.samples[o]) for t, r, o in zip(going, rosters, orders, strict=True)]
        )
    moving = real.any(dim=2).tolist()
    return [
        (Reading(samples=samples[i], real=real[i], **{name: own[i] for name, own in columns.items()}), moving[i])
        for i in range(len(samples))
    ]


def _versions(trainee: Trainee, order: np.ndarray, versions: int) -> np.ndarray:
    """Draw for every sample of an epoch which version of it is read."""
    viewed = trainee.roster.viewed
    if viewed is None:
        return trainee.drawing.integers(versions, size=len(order))
    drawn: np.ndarray = np.where(viewed[order], trainee.drawing.integers(1, versions, size=len(order)), 0)
    return drawn


def _hidden(trainee: Trainee, inputs: Inputs, samples: np.ndarray) -> np.ndarray:
    """Draw (E, modalities) bool: what is hidden this epoch; of what a sample has at least one stays."""
    share = trainee.member.training.modality_dropout
    there = inputs.there[trainee.place].cpu().numpy()[samples]
    drawn = trainee.hiding.random(there.shape)
    hidden: np.ndarray = there & (drawn < share)
    last = np.argmax(np.where(there, drawn, -1), axis=1)  # of what is there, the least likely to be hidden
    hidden[np.arange(len(samples)), last] = False
    return hidden


def deal(parts: Sequence[np.ndarray], size: int) -> tuple[Tensor, Tensor]:
    """Deal each member's values (E, ...) into batches: (steps, M, size, ...), and bool: False where padded.

    Members may differ in length: one that is through repeats its first value, and none of that counts.
    """
    longest = max(len(part) for part in parts)
    steps = math.ceil(longest / size)
    dealt = np.stack([np.concatenate([part, np.repeat(part[:1], steps * size - len(part), axis=0)]) for part in parts])
    real = np.stack([np.arange(steps * size) < len(part) for part in parts])
    rest = dealt.shape[2:]
    samples, counted = (
        torch.from_numpy(rows.reshape(len(parts), steps, size, *more).swapaxes(0, 1).copy())
        for rows, more in ((dealt, rest), (real, ()))
    )
    return samples, counted
