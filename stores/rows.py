"""Read rows out of sealed parts: by location, in order, each part opened once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import zarr

from stores.errors import MissingRows

if TYPE_CHECKING:
    from stores.features import FeatureStore

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Location:
    """Where a row lies: part, row number in it, digest of its value."""

    part: str
    row: int
    digest: str


def locate(index: Mapping[str, Location], keys: Sequence[str], feature: str) -> list[Location]:
    """Return the location of each key, in order. Raises MissingRows naming what no sealed part holds."""
    if missing := [key for key in keys if key not in index]:
        shown = ", ".join(key[:12] for key in missing[:_SHOWN])
        raise MissingRows(f"{feature} has no row for {len(missing)} of {len(keys)} keys ({shown} ...): extract first")
    return [index[key] for key in keys]


def read_rows(store: "FeatureStore", locations: Sequence[Location]) -> list[np.ndarray]:
    """Return one row per location, (dim,) or (frames, dim), in the order given."""
    by_part: dict[str, list[int]] = defaultdict(list)
    for position, location in enumerate(locations):
        by_part[location.part].append(position)
    rows: list[np.ndarray | None] = [None] * len(locations)
    for part, positions in by_part.items():
        group = zarr.open_group(store.root.zarr(store.folder, "parts", f"{part}.zarr"), mode="r")
        values = cast("zarr.Array[Any]", group["values"])
        numbers = [locations[position].row for position in positions]
        if store.identity.spec.layout == "ragged":
            offsets = np.asarray(cast("zarr.Array[Any]", group["offsets"])[:])
            found = [np.asarray(values[offsets[n] : offsets[n + 1]]) for n in numbers]
        else:
            block = np.asarray(values[:])
            found = [block[n] for n in numbers]
        for position, row in zip(positions, found, strict=True):
            rows[position] = row
    return cast(list[np.ndarray], rows)
