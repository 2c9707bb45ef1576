import os
import time
from dataclasses import replace

import pytest

from stores.compaction import compact
from stores.encoders import EncoderStore
from stores.errors import ConfigError, NotFound, RootError
from stores.features import FeatureStore
from stores.litter import GRACE_S, find_litter, named_litter, references, sweep
from stores.root import Root
from stores.verifying import verify


def age(root: Root, seconds: float) -> None:
    """Make every file under a root look that old."""
    then = time.time() - seconds
    for file in root.files():
        os.utime(root.local(file.path), (then, then))


@pytest.fixture
def littered(root, fill, vectors, receipt, row):
    """A filled root, and beside it one unfinished writing of each kind: {kind: path}."""
    store = FeatureStore.create(fill(root), vectors)
    part = store.write_part({"k9": row(9)}, receipt)
    root.delete(store.folder, "parts", f"{part}.parquet")
    root.put(b"x", store.folder, "parts", ".x.parquet.0123abcd")
    root.put(b"x", "encoders", "lstm_cnn-1", "weights.safetensors")
    root.put(b"x", "studies", "study-2", "samples.parquet")
    root.put(b"x", "studies", "study-1", "predictions", "0" * 32 + ".parquet")
    return {
        f"{store.folder}/parts/{part}.zarr",
        f"{store.folder}/parts/.x.parquet.0123abcd",
        "encoders/lstm_cnn-1",
        "studies/study-2",
        "studies/study-1/predictions/" + "0" * 32 + ".parquet",
    }


def found(root, **more):
    return {path for litter in find_litter(root, **more) for path in litter.paths}


def test_what_was_never_finished_is_found_after_the_grace_only(root, littered):
    assert found(root) == set()
    age(root, GRACE_S + 60)
    assert found(root) == littered
    assert found(root, grace=GRACE_S + 3600) == set()


def test_a_sweep_removes_it_and_nothing_else(root, littered):
    age(root, GRACE_S + 60)
    before = {file.path for file in root.files()}
    litter = find_litter(root)
    assert sum(item.size for item in litter) > 0
    sweep(root, litter)
    gone = before - {file.path for file in root.files()}
    assert all(any(path == name or path.startswith(f"{name}/") for name in littered) for path in gone)
    verdict = verify(root)
    assert (verdict.damages, verdict.litter, verdict.rows) == ([], [], 5)
    sweep(root, litter)  # a second sweep finds it gone already


def test_a_writer_that_is_still_at_it_is_left_alone(root, littered):
    age(root, GRACE_S + 60)
    [values] = [path for path in littered if path.endswith(".zarr")]
    os.utime(root.local(values, "zarr.json"))  # its heartbeat: any file of it that changes
    assert values not in found(root)


def test_a_clock_that_went_backwards_deletes_nothing(root, littered):
    age(root, -2 * GRACE_S)
    assert found(root) == set()


def test_replaced_parts_go_after_the_grace_counted_from_their_replacement(root, fill):
    store = FeatureStore.open(fill(root), "text", "bert")
    old = {seal.part for seal in store.seals()}
    age(root, GRACE_S + 60)
    assert compact(store) == (2, 1)
    assert found(root) == set()
    age(root, GRACE_S + 60)
    assert found(root) == {f"{store.folder}/parts/{part}{kind}" for part in old for kind in (".parquet", ".zarr")}
    for litter in find_litter(root):
        assert litter.paths[0].endswith(".parquet")  # the seal first: no reader sees one without its values
    sweep(root, find_litter(root))
    assert len(FeatureStore.open(root, "text", "bert").read(["k1", "k2", "k3"])) == 3
    assert verify(root).damages == []


def test_what_no_study_refers_to_goes_only_when_asked(root, fill, vectors):
    used = FeatureStore.open(fill(root), "text", "bert").id
    other = FeatureStore.create(root, replace(vectors, version=2)).id
    acoustic = root.names("features", "speech")[0]
    age(root, GRACE_S + 60)
    assert found(root) == set()
    assert found(root, unused=True) == {f"features/text/{other}", f"features/speech/{acoustic}"}
    assert set(references(root)) == {used, *root.names("encoders")}


def test_upstream_features_of_a_study_are_used(root, fill, vectors, ragged):
    fill(root)
    upstream = FeatureStore.create(root, replace(ragged, modality="text")).id
    study = {"features": {"text": {"ids": [], "encoders": [], "identity": {"upstream": upstream}}}}
    root.put_json(study, "studies", "study-9", "study.json")
    assert references(root)[upstream] == {"study-9"}


def test_what_a_study_refers_to_is_deleted_by_name_only_if_told_twice(root, fill):
    fill(root)
    [encoder] = root.names("encoders")
    with pytest.raises(ConfigError, match=r"is used by study-1: --even-if-used"):
        named_litter(root, [encoder], even_if_used=False)
    with pytest.raises(NotFound, match=r"no feature or encoder 'bert-9'.*store ls"):
        named_litter(root, ["bert-9"], even_if_used=True)
    sweep(root, named_litter(root, [encoder], even_if_used=True))
    assert encoder not in EncoderStore(root)


def test_what_appears_while_the_files_are_listed_is_left_alone(root, fill, vectors, monkeypatch):
    store = FeatureStore.create(fill(root), vectors)
    age(root, GRACE_S + 60)
    list_files = Root.files

    def overtaken(self, *parts):
        listed = list_files(self, *parts)
        root.put(b"{}", store.folder, "parts", "f" * 32 + ".zarr", "zarr.json")  # a writer begins just now
        root.put(b"x", "encoders", "lstm_cnn-2", "weights.safetensors")
        return listed

    monkeypatch.setattr(Root, "files", overtaken)
    assert found(root) == set()


def test_an_encoder_is_used_by_the_features_it_has_made(root, fill, vectors):
    [encoder] = fill(root).names("encoders")
    root.delete("studies")
    feature = FeatureStore.create(root, replace(vectors, encoder=encoder)).id
    assert references(root) == {encoder: {feature}}
    with pytest.raises(ConfigError, match=f"is used by {feature}"):
        named_litter(root, [encoder], even_if_used=False)


def test_replaced_parts_go_oldest_first_so_that_none_comes_back_to_life(root, fill, receipt, row):
    store = FeatureStore.open(fill(root), "text", "bert")
    for extra in ("k7", "k8"):
        compact(FeatureStore.open(root, "text", "bert"))
        store.write_part({extra: row(50)}, receipt)
    compact(FeatureStore.open(root, "text", "bert"))
    seals = {file.path: file.modified for file in root.files(store.folder, "parts") if file.path.endswith(".parquet")}
    age(root, 3 * GRACE_S)
    for number, path in enumerate(sorted(seals, key=seals.get)):
        then = time.time() - 2 * GRACE_S + 60 * number
        os.utime(root.local(path), (then, then))
    order = [litter.paths[0] for litter in find_litter(root, grace=60) if "replaced" in litter.why]
    assert len(order) >= 4
    assert order == sorted(order, key=seals.get)


def test_a_disk_that_cannot_be_read_is_no_damage(root, fill, monkeypatch):
    fill(root)

    def failing(self, *parts):
        raise RootError("cannot read: Input/output error")

    monkeypatch.setattr(Root, "read_table", failing)
    with pytest.raises(RootError, match="Input/output error"):
        find_litter(root, damaged=True)


def test_what_a_damaged_part_replaced_is_kept_and_comes_back(root, fill):
    store = FeatureStore.open(fill(root), "text", "bert")
    age(root, GRACE_S + 60)
    compact(store)
    age(root, GRACE_S + 60)
    [seal] = FeatureStore.open(root, "text", "bert").seals()
    shard = root.local(store.folder, "parts", f"{seal.part}.zarr", "values/c/0/0")
    content = bytearray(shard.read_bytes())
    content[0] ^= 1
    shard.write_bytes(content)
    litter = find_litter(root, damaged=True)
    assert [item.paths[0] for item in litter] == [f"{store.folder}/parts/{seal.part}.parquet"]
    sweep(root, litter)
    assert set(FeatureStore.open(root, "text", "bert").index()) == {"k1", "k2", "k3"}
    assert verify(root).damages == []


def test_a_foreign_file_among_the_parts_is_not_taken_for_one(root, fill):
    store = FeatureStore.open(fill(root), "text", "bert")
    root.put(b"x", store.folder, "parts", "readme.md")
    assert find_litter(root, grace=-60, damaged=True) == []
    verdict = verify(root)
    assert [damage.path for damage in verdict.damages] == [f"{store.folder}/parts/readme.md"]
    assert verdict.litter == []
