"""Aligned features for other programs: one Parquet, Zarr or NumPy file that is read without this code."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.errors import ZarrUserWarning

from stores.errors import ConfigError
from stores.features import FeatureStore
from stores.local_files import placed
from stores.manifest import Manifest
from stores.spec import FeatureSpec

FORMATS = ("parquet", "zarr", "npz")
# samples in memory at once: vectors, as many as an extracted part has, so that it is read about once; frames, fewer
BLOCK = {"vector": 1024, "ragged": 128}
_FRAMES = 8192  # frames in a chunk
_ARROW = {"float16": pa.float16(), "float32": pa.float32()}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A feature to export. `keys` has one content key a sample, None where the feature has no row of it."""

    name: str
    store: FeatureStore
    keys: Sequence[str | None]

    @property
    def spec(self) -> FeatureSpec:
        return self.store.identity.spec

    @cached_property
    def present(self) -> np.ndarray:
        """(n,) bool: the samples that have a row."""
        return np.array([key is not None for key in self.keys], dtype=bool)

    @property
    def block(self) -> int:
        """The samples whose rows may be in memory at once."""
        return BLOCK[self.spec.layout]

    def blocks(self, size: int) -> Iterator[list[np.ndarray]]:
        """Yield rows of `size` samples at a time, (dim,) or (frames, dim); where there is none, NaN or no frames."""
        shape = (self.spec.dim,) if self.spec.layout == "vector" else (0, self.spec.dim)
        absent = np.full(shape, np.nan, self.spec.dtype)
        for start in range(0, len(self.keys), size):
            keys = self.keys[start : start + size]
            wanted = [key for key in keys if key is not None]
            rows = iter(self.store.read(wanted) if wanted else ())
            yield [absent if key is None else next(rows) for key in keys]


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is exported: `samples` has one row a sample (text and float64, null where unknown); `metadata` is JSON."""

    samples: pa.Table
    columns: tuple[Column, ...]
    metadata: Mapping[str, Any]

    @property
    def header(self) -> str:
        return json.dumps(self.metadata, sort_keys=True, ensure_ascii=False)


def sample_table(manifest: Manifest) -> pa.Table:
    """Return sample_id, split, label_<scheme>, score_<name> and group_<kind> of every sample, in manifest order."""
    samples = manifest.samples
    found = {
        "sample_id": pa.array([sample.id for sample in samples], pa.string()),
        "split": pa.array([sample.split for sample in samples], pa.string()),
    }
    for prefix, kind in (("label", pa.string()), ("score", pa.float64()), ("group", pa.string())):
        facts = [getattr(sample, f"{prefix}s") for sample in samples]
        for name in sorted({name for own in facts for name in own}):
            found[f"{prefix}_{name}"] = pa.array([own.get(name) for own in facts], kind)
    return pa.table(found)


def write_export(export: Export, target: Path, form: str, *, overwrite: bool = False) -> None:
    """Write an export in one of FORMATS, under its name only once it is complete.

    Parquet and Zarr hold one block of samples in memory, npz all of them. Raises ConfigError if there is something
    at `target` already and `overwrite` is not set, or its folder does not exist.
    """
    with placed(target, overwrite=overwrite) as unfinished:
        _WRITERS[form](export, unfinished)


def _write_parquet(export: Export, path: Path) -> None:
    fields = [*export.samples.schema, *(pa.field(column.name, _arrow_type(column.spec)) for column in export.columns)]
    schema = pa.schema(fields, {"affuse": export.header})
    options = {"compression": "zstd", "use_dictionary": export.samples.column_names}  # floats hardly ever recur
    with pq.ParquetWriter(path, schema, **options) as writer:
        start, size = 0, min(column.block for column in export.columns)
        for blocks in zip(*(column.blocks(size) for column in export.columns), strict=True):
            count = len(blocks[0])
            known = export.samples.slice(start, count).combine_chunks().columns
            values = [
                _arrow_rows(rows, ~column.present[start : start + count], column.spec)
                for column, rows in zip(export.columns, blocks, strict=True)
            ]
            writer.write_table(pa.table([*known, *values], schema=schema))
            start += count


def _arrow_type(spec: FeatureSpec) -> pa.DataType:
    vector = pa.list_(_ARROW[spec.dtype], spec.dim)
    return vector if spec.layout == "vector" else pa.list_(vector)


def _arrow_rows(rows: Sequence[np.ndarray], absent: np.ndarray, spec: FeatureSpec) -> pa.Array:
    nulls = pa.array(absent)
    if spec.layout == "vector":
        return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(rows)), spec.dim, mask=nulls)
    frames = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(rows).reshape(-1)), spec.dim)
    return pa.ListArray.from_arrays(pa.array(_offsets([*map(len, rows)]), pa.int32()), frames, mask=nulls)


def _write_npz(export: Export, path: Path) -> None:
    arrays: dict[str, np.ndarray] = {"affuse": np.array(export.header)}
    arrays |= {name: _plain(export.samples[name]) for name in export.samples.column_names}
    for column in export.columns:
        rows = [row for block in column.blocks(column.block) for row in block]
        arrays[f"has_{column.name}"] = column.present
        if column.spec.layout == "vector":
            arrays[column.name] = np.stack(rows)
        else:
            arrays[column.name], arrays[f"{column.name}_offsets"] = np.concatenate(rows), _offsets([*map(len, rows)])
    with path.open("wb") as file:  # given a name, savez would add a suffix to it
        np.savez(file, allow_pickle=False, **arrays)


def _write_zarr(export: Export, path: Path) -> None:
    if wrong := [name for name in export.samples.column_names if "/" in name]:
        raise ConfigError(f"column {wrong[0]!r}: zarr has no '/' in names; rename it in the corpus, or write parquet")
    # what xarray takes for coordinates: names with a blank in them cannot be listed and stay plain variables
    names = [*export.samples.column_names, *(f"has_{column.name}" for column in export.columns)]
    attributes = {"affuse": export.header, "coordinates": " ".join(n for n in names if not set(n) & set(" \t\n"))}
    group = zarr.create_group(str(path), zarr_format=3, attributes=attributes)
    count = export.samples.num_rows
    for name in export.samples.column_names:
        values = _plain(export.samples[name])
        if values.dtype.kind == "U":  # fixed-width text has no Zarr specification
            values = values.astype(np.dtypes.StringDType())
        group.create_array(name, data=values, chunks=(count,), dimension_names=("sample",))
    for column in export.columns:
        name = f"has_{column.name}"
        group.create_array(name, data=column.present, chunks=(count,), dimension_names=("sample",))
        (_add_vectors if column.spec.layout == "vector" else _add_frames)(group, column)
    with warnings.catch_warnings():  # xarray asks for it, zarr warns that other readers will not look at it
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(str(path))


def _add_vectors(group: "zarr.Group", column: Column) -> None:
    width = column.spec.dim
    array = group.create_array(
        column.name,
        shape=(len(column.keys), width),
        dtype=column.spec.dtype,
        chunks=(min(column.block, len(column.keys)), width),
        fill_value=np.nan,
        dimension_names=("sample", f"{column.name}_dim"),
    )
    for number, rows in enumerate(column.blocks(column.block)):
        start = number * column.block
        array[start : start + len(rows)] = np.stack(rows)


def _add_frames(group: "zarr.Group", column: Column) -> None:
    array = group.create_array(
        column.name,
        shape=(0, column.spec.dim),
        dtype=column.spec.dtype,
        chunks=(_FRAMES, column.spec.dim),
        fill_value=np.nan,
        dimension_names=(f"{column.name}_frame", f"{column.name}_dim"),
    )
    lengths: list[int] = []
    for rows in column.blocks(column.block):
        array.append(np.concatenate(rows))
        lengths += map(len, rows)
    offsets = _offsets(lengths)
    name = f"{column.name}_offsets"
    group.create_array(name, data=offsets, chunks=offsets.shape, dimension_names=(f"{column.name}_offset",))


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    """Return (n + 1,) int64: the frames of sample i are offsets[i] to offsets[i + 1]."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _plain(values: pa.ChunkedArray) -> np.ndarray:
    """Return text as fixed-width unicode, "" where it is unknown; numbers as float64, NaN where unknown."""
    if pa.types.is_string(values.type):
        return np.array([value or "" for value in values.to_pylist()], dtype=np.str_)
    return np.array([np.nan if value is None else value for value in values.to_pylist()], dtype=np.float64)


_WRITERS: Mapping[str, Callable[[Export, Path], None]] = {
    "parquet": _write_parquet,
    "zarr": _write_zarr,
    "npz": _write_npz,
}
