import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stores.encoders import EncoderStore
from stores.errors import DamagedError, RowsDamaged
from stores.features import FeatureStore
from stores.layout import place_of
from stores.litter import find_litter, sweep
from stores.logs import LOGS
from stores.root import Root
from stores.studies import StudyStore
from stores.verifying import verify


def paths(verdict):
    return sorted(damage.path for damage in verdict.damages)


def content(root: Root) -> object:
    """Everything the readers return."""
    text, speech = FeatureStore.open(root, "text", "bert"), FeatureStore.open(root, "speech", "acoustic")
    study, encoders = StudyStore.open(root, "study-1"), EncoderStore(root)
    [encoder] = root.names("encoders")
    return [
        [(store.identity, sorted(store.index()), [row.tobytes() for row in store.read(sorted(store.index()))])
         for store in (text, speech)],
        [store.seals() for store in (text, speech)],
        [store.standing() for store in (text, speech)],
        [store.books() for store in (text, speech)],
        [study.facts(), study.samples(), study.splits(), study.runs(), study.weights()],
        study.predictions(study.runs()["run_id"].to_pylist()),
        [study.log(log) for log in LOGS],
        [(name, w.tobytes(), w.shape) for name, w in sorted(encoders.weights(encoder).items())],
        [encoders.describe(encoder), encoders.trained_on(encoder), encoders.curves(encoder)],
        root.read_json("studies", "demo.latest.json"),
        root.read_table("studies", "demo.splits.parquet"),
    ]  # fmt: skip


def test_a_sound_store_is_sound(root, fill):
    verdict = verify(fill(root))
    assert (verdict.damages, verdict.litter, verdict.rows) == ([], [], 5)
    assert verdict.files == len(root.files())


def test_every_file_of_a_store_has_its_place_in_the_layout(root, fill):
    fill(root)
    assert [file.path for file in root.files() if place_of(file.path) is None] == []


def test_a_flipped_bit_anywhere_is_named_or_changes_nothing_that_is_read(root, fill, tmp_path):
    """Formats have bytes that say nothing (padding, names of writers); all others must be told."""
    before = content(fill(root))
    named = silent = 0
    files = [file for file in root.files() if not file.path.startswith("reports/")]
    for file in files:
        path = root.local(file.path)
        sound = path.read_bytes()
        rng = np.random.default_rng(list(str(place_of(file.path)).encode()))  # names of parts are random
        for _ in range(6):
            damaged = bytearray(sound)
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            verdict = verify(Root(root.address))
            if verdict.damages:
                named += 1
                folders = {str(Path(damage.path).parent) for damage in verdict.damages}
                assert any(file.path.startswith(folder) for folder in folders), file.path
            else:
                silent += 1
                assert repr(content(Root(root.address))) == repr(before), file.path
        path.write_bytes(sound)
    assert named > 3 * silent  # of 1,400 flips 4.5 times as many; which bytes these few hit is chance


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_truncated_file_is_named(root, fill, share):
    fill(root)
    for file in root.files():
        if file.path.startswith("reports/"):
            continue
        path = root.local(file.path)
        sound = path.read_bytes()
        path.write_bytes(sound[: int(share * len(sound))])
        assert verify(Root(root.address)).damages, file.path
        path.write_bytes(sound)


def test_a_missing_file_is_named(root, fill):
    fill(root)
    needed = [
        file.path
        for file in root.files()
        if not file.path.startswith(("reports/", "studies/demo", "manifests/"))
        and not any(name in file.path for name in ("quarantine", "books", "runs/", "/weights/", *LOGS))
        and not file.path.endswith(("encoder.json", "study.json"))  # without its last file there is no such thing
        and "/parts/" not in file.path.removesuffix(".parquet")[:-32]  # a part without a seal is litter
    ]
    needed += [file.path for file in root.files() if ".zarr/" in file.path]
    assert len(needed) > 10
    for name in needed:
        path = root.local(name)
        sound = path.read_bytes()
        path.unlink()
        assert verify(Root(root.address)).damages, name
        path.write_bytes(sound)


@pytest.mark.parametrize(
    "path",
    [
        "notes.txt",
        "features/text/readme.md",
        "features/smell/bert-1/feature.json",
        "features/text/bert-1/parts/notes.parquet",
        "encoders/x/weights.pt",
        "studies/study-1/runs/notes.csv",
    ],
)
def test_a_foreign_file_is_named(root, fill, path):
    fill(root)
    root.put(b"x", path)
    assert path in paths(verify(root))


def test_lost_values_never_pass_for_zeros(root, fill):
    fill(root)
    for part in root.local("features").rglob("*.zarr"):
        shutil.rmtree(part / "values" / "c")
    store = FeatureStore.open(Root(root.address), "text", "bert")
    with pytest.raises(RowsDamaged, match=r"rows have changed since they were sealed: 1 of .*affuse extract STUDY"):
        store.read(["k1"])
    assert len(verify(root).damages) == 3


def test_a_part_without_values_is_named_and_its_rows_are_extracted_again(root, fill):
    fill(root)
    store = FeatureStore.open(root, "text", "bert")
    part = store.index()["k1"].part
    shutil.rmtree(root.local(store.folder, "parts", f"{part}.zarr"))
    store = FeatureStore.open(root, "text", "bert")
    assert set(store.index()) == {"k3"}
    [damage] = verify(root).damages
    assert "the values are gone" in damage.problem


def test_a_feature_under_another_id_is_named(root, fill):
    fill(root)
    [name] = root.names("features", "text")
    root.local("features", "text", name).rename(root.local("features", "text", "bert-000000000000"))
    assert paths(verify(root)) == ["features/text/bert-000000000000/feature.json"]


def test_unfinished_writings_are_no_damage(root, fill, vectors, receipt, row):
    fill(root)
    store = FeatureStore.create(root, vectors)
    part = store.write_part({"k9": row(9)}, receipt)
    root.local(store.folder, "parts", f"{part}.parquet").unlink()
    root.put(b"x", store.folder, "parts", ".x.parquet.0123abcd")
    root.put(b"x", "encoders", "lstm_cnn-1", "weights.safetensors")
    verdict = verify(root)
    assert verdict.damages == []
    assert sorted(verdict.litter) == sorted(
        [f"{store.folder}/parts/.x.parquet.0123abcd", f"{store.folder}/parts/{part}.zarr", "encoders/lstm_cnn-1"]
    )


def test_a_damaged_seal_counts_for_nothing_is_named_and_collected(root, fill):
    fill(root)
    store = FeatureStore.open(root, "text", "bert")
    part = store.index()["k1"].part
    seal = root.local(store.folder, "parts", f"{part}.parquet")
    seal.write_bytes(seal.read_bytes()[:-20])
    assert set(FeatureStore.open(root, "text", "bert").index()) == {"k3"}
    assert "is not the table that was written" in store.parts.lost()[part]
    [damage] = verify(root).damages
    assert "`affuse store gc --damaged --delete` removes it" in damage.problem
    sweep(root, find_litter(root))  # no grace: nothing in it can be read
    assert verify(root).damages == []
    assert store.parts.lost() == {}


def test_parts_whose_rows_have_changed_are_collected_when_asked(root, fill):
    fill(root)
    store = FeatureStore.open(root, "text", "bert")
    part = store.index()["k1"].part
    shard = root.local(store.folder, "parts", f"{part}.zarr", "values/c/0/0")
    content = bytearray(shard.read_bytes())
    content[0] ^= 1
    shard.write_bytes(content)
    assert find_litter(root) == []
    [litter] = find_litter(root, damaged=True)
    assert "has changed" in litter.why
    sweep(root, [litter])
    assert verify(root).damages == []
    assert set(store.index()) == {"k3"}


def test_a_damaged_feature_json_is_told_with_what_to_do(root, fill):
    fill(root)
    [name] = root.names("features", "text")
    root.put(b"{", "features", "text", name, "feature.json")
    with pytest.raises(
        DamagedError, match=r"feature.json is not what was written .*: delete it, the next run writes it"
    ):
        FeatureStore.open(root, "text", "bert")
    assert paths(verify(root)) == [f"features/text/{name}/feature.json"]


def exchange(root: Root, one: str, other: str) -> None:
    first, second = root.read(one), root.read(other)
    root.put(second, one)
    root.put(first, other)


def test_parts_of_two_features_exchanged_are_not_read_and_named(root, fill, vectors, receipt, row):
    """Two encoders of one kind have the same keys: what tells their parts apart is where they were written to."""
    fill(root)
    folders = []
    for encoder in ("lstm_cnn-1", "lstm_cnn-2"):
        store = FeatureStore.create(root, replace(vectors, encoder=encoder))
        store.write_part({"k1": row(len(folders))}, receipt)
        folders.append(root.local(store.folder, "parts"))
    assert verify(root).damages == []
    folders[0].rename(root.local("aside"))
    folders[1].rename(folders[0])
    root.local("aside").rename(folders[1])
    for encoder in ("lstm_cnn-1", "lstm_cnn-2"):
        store = FeatureStore(Root(root.address), replace(vectors, encoder=encoder))
        assert dict(store.index()) == {}
        [why] = store.parts.lost().values()
        assert "is another's: it was written as features/text/" in why
    assert sorted(Path(path).parts[2] for path in paths(verify(root))) == sorted(f.parts[-2] for f in folders)


def test_another_table_among_the_failures_is_passed_over_and_named(root, fill):
    fill(root)
    store = FeatureStore.open(root, "text", "bert")
    before = store.standing()
    foreign = f"{store.folder}/quarantine/{0:032x}.parquet"
    root.put(root.read("studies", "study-1", "splits.parquet"), foreign)
    assert store.standing() == before
    assert paths(verify(root)) == [foreign]
    root.put_table(root.read_table("studies", "study-1", "splits.parquet"), foreign)  # as an earlier version's
    assert store.standing() == before
    assert paths(verify(root)) == [foreign]


def test_feature_json_of_another_feature_is_refused(root, fill, vectors):
    fill(root)
    store = FeatureStore.create(root, replace(vectors, encoder="lstm_cnn-1"))
    [other] = [name for name in root.names("features", "text") if name != store.id]
    exchange(root, f"{store.folder}/feature.json", f"features/text/{other}/feature.json")
    with pytest.raises(DamagedError, match=f"is another's: its identity is that of {other}"):
        FeatureStore.open(root, "text", store.id)
    assert paths(verify(root)) == sorted(f"features/text/{name}/feature.json" for name in (store.id, other))
