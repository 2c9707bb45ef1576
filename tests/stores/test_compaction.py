from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from stores.compaction import compact
from stores.errors import RowsDamaged
from stores.features import FeatureStore
from stores.identity import row_digest
from stores.root import Root
from stores.rows import located, read_rows


@pytest.fixture
def parts(root, vectors, receipt, row):
    """A store of ten parts of two rows, one key of which lies in two of them."""
    store = FeatureStore.create(root, vectors)
    for n in range(0, 20, 2):
        store.write_part({f"k{n}": row(n), f"k{n + 1}": row(n + 1)}, receipt)
    store.write_part({"k0": row(100)}, receipt)
    return FeatureStore.create(root, vectors)


def rows(store):
    return {key: place.digest for key, place in FeatureStore.create(store.root, store.identity).index().items()}


def test_many_small_parts_become_one_with_the_same_rows(parts):
    before, values = rows(parts), parts.read(["k3", "k0"])
    assert compact(parts) == (11, 1)
    [seal] = FeatureStore.create(parts.root, parts.identity).seals()
    assert (seal.rows, len(seal.replaces), seal.receipt.seconds) == (20, 11, pytest.approx(16.5))
    assert rows(parts) == before
    again = FeatureStore.create(parts.root, parts.identity).read(["k3", "k0"])
    assert all(np.array_equal(a, b) for a, b in zip(values, again, strict=True))


def test_a_second_compaction_has_nothing_to_do(parts):
    compact(parts)
    assert compact(FeatureStore.create(parts.root, parts.identity)) == (0, 0)


def test_parts_computed_differently_are_kept_apart(parts, receipt, row):
    for n in (50, 51):
        parts.write_part({f"k{n}": row(n)}, replace(receipt, device="cuda", dtype="bfloat16"))
    before = parts.summary()["computed_on"]
    assert compact(parts) == (13, 2)
    assert FeatureStore.create(parts.root, parts.identity).summary()["computed_on"] == before


def test_no_part_grows_beyond_the_limit(parts):
    assert compact(parts, part_bytes=3 * 2 * 8) == (11, 4)  # three parts of two rows of 8 bytes each
    assert max(seal.rows for seal in FeatureStore.create(parts.root, parts.identity).seals()) <= 6


def test_ragged_rows_are_compacted_too(root, ragged, receipt):
    store = FeatureStore.create(root, ragged)
    for n in (1, 5, 700):
        store.write_part({f"k{n}": np.full((n, 3), n, np.float32)}, receipt)
    assert compact(store) == (3, 1)
    found = FeatureStore.create(root, ragged).read(["k700", "k1", "k5"])
    assert [len(row) for row in found] == [700, 1, 5]
    assert all((row == len(row)).all() for row in found)


def test_who_listed_the_parts_before_can_still_read_them(parts):
    index = parts.index()
    compact(FeatureStore.create(parts.root, parts.identity))
    assert [row[0] for row in read_rows(parts, index, located(index, ["k5", "k6"], parts.id))] == [5, 6]


def test_two_compactions_at_once_lose_nothing(parts):
    before = rows(parts)
    one, two = (FeatureStore.create(parts.root, parts.identity) for _ in range(2))
    one.index(), two.index()
    compact(one)
    compact(two)  # it has listed the same parts
    assert rows(parts) == before
    compact(FeatureStore.create(parts.root, parts.identity))
    assert rows(parts) == before
    assert len(FeatureStore.create(parts.root, parts.identity).seals()) == 1


def test_readers_and_writers_at_work_see_every_sealed_row_all_the_time(tmp_path: Path, vectors, receipt, row):
    root, done, lost = Root(tmp_path), Event(), []
    store = FeatureStore.create(root, vectors)
    store.write_part({"k0": row(0)}, receipt)
    sealed = 1

    def read() -> None:
        while not done.is_set():
            least = sealed
            reader = FeatureStore.create(root, vectors)
            for n, found in enumerate(reader.read([f"k{n}" for n in range(least)])):
                if row_digest(found) != row_digest(row(n)):
                    lost.append(n)

    def tidy() -> None:
        while not done.is_set():
            compact(FeatureStore.create(root, vectors))

    threads = [Thread(target=read), Thread(target=tidy)]
    for thread in threads:
        thread.start()
    for n in range(1, 40):
        store.write_part({f"k{n}": row(n)}, receipt)
        sealed = n + 1
    done.set()
    for thread in threads:
        thread.join()
    assert lost == []
    assert len(FeatureStore.create(root, vectors).index()) == 40


def test_a_changed_row_is_never_sealed_anew(parts):
    part = parts.index()["k3"].part
    shard = parts.root.local(parts.folder, "parts", f"{part}.zarr", "values/c/0/0")
    content = bytearray(shard.read_bytes())
    content[1] ^= 1
    shard.write_bytes(content)
    before = rows(parts)
    with pytest.raises(RowsDamaged, match=f"rows have changed since they were sealed: 1 of {parts.id}"):
        compact(parts)
    assert len(parts.seals()) == 11
    assert compact(parts) == (11, 1)  # without it
    assert rows(parts) == {key: digest for key, digest in before.items() if key != "k2"}
