"""A row that is read is the row that was sealed; one that is not is missing from then on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from stores.block import gather_all
from stores.compaction import compact
from stores.derivations import orphans, withdraw_orphans
from stores.errors import DamagedError, RootError, RowsDamaged
from stores.features import FeatureStore
from stores.root import Root
from stores.rows import ABSENT, Index, located, read_rows
from stores.verifying import verify


@pytest.fixture
def many(root, vectors, receipt):
    """A store of one part of 5000 vectors: two shards."""
    store = FeatureStore.create(root, vectors)
    values = np.random.default_rng(0).standard_normal((5000, 4)).astype(np.float16)
    store.write_part({f"k{n:04}": row for n, row in enumerate(values)}, receipt)
    return store


@pytest.fixture
def frames(root, ragged, receipt):
    """A store of one part of 60 rows of 1 to 60 frames."""
    store = FeatureStore.create(root, ragged)
    store.write_part({f"k{n:02}": np.full((n + 1, 3), n, np.float32) for n in range(60)}, receipt)
    return store


def shard(store, number=0) -> Path:
    [part] = {seal.part for seal in store.seals()}
    return store.root.local(store.folder, "parts", f"{part}.zarr", f"values/c/{number}/0")


def flip(path: Path, *at: int) -> None:
    content = bytearray(path.read_bytes())
    for position in at:
        content[position] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize(("number", "row"), [(0, 0), (0, 4095), (1, 4096), (1, 4999)])
@pytest.mark.parametrize("asked", ["all", "some", "one"])
def test_a_flipped_bit_of_a_vector_is_never_read(many, number, row, asked):
    keys = {"all": list(many.index()), "some": [f"k{n:04}" for n in (7, row, 4998)], "one": [f"k{row:04}"]}[asked]
    flip(shard(many, number), 8 * (row - 4096 * number) + 7)
    with pytest.raises(RowsDamaged, match=f"changed since they were sealed: 1 of {many.id}; .*affuse extract STUDY"):
        many.read(keys)
    assert set(many.index()) == {f"k{n:04}" for n in range(5000)} - {f"k{row:04}"}
    assert verify(many.root).damages == []  # it counts as missing now
    assert len(FeatureStore(Root(many.root.address), many.identity).index()) == 4999  # for others too


@pytest.mark.parametrize("row", [0, 30, 59])
@pytest.mark.parametrize("alone", [True, False])
def test_a_flipped_bit_of_a_frame_is_never_read(frames, row, alone):
    flip(shard(frames), 12 * (row * (row + 1) // 2) + 5)
    with pytest.raises(RowsDamaged, match=f"1 of {frames.id}"):
        frames.read([f"k{row:02}"] if alone else list(frames.index()))
    assert set(frames.index()) == {f"k{n:02}" for n in range(60)} - {f"k{row:02}"}


def test_moved_offsets_are_no_other_rows(frames):
    [part] = {seal.part for seal in frames.seals()}
    place = frames.root.zarr(frames.folder, "parts", f"{part}.zarr")
    offsets = zarr.open_array(place, path="offsets", mode="r+")
    offsets[10] = offsets[10] + 1  # where one ends the next begins
    with pytest.raises(RowsDamaged, match=f"2 of {frames.id}"):
        frames.read(list(frames.index()))
    assert set(frames.index()) == {f"k{n:02}" for n in range(60)} - {"k09", "k10"}


def test_of_a_shard_that_cannot_be_read_the_other_shards_remain(many):
    shard(many, 1).write_bytes(b"")
    with pytest.raises(RowsDamaged):
        many.read(list(many.index()))
    kept = len(many.index())
    assert 4096 - 64 <= kept <= 4096  # a few together are given up
    many.read([f"k{n:04}" for n in range(kept)])


def test_a_disk_that_errs_once_costs_nothing(many, monkeypatch):
    import stores.rows as rows

    def erring(*arguments):
        monkeypatch.setattr(rows, "_read", sound)
        read = sound(*arguments)
        read[3] += 1
        return read

    sound = rows._read
    monkeypatch.setattr(rows, "_read", erring)
    assert len(many.read(list(many.index()))) == 5000
    assert len(many.index()) == 5000


def test_a_gather_withdraws_what_is_damaged_in_all_modalities(root, many, vectors, receipt, row):
    other = FeatureStore.create(root, replace(vectors, modality="image"))
    other.write_part({f"k{n:04}": row(n) for n in range(10)}, receipt)
    for store, count in ((many, 2), (other, 3)):
        flip(shard(store), *range(0, 8 * count, 8))
    wanted = {store.identity.modality: ([store], [f"k{n:04}" for n in range(10)]) for store in (many, other)}
    with pytest.raises(RowsDamaged, match=f"2 of {many.id}, 3 of {other.id}"):
        gather_all(wanted)
    found = gather_all(wanted)
    assert [int((gathered.rows == ABSENT).sum()) for gathered in found.values()] == [2, 3]


def test_a_second_copy_takes_the_place_of_a_damaged_row(root, vectors, receipt, row):
    store = FeatureStore.create(root, vectors)
    for _ in range(2):
        store.write_part({"a": row(1)}, receipt)
    place = store.index()["a"]
    flip(root.local(store.folder, "parts", f"{place.part}.zarr", "values/c/0/0"), 0)
    with pytest.raises(RowsDamaged):
        store.read(["a"])
    assert store.read(["a"])[0].tolist() == [1, 2, 3, 4]


def test_where_damage_cannot_be_noted_nothing_is_read_and_it_is_told(many, monkeypatch):
    flip(shard(many), 0)

    def refused(*_: object, **__: object) -> None:
        raise RootError("cannot write withdrawn: read-only file system")

    monkeypatch.setattr(Root, "put_table", refused)
    with pytest.raises(DamagedError, match=r"made again only once this can be noted: .*read-only file system"):
        many.read(["k0000"])


def test_who_reads_a_part_that_has_been_collected_since_notes_no_damage(many):
    index, [seal] = many.index(), many.seals()
    many.root.delete(many.folder, "parts", f"{seal.part}.parquet")
    many.root.delete(many.folder, "parts", f"{seal.part}.zarr")
    with pytest.raises(RowsDamaged):
        read_rows(many, index, located(index, ["k0001"], many.id))
    assert many.root.names(many.folder, "withdrawn") == []


def test_rows_of_a_part_of_an_earlier_version_are_compared_one_by_one(many):
    index = Index([(seal.part, table) for seal, table in many.parts.live()])  # without a digest of the whole
    assert len(read_rows(many, index, np.arange(5000))) == 5000
    flip(shard(many), 0)
    with pytest.raises(RowsDamaged, match=f"1 of {many.id}"):
        read_rows(many, index, np.arange(5000))


@pytest.fixture
def derived(root, vectors, receipt, row):
    """(upstream, derived): of `a` there are two right upstream rows, and one derived row of each of `a` and `b`."""
    upstream = FeatureStore.create(root, vectors)
    for start in (1, 5):
        upstream.write_part({"a": row(start), "b": row(9)}, receipt)
    outdone = max((table["digest"][0].as_py() for _, table in upstream.parts.every()))
    store = FeatureStore.create(root, replace(vectors, extractor="pooled", upstream=upstream.id))
    store.write_part({"a": row(0), "b": row(0)}, receipt, upstream=[outdone, upstream.index()["b"].digest])
    return upstream, store


def test_what_was_made_of_an_outdone_row_stays_right_after_compaction_and_collection(root, derived):
    upstream, store = derived
    old = [seal.part for seal in upstream.seals()]
    assert compact(upstream) == (2, 1)
    for name in old:
        root.delete(upstream.folder, "parts", f"{name}.parquet")
        root.delete(upstream.folder, "parts", f"{name}.zarr")
    assert len(orphans(store)) == 0
    assert verify(root).damages == []


def test_what_was_made_of_a_row_that_is_damaged_later_stays_right(root, derived):
    upstream, store = derived
    for part in root.local(upstream.folder).rglob("values/c/0/0"):
        flip(part, 0, 8)
    for key in ("a", "b", "a", "b"):
        with pytest.raises(RowsDamaged):
            upstream.read([key])
    assert len(upstream.index()) == 0
    assert len(orphans(store)) == 0


def test_rows_made_of_what_nobody_sealed_are_withdrawn_and_what_derives_from_them_in_turn(root, derived, receipt, row):
    _, store = derived
    store.write_part({"c": row(3), "d": row(4)}, receipt, upstream=["0" * 32, None])
    third = FeatureStore.create(root, replace(store.identity, extractor="third", upstream=store.id))
    third.write_part({"c": row(5), "a": row(6)}, receipt, upstream=[store.index()[k].digest for k in ("c", "a")])
    assert len(orphans(third)) == 0
    assert sorted(orphans(store)["key"].to_pylist()) == ["c", "d"]  # a row that tells no source was not checked
    assert [damage.path for damage in verify(root).damages] == [store.folder]
    assert withdraw_orphans(store) == 2
    assert withdraw_orphans(third) == 1
    assert (set(store.index()), set(third.index())) == ({"a", "b"}, {"a"})
    assert verify(root).damages == []


def test_a_compaction_keeps_what_rows_were_made_of(root, derived, receipt, row):
    upstream, store = derived
    store.write_part({"c": row(3)}, receipt, upstream=[upstream.index()["a"].digest])
    before = {r["key"]: r["upstream"] for _, table in store.parts.live() for r in table.to_pylist()}
    assert compact(store) == (2, 1)
    [(_, table)] = store.parts.live()
    assert {r["key"]: r["upstream"] for r in table.to_pylist()} == before
