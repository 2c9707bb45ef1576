import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr

from stores.errors import ConfigError
from stores.export import FORMATS, Column, Export, sample_table, write_export
from stores.features import FeatureStore
from stores.manifest import Manifest
from stores.samples import Sample


def people(scheme="emotion"):
    samples = (
        Sample(id="c/1", corpus="c", text="a", labels={scheme: "joy"}, scores={"valence": 0.5}, split="train"),
        Sample(id="c/2", corpus="c", labels={}, groups={"speaker": "Zoë"}),
        Sample(id="c/3", corpus="c", text="b", labels={scheme: "fear"}),
    )
    return Manifest(name="c", samples=samples, labels={scheme: ("joy", "fear")})


@pytest.fixture
def export(root, vectors, ragged, receipt):
    """Two features: `text` lacks the second sample, `acoustic` the first; every float16 bit pattern that is finite."""
    text, acoustic = FeatureStore.create(root, vectors), FeatureStore.create(root, ragged)
    text.write_part({"a": np.float16([6e-8, -0.0, 65504, 1]), "b": np.float16([1, 2, 3, 4])}, receipt)
    acoustic.write_part({"b": np.ones((2, 3), np.float32), "c": np.zeros((1, 3), np.float32)}, receipt)
    columns = (
        Column(name="text", store=text, keys=("a", None, "b")),
        Column(name="acoustic", store=acoustic, keys=(None, "c", "b")),
    )
    return Export(samples=sample_table(people()), columns=columns, metadata={"study": "größer"})


def test_samples_come_in_order_and_what_is_unknown_is_null():
    assert sample_table(people()).to_pylist() == [
        {"sample_id": "c/1", "split": "train", "label_emotion": "joy", "score_valence": 0.5, "group_speaker": None},
        {"sample_id": "c/2", "split": None, "label_emotion": None, "score_valence": None, "group_speaker": "Zoë"},
        {"sample_id": "c/3", "split": None, "label_emotion": "fear", "score_valence": None, "group_speaker": None},
    ]


def test_parquet_has_null_where_there_is_no_row_and_types_say_how_wide_it_is(export, tmp_path):
    write_export(export, tmp_path / "x.parquet", "parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert str(table.schema.field("text").type) == "fixed_size_list<element: halffloat>[4]"
    assert str(table.schema.field("acoustic").type) == "list<element: fixed_size_list<element: float>[3]>"
    assert table["text"].to_pylist()[1:] == [None, [1, 2, 3, 4]]
    assert np.float16(table["text"][0].as_py()).tobytes() == np.float16([6e-8, -0.0, 65504, 1]).tobytes()
    assert table["acoustic"].to_pylist() == [None, [[0, 0, 0]], [[1, 1, 1], [1, 1, 1]]]
    assert json.loads(table.schema.metadata[b"affuse"]) == {"study": "größer"}


def test_npz_has_nan_and_a_mask_where_there_is_no_row(export, tmp_path):
    write_export(export, tmp_path / "x", "npz")
    data = np.load(tmp_path / "x", allow_pickle=False)
    assert data["has_text"].tolist() == [True, False, True]
    assert np.isnan(data["text"][1]).all()
    assert data["text"].dtype == np.float16
    assert data["acoustic_offsets"].tolist() == [0, 0, 1, 3]
    assert data["acoustic"].tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert data["group_speaker"].tolist() == ["", "Zoë", ""]


def test_zarr_opens_in_xarray_with_what_is_known_of_samples_as_coordinates(export, tmp_path):
    write_export(export, tmp_path / "x.zarr", "zarr")
    data = xr.open_zarr(tmp_path / "x.zarr").load()
    assert dict(data.sizes) == {
        "sample": 3, "text_dim": 4, "acoustic_frame": 3, "acoustic_dim": 3, "acoustic_offset": 4
    }  # fmt: skip
    assert set(data.data_vars) == {"text", "acoustic", "acoustic_offsets"}
    assert np.isnan(data["text"][1]).all()
    assert data["text"].set_xindex("sample_id").sel(sample_id="c/3").values.tolist() == [1, 2, 3, 4]
    assert data["acoustic_offsets"].values.tolist() == [0, 0, 1, 3]


@pytest.mark.parametrize("form", FORMATS)
def test_a_feature_of_which_no_sample_has_a_row_is_all_absent(export, tmp_path, form):
    columns = tuple(Column(name=c.name, store=c.store, keys=(None, None, None)) for c in export.columns)
    nothing = Export(samples=export.samples, columns=columns, metadata={})
    write_export(nothing, tmp_path / "x", form)
    if form == "parquet":
        assert (
            pq.read_table(tmp_path / "x").select(["text", "acoustic"]).to_pylist()
            == [{"text": None, "acoustic": None}] * 3
        )
    else:
        data = xr.open_zarr(tmp_path / "x") if form == "zarr" else np.load(tmp_path / "x", allow_pickle=False)
        assert data["text"].shape == (3, 4)
        assert data["acoustic"].shape == (0, 3)
        assert np.isnan(np.asarray(data["text"])).all()


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_export_has_the_same_bytes(export, tmp_path, form):
    for name in ("one", "two"):
        write_export(export, tmp_path / name, form)
    one, two = (
        {str(p.relative_to(root)): p.read_bytes() for p in (root, *root.rglob("*")) if p.is_file()}
        for root in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two


def test_a_scheme_zarr_has_no_name_for_is_refused_there_and_written_elsewhere(export, tmp_path):
    odd = Export(samples=sample_table(people("a/b")), columns=export.columns, metadata={})
    with pytest.raises(ConfigError, match=r"'label_a/b'.*or write parquet"):
        write_export(odd, tmp_path / "x.zarr", "zarr")
    write_export(odd, tmp_path / "x.parquet", "parquet")
    write_export(odd, tmp_path / "x.npz", "npz")
    assert np.load(tmp_path / "x.npz", allow_pickle=False)["label_a/b"].tolist() == ["joy", "", "fear"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["root", "x.npz", "x.parquet"]


def test_a_scheme_with_a_blank_in_its_name_is_written_too(export, tmp_path):
    odd = Export(samples=sample_table(people("basic emotion")), columns=export.columns, metadata={})
    write_export(odd, tmp_path / "x.zarr", "zarr")
    assert xr.open_zarr(tmp_path / "x.zarr")["label_basic emotion"].values.tolist() == ["joy", "", "fear"]
