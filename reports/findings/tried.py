"""Encoder settings that were tried: how each stopped, and how often it was the one that was used."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One setting of a grid over the `n` repeats (1 unless encoders are trained per repeat) it was trained in.

    `val_loss` and `val_accuracy` are means of the best epochs, on the encoder's own held-back groups.
    """

    modality: str
    settings: str
    val_loss: float
    val_accuracy: float
    used: int
    n: int


def tried_settings(facts: Mapping[str, Any]) -> list[Tried]:
    """Return every setting of every grid of a study, by modality and in the order of the grid."""
    found = []
    for modality, feature in sorted(facts.get("features", {}).items()):
        by_settings: dict[str, list[Mapping[str, Any]]] = {}
        for point in (point for grid in feature.get("grids", []) for point in grid):
            by_settings.setdefault(json.dumps(point["settings"]), []).append(point)
        for text, points in by_settings.items():
            found.append(
                Tried(
                    modality=modality,
                    settings=", ".join(f"{name} = {value}" for name, value in json.loads(text).items()),
                    val_loss=float(np.mean([point["val_loss"] for point in points])),
                    val_accuracy=float(np.mean([point["val_accuracy"] for point in points])),
                    used=sum(point["chosen"] for point in points),
                    n=len(points),
                )
            )
    return found
