from dataclasses import replace

import numpy as np
import pytest

from stores.block import ABSENT, FeatureBlock, gather_all
from stores.features import FeatureStore
from stores.identity import row_digest


def test_one_store_serves_all_repeats_and_what_is_absent_is_marked(root, vectors, receipt, row):
    store = FeatureStore.create(root, vectors)
    store.write_part({"a": row(0), "b": row(10), "unused": row(20)}, receipt)
    values, rows, found = gathered = gather_all({"text": ([store], ["b", None, "a", "not extracted", "b"])})["text"]
    assert rows.tolist() == [[1, ABSENT, 0, ABSENT, 1]]
    assert values.tolist() == [[0, 1, 2, 3], [10, 11, 12, 13]]
    assert len(found) == 1
    assert gathered.digests() == [[row_digest(row(10)), None, row_digest(row(0)), None, row_digest(row(10))]]


def test_one_store_a_repeat_gives_every_repeat_its_own_rows(root, vectors, receipt, row):
    stores = [FeatureStore.create(root, replace(vectors, encoder=f"e{n}")) for n in range(2)]
    stores[0].write_part({"a": row(0), "b": row(10)}, receipt)
    stores[1].write_part({"b": row(30)}, receipt)
    values, rows, _ = gather_all({"text": (stores, ["a", "b"])})["text"]
    assert rows.tolist() == [[0, 1], [ABSENT, 2]]
    assert values[:, 0].tolist() == [0, 10, 30]


def test_nothing_extracted_gives_an_empty_block_of_the_right_width(root, vectors):
    values, rows, _ = gather_all({"text": ([FeatureStore.create(root, vectors)], [None, "a"])})["text"]
    assert (values.shape, values.dtype, rows.tolist()) == ((0, 4), np.float16, [[ABSENT, ABSENT]])


def test_what_may_not_be_read_is_absent_and_is_not_even_gathered(root, vectors, receipt, row):
    stores = [FeatureStore.create(root, replace(vectors, encoder=f"e{n}")) for n in range(2)]
    for number, store in enumerate(stores):
        store.write_part({"a": row(10 * number), "b": row(10 * number + 1)}, receipt)
    readable = {"text": np.array([[True, True], [False, True]])}
    found = gather_all({"text": (stores, ["a", "b"])}, readable)["text"]
    assert found.rows.tolist() == [[0, 1], [ABSENT, 2]]
    assert found.values[:, 0].tolist() == [0, 1, 11]
    assert found.digests()[1] == [None, row_digest(row(11))]


def test_repeats_that_share_a_store_share_its_rows(root, vectors, receipt, row):
    stores = [FeatureStore.create(root, replace(vectors, encoder=f"e{n}")) for n in range(2)]
    for number, store in enumerate(stores):
        store.write_part({"a": row(10 * number), "b": row(10 * number + 1)}, receipt)
    repeats = [stores[1], FeatureStore(root, stores[0].identity), stores[1]]
    readable = {"text": np.array([[True, False], [True, True], [True, True]])}
    found = gather_all({"text": (repeats, ["b", "a"])}, readable)["text"]
    assert found.values[:, 0].tolist() == [10, 11, 0, 1]
    assert found.rows.tolist() == [[1, ABSENT], [3, 2], [1, 0]]
    assert found.digests()[0] == [row_digest(row(11)), None]


def test_rows_of_many_frames_are_refused(root, ragged):
    store = FeatureStore.create(root, ragged)
    with pytest.raises(ValueError, match=f"the rows of {store.id} are ragged"):
        gather_all({"text": ([store], ["a"])})


def block(**changes):
    content = {
        "sample_ids": ("c/1", "c/2", "c/3"),
        "labels": np.array([0, 1, 0]),
        "groups": np.array(["A", "A", "B"]),
        "classes": ("joy", "anger"),
        "values": {"text": np.zeros((3, 2)), "image": np.zeros((4, 2))},
        "rows": {"text": np.array([[0, ABSENT, 2]]), "image": np.array([[0, 1, 2], [3, 1, ABSENT]])},
    }
    return FeatureBlock(**{**content, **changes})


def test_rows_of_a_repeat_are_shared_if_there_is_one_set():
    assert block().modalities == ("image", "text")
    assert block().repeat_rows("text", 7).tolist() == [0, ABSENT, 2]
    assert block().repeat_rows("image", 1).tolist() == [3, 1, ABSENT]


def test_views_are_those_of_the_repeat_and_none_of_a_modality_that_has_none():
    views = np.array([[[3, ABSENT, ABSENT]], [[ABSENT, 3, ABSENT]]])  # (2 repeats, 1 view, 3 samples)
    varied = block(views={"image": views})
    assert varied.repeat_views("image", 1).tolist() == [[ABSENT, 3, ABSENT]]
    assert varied.repeat_views("text", 1).shape == (0, 3)


@pytest.mark.parametrize("views", [{"image": np.zeros((2, 3), int)}, {"speech": np.zeros((2, 1, 3), int)}])
def test_views_that_do_not_fit_are_refused(views):
    with pytest.raises(ValueError, match="views should be of modalities there are"):
        block(views=views)


@pytest.mark.parametrize(
    "changes",
    [{"labels": np.array([0, 1])}, {"groups": np.array(["A"])}, {"rows": {"text": np.zeros((1, 3), int)}},
     {"rows": {"text": np.zeros((1, 2), int), "image": np.zeros((1, 3), int)}}],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError, match=r"expected 3 labels|should name the same modalities"):
        block(**changes)


def test_a_block_is_cut_down_to_samples_as_one_repeat_reads_them():
    block = FeatureBlock(
        sample_ids=("a", "b", "c"),
        labels=np.array([0, 1, 0]),
        groups=np.array(["x", "y", "z"]),
        classes=("joy", "anger"),
        values={"text": np.arange(12.0).reshape(6, 2), "image": np.zeros((3, 1))},
        rows={"text": np.array([[0, 1, 2], [3, ABSENT, 5]]), "image": np.array([[0, 1, 2]])},
        views={"text": np.array([[[4, 4, 4]], [[1, ABSENT, 2]]])},
    )
    cut = block.cut(np.array([2, 1]), repeat=1)
    assert (cut.sample_ids, cut.labels.tolist(), cut.groups.tolist()) == (("c", "b"), [0, 1], ["z", "y"])
    assert {m: rows.tolist() for m, rows in cut.rows.items()} == {"text": [[5, ABSENT]], "image": [[2, 1]]}
    assert cut.views["text"].tolist() == [[[2, ABSENT]]]
    assert cut.values is block.values
    assert cut.labels.base is None  # no view of the whole
