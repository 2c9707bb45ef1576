"""The feature store: Zarr values, Parquet seals; a row exists only once its part is sealed.

Layout of one feature (DESIGN section 3): `features/<modality>/<feature id>/` holds `feature.json`,
`parts/<part>.zarr` with its seal `parts/<part>.parquet`, and `quarantine/<part>.parquet`.
"""

import difflib
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import zarr

from stores import quarantine
from stores.errors import FeatureMismatch, NotFound, StoreError
from stores.identity import row_digest
from stores.quarantine import Quarantined
from stores.root import Root
from stores.rows import Location, locate, read_rows
from stores.spec import FeatureIdentity, Receipt

FORMAT = 1
CHUNK_ROWS = 512
SHARD_CHUNKS = 8
_SEAL = pa.schema([("key", pa.string()), ("row", pa.int64()), ("digest", pa.string())])


@dataclass(frozen=True, slots=True)
class Seal:
    """The metadata of one sealed part."""

    part: str
    rows: int
    receipt: Receipt
    replaces: tuple[str, ...]


class FeatureStore:
    """All rows of one feature. Open with `create` to write, with `open` to read by id or name."""

    def __init__(self, root: Root, identity: FeatureIdentity) -> None:
        self.root = root
        self.identity = identity
        self.folder = f"features/{identity.modality}/{identity.id}"

    @property
    def id(self) -> str:
        return self.identity.id

    @classmethod
    def create(cls, root: Root, identity: FeatureIdentity) -> "FeatureStore":
        """Open the store of `identity`, writing `feature.json` on first use.

        Raises FeatureMismatch with a line diff if another identity lies under the same id.
        """
        store = cls(root, identity)
        content = {"format_version": FORMAT, "id": store.id, "identity": identity.as_dict()}
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        if not root.exists(store.folder, "feature.json"):
            root.put(text.encode(), store.folder, "feature.json")
        elif (found := root.read(store.folder, "feature.json").decode()) != text:
            diff = difflib.unified_diff(found.splitlines(), text.splitlines(), "on disk", "asked for", lineterm="", n=0)
            raise FeatureMismatch(
                f"{store.folder}/feature.json differs from the identity asked for:\n" + "\n".join(diff)
            )
        return store

    @classmethod
    def open(cls, root: Root, modality: str, name: str) -> "FeatureStore":
        """Open by feature id, or by extractor name if only one feature of that name exists. Raises NotFound."""
        ids = feature_ids(root, modality)
        found = [name] if name in ids else [i for i in ids if i.rsplit("-", 1)[0] == name]
        if len(found) != 1:
            there = ", ".join(ids) or "none"
            raise NotFound(f"expected one {modality} feature {name!r}, found {len(found)}; there are: {there}")
        content = json.loads(root.read(f"features/{modality}/{found[0]}", "feature.json"))
        if content["format_version"] > FORMAT:
            raise StoreError(
                f"{found[0]} has format {content['format_version']}, this affuse reads up to {FORMAT}: update"
            )
        return cls(root, FeatureIdentity.from_dict(content["identity"]))

    def seals(self) -> list[Seal]:
        """Return the metadata of the parts readers may use, sorted by part; replaced parts are left out."""
        return [seal for seal, _ in self._sealed()]

    def index(self) -> dict[str, Location]:
        """Return key -> where its row lies. Where parts hold the same key, the smallest value digest counts."""
        index: dict[str, Location] = {}
        for seal, table in self._sealed():
            columns = (table[name].to_pylist() for name in ("key", "row", "digest"))
            for key, row, digest in zip(*columns, strict=True):
                if key not in index or digest < index[key].digest:
                    index[key] = Location(seal.part, row, digest)
        return index

    def _sealed(self) -> list[tuple[Seal, pa.Table]]:
        names = [n for n in self.root.names(self.folder, "parts") if n.endswith(".parquet")]
        tables = {n.removesuffix(".parquet"): self.root.read_table(self.folder, "parts", n) for n in names}
        found = [(_seal(part, table), table) for part, table in sorted(tables.items())]
        replaced = {part for seal, _ in found for part in seal.replaces}
        return [(seal, table) for seal, table in found if seal.part not in replaced]

    def write_part(self, rows: Mapping[str, np.ndarray], receipt: Receipt, replaces: Iterable[str] = ()) -> str:
        """Write rows by key as one immutable part and seal it; return the part's name.

        Rows are (dim,) or (frames, dim) in the dtype of the spec. Values are read back before the seal is put.
        """
        if not rows:
            raise ValueError("a part needs at least one row")
        part = uuid.uuid4().hex
        keys = list(rows)
        self._write_values(part, [rows[key] for key in keys])
        self.root.flush(self.folder, "parts", f"{part}.zarr")
        digests = [row_digest(rows[key]) for key in keys]
        written = read_rows(self, [Location(part, row, digest) for row, digest in enumerate(digests)])
        if [row_digest(row) for row in written] != digests:
            raise StoreError(f"{self.id}: part {part} reads back differently from what was written: check the disk")
        header = {
            "format_version": FORMAT,
            "rows": len(keys),
            "numerics": self.identity.numerics,
            "receipt": asdict(receipt),
            "replaces": sorted(replaces),
        }
        columns = {"key": keys, "row": range(len(keys)), "digest": digests}
        table = pa.table([pa.array(columns[f.name], f.type) for f in _SEAL], schema=_SEAL)
        table = table.replace_schema_metadata({"affuse": json.dumps(header, sort_keys=True)})
        self.root.put_table(table, self.folder, "parts", f"{part}.parquet")
        return part

    def _write_values(self, part: str, rows: Sequence[np.ndarray]) -> None:
        spec = self.identity.spec
        group = zarr.create_group(self.root.zarr(self.folder, "parts", f"{part}.zarr"), zarr_format=3)
        if spec.layout == "ragged":
            offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
            group.create_array("offsets", data=offsets, chunks=(len(offsets),))
            values = np.concatenate(rows)
        else:
            values = np.stack(rows)
        chunk = min(CHUNK_ROWS, len(values))
        shard = chunk * min(SHARD_CHUNKS, -(-len(values) // chunk))
        width = values.shape[1]
        group.create_array("values", data=values, chunks=(chunk, width), shards=(shard, width), compressors=None)

    def read(self, keys: Sequence[str]) -> list[np.ndarray]:
        """Return one row per key, in order. Raises MissingRows naming the keys no sealed part holds."""
        return read_rows(self, locate(self.index(), keys, self.id))

    def quarantined(self) -> list[Quarantined]:
        """Return the latest failure of each sample that failed; callers drop those whose key has been sealed."""
        names = self.root.names(self.folder, "quarantine")
        rows = [q for n in names for q in quarantine.from_table(self.root.read_table(self.folder, "quarantine", n))]
        latest: dict[str, Quarantined] = {}
        for row in sorted(rows, key=lambda row: (row.time, row.attempts)):
            latest[row.sample_id] = row
        return list(latest.values())

    def quarantine(self, rows: Sequence[Quarantined]) -> None:
        """Record failures as one immutable quarantine part; nothing is written for an empty list."""
        if rows:
            name = f"{uuid.uuid4().hex}.parquet"
            self.root.put_table(quarantine.to_table(list(rows)), self.folder, "quarantine", name)

    def summary(self, keys: Iterable[str | None] | None = None) -> dict[str, Any]:
        """Return facts about the rows of `keys` (all by default): number, where computed, with which versions.

        They do not change when nothing is extracted, nor when other rows are.
        """
        index = self.index()
        chosen = list(index.values()) if keys is None else [index[key] for key in {*keys} if key in index]
        receipts = {seal.part: seal.receipt for seal in self.seals()}
        by_device = Counter(f"{receipts[row.part].device} {receipts[row.part].dtype}" for row in chosen)
        used = {row.part for row in chosen}
        versions = sorted({f"{name} {v}" for part in used for name, v in receipts[part].versions.items()})
        computed_on = dict(sorted(by_device.items()))
        return {"id": self.id, "rows": len(chosen), "computed_on": computed_on, "versions": versions}


def feature_ids(root: Root, modality: str) -> list[str]:
    """Return the ids of the features of a modality that have a `feature.json`."""
    return [i for i in root.names("features", modality) if root.exists("features", modality, i, "feature.json")]


def _seal(part: str, table: pa.Table) -> Seal:
    header = json.loads(table.schema.metadata[b"affuse"])
    return Seal(part, header["rows"], Receipt(**header["receipt"]), tuple(header["replaces"]))
