import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from stores.errors import FeatureMismatch, MediaError, MissingRows, NotFound, StoreError
from stores.features import FeatureStore, feature_ids
from stores.identity import row_digest
from stores.quarantine import Quarantined
from stores.root import Root
from stores.spec import FeatureSpec, Receipt, embedding_spec


def test_vectors_come_back_bit_for_bit_in_the_order_asked_for(root, vectors, receipt):
    store = FeatureStore.create(root, vectors)
    rng = np.random.default_rng(0)
    rows = {f"k{n}": rng.standard_normal(4).astype(np.float16) for n in range(1300)}  # more than two chunks
    store.write_part(rows, receipt)
    keys = ["k1299", "k0", "k512", "k0"]
    found = store.read(keys)
    assert all(np.array_equal(got, rows[key]) and got.dtype == np.float16 for got, key in zip(found, keys, strict=True))
    assert store.index()["k512"].digest == row_digest(rows["k512"])


def test_sequences_of_different_length_come_back(root, ragged, receipt):
    store = FeatureStore.create(root, ragged)
    rows = {f"k{n}": np.full((n, 3), n, dtype=np.float32) for n in (1, 700, 2, 5000)}
    store.write_part(rows, receipt)
    assert all(
        np.array_equal(got, rows[k]) for got, k in zip(store.read(["k5000", "k1"]), ["k5000", "k1"], strict=True)
    )


def test_rows_of_several_parts_are_read_together(root, vectors, receipt, row):
    store = FeatureStore.create(root, vectors)
    store.write_part({"a": row(0), "b": row(10)}, receipt)
    store.write_part({"c": row(20)}, receipt)
    assert [r[0] for r in store.read(["c", "a", "b"])] == [20, 0, 10]


def test_a_store_lives_on_an_object_store_too(tmp_path, vectors, ragged, receipt, row):
    root = Root(f"memory://{tmp_path.name}")
    FeatureStore.create(root, vectors).write_part({"a": row(1)}, receipt)
    FeatureStore.create(root, ragged).write_part({"a": np.ones((2, 3), np.float32)}, receipt)
    assert np.array_equal(FeatureStore.open(root, "text", "bert").read(["a"])[0], row(1))
    assert FeatureStore.open(root, "speech", "acoustic").read(["a"])[0].shape == (2, 3)


def test_the_layout_on_disk_is_that_of_the_design(root, vectors, receipt, row):
    store = FeatureStore.create(root, vectors)
    part = store.write_part({"a": row(0)}, receipt)
    assert root.names("features", "text", store.id) == ["feature.json", "parts"]
    assert root.names("features", "text", store.id, "parts") == [f"{part}.parquet", f"{part}.zarr"]
    content = json.loads(root.read("features", "text", store.id, "feature.json"))
    assert content == {"format_version": 1, "id": vectors.id, "identity": vectors.as_dict()}
    seal = root.read_table("features", "text", store.id, "parts", f"{part}.parquet")
    assert seal.to_pylist() == [{"key": "a", "row": 0, "digest": row_digest(row(0))}]
    header = json.loads(seal.schema.metadata[b"affuse"])
    assert header["receipt"] == asdict(receipt)
    assert (header["numerics"], header["rows"], header["replaces"]) == ("standard", 1, [])


def test_values_without_a_seal_are_invisible(root, vectors, receipt, row):
    store = FeatureStore.create(root, vectors)
    store.write_part({"a": row(0)}, receipt)
    part = store.write_part({"b": row(1)}, receipt)
    root.local(store.folder, "parts", f"{part}.parquet").unlink()
    assert set(store.index()) == {"a"}
    with pytest.raises(MissingRows, match=r"no row for 1 of 2 keys \(b .*extract first"):
        store.read(["a", "b"])


def test_the_smallest_digest_wins_whatever_the_order_of_writing(tmp_path, vectors, receipt, row):
    winner = min(row(1), row(2), key=row_digest)
    for name, order in (("x", (1, 2)), ("y", (2, 1))):
        store = FeatureStore.create(Root(tmp_path / name), vectors)
        for start in order:
            store.write_part({"a": row(start)}, receipt)
        assert np.array_equal(store.read(["a"])[0], winner)


def test_a_replaced_part_is_ignored(root, vectors, receipt, row):
    store = FeatureStore.create(root, vectors)
    loser = max((1, 2), key=lambda start: row_digest(row(start)))
    old = store.write_part({"a": row(3 - loser), "b": row(9)}, receipt)
    new = store.write_part({"a": row(loser)}, receipt, replaces=[old])
    assert [seal.part for seal in store.seals()] == [new]
    assert set(store.index()) == {"a"}
    assert np.array_equal(store.read(["a"])[0], row(loser))


def test_another_identity_under_the_same_id_raises_with_a_line_diff(root, vectors):
    store = FeatureStore.create(root, vectors)
    assert FeatureStore.create(root, vectors).id == store.id
    path = root.local(store.folder, "feature.json")
    path.write_text(path.read_text().replace('"layers": 4', '"layers": 2'))
    with pytest.raises(FeatureMismatch) as caught:
        FeatureStore.create(root, vectors)
    assert '-   "layers": 2' in str(caught.value)
    assert '+   "layers": 4' in str(caught.value)


def test_a_store_opens_by_name_only_if_the_name_is_unique(root, vectors):
    first = FeatureStore.create(root, vectors)
    assert FeatureStore.open(root, "text", "bert").identity == vectors
    second = FeatureStore.create(root, replace(vectors, version=2))
    with pytest.raises(NotFound, match="expected one text feature 'bert', found 2"):
        FeatureStore.open(root, "text", "bert")
    assert FeatureStore.open(root, "text", first.id).id == first.id
    assert feature_ids(root, "text") == sorted([first.id, second.id])
    with pytest.raises(NotFound, match="found 0; there are: none"):
        FeatureStore.open(root, "image", "resnet")


def test_a_newer_format_is_refused(root, vectors):
    store = FeatureStore.create(root, vectors)
    path = root.local(store.folder, "feature.json")
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 99'))
    with pytest.raises(StoreError, match="has format 99"):
        FeatureStore.open(root, "text", "bert")


def test_an_empty_part_is_refused(root, vectors, receipt):
    with pytest.raises(ValueError, match="at least one row"):
        FeatureStore.create(root, vectors).write_part({}, receipt)


def test_the_latest_failure_of_a_sample_counts(root, vectors):
    store = FeatureStore.create(root, vectors)
    assert store.quarantined() == []

    def failed(sample_id, attempts, time, reason="undecodable"):
        return Quarantined(
            sample_id=sample_id, key=None, stage="decode", reason=reason, message="m", attempts=attempts, time=time
        )

    store.quarantine([failed("c/1", 1, "2025-01-01T00:00:00+00:00"), failed("c/2", 1, "2025-01-01T00:00:00+00:00")])
    store.quarantine([failed("c/1", 2, "2025-01-02T00:00:00+00:00", "empty_media")])
    store.quarantine([])
    latest = {row.sample_id: (row.attempts, row.reason) for row in store.quarantined()}
    assert latest == {"c/1": (2, "empty_media"), "c/2": (1, "undecodable")}
    assert len(root.names(store.folder, "quarantine")) == 2


def test_a_failure_has_a_known_stage_and_reason():
    error = MediaError("c/1: broken", reason="undecodable")
    row = Quarantined.of(error, sample_id="c/1", key="k", attempts=1, time="t")
    assert (row.stage, row.reason, row.message) == ("decode", "undecodable", "c/1: broken")
    with pytest.raises(ValueError, match="unknown stage or reason"):
        replace(row, reason="bad luck")


def test_the_summary_counts_rows_once_and_says_what_computed_them(root, vectors, receipt, row):
    store = FeatureStore.create(root, vectors)
    store.write_part({"a": row(0), "b": row(1)}, receipt)
    store.write_part({"a": row(0)}, receipt)
    store.write_part({"c": row(2)}, Receipt(device="cuda", dtype="bfloat16", seconds=1.0))
    everything = {"cpu float32": 2, "cuda bfloat16": 1}
    assert store.summary() == {"id": store.id, "rows": 3, "computed_on": everything, "versions": ["torch 2.14.1"]}
    asked = store.summary(["b", "b", None, "nobody"])
    assert (asked["rows"], asked["computed_on"]) == (1, {"cpu float32": 1})
    assert store.summary(["c"])["versions"] == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.zeros(3), "wrong_shape"),
        (np.zeros((1, 4)), "wrong_shape"),
        (np.array([0, 0, 0, np.nan]), "not_finite"),
        (np.array([0, 0, 0, 1e6]), "not_finite"),  # beyond float16
    ],
)
def test_a_row_is_checked_against_its_spec(value, reason):
    with pytest.raises(MediaError) as caught:
        embedding_spec(4, "standard").checked(value, sample_id="c/1")
    assert (caught.value.reason, caught.value.stage) == (reason, "validate")


def test_a_checked_row_has_the_stored_dtype(ragged):
    assert embedding_spec(4, "standard").checked(np.ones(4), sample_id="c/1").dtype == np.float16
    assert embedding_spec(4, "exact").checked(np.ones(4), sample_id="c/1").dtype == np.float32
    assert ragged.spec.checked(np.ones((2, 3)), sample_id="c/1").shape == (2, 3)
    with pytest.raises(MediaError):
        ragged.spec.checked(np.ones((0, 3)), sample_id="c/1")


def test_specs_that_make_no_sense_are_refused(vectors):
    with pytest.raises(ValueError, match="not a feature spec"):
        FeatureSpec(layout="cube", dim=4, unit="", dtype="float16", tolerance=vectors.spec.tolerance)
    with pytest.raises(ValueError, match="numerics should be one of"):
        replace(vectors, numerics="fast")
