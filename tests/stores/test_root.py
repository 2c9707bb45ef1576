import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from stores.errors import DamagedError, ForeignError, StoreError
from stores.identity import canonical_json, fingerprint
from stores.root import Root


@pytest.fixture(params=["folder", "memory"])
def any_root(request, tmp_path):
    """A root in a folder, and one in an fsspec file system that is not a folder."""
    return Root(tmp_path / "root") if request.param == "folder" else Root(f"memory://{tmp_path.name}/root")


def test_what_was_put_is_read_back_listed_and_replaced(any_root):
    any_root.put(b"one", "a", "b.json")
    any_root.put(b"two", "a", "b.json")
    any_root.put(b"three", "a", "c.json")
    assert any_root.read("a", "b.json") == b"two"
    assert any_root.names("a") == ["b.json", "c.json"]
    assert any_root.exists("a/c.json")
    assert not any_root.exists("a/d.json")
    with any_root.open("a", "c.json") as file:
        assert file.read() == b"three"


def test_tables_come_back_with_their_metadata(any_root):
    table = pa.table({"key": ["é", None], "row": [1, 2]}).replace_schema_metadata({"affuse": "{}"})
    any_root.put_table(table, "t.parquet")
    found = any_root.read_table("t.parquet")
    assert found.equals(table)
    assert found.schema.metadata == {b"affuse": b"{}"}


def test_zarr_arrays_are_written_and_read(any_root):
    values = np.arange(12, dtype=np.float16).reshape(6, 2)
    group = zarr.create_group(any_root.zarr("p.zarr"), zarr_format=3)
    group.create_array("values", data=values, chunks=(2, 2), shards=(6, 2))
    any_root.flush("p.zarr")
    again = zarr.open_group(any_root.zarr("p.zarr"), mode="r")
    assert np.array_equal(again["values"][:], values)


def test_flushing_again_flushes_new_files_and_the_folders_they_are_new_in(root, monkeypatch):
    flushed = []
    monkeypatch.setattr("stores.root.sync", lambda path: flushed.append(str(path)))
    part, done = root.local("p"), set()
    (part / "c" / "0").mkdir(parents=True)
    (part / "c" / "0" / "0").write_bytes(b"first")
    root.flush("p", done=done)
    assert set(flushed) == {str(part), str(part / "c"), str(part / "c" / "0"), str(part / "c" / "0" / "0")}
    flushed.clear()
    (part / "c" / "1").mkdir()
    (part / "c" / "1" / "0").write_bytes(b"second")
    root.flush("p", done=done)
    assert set(flushed) == {str(part / "c"), str(part / "c" / "1"), str(part / "c" / "1" / "0")}
    flushed.clear()
    root.flush("p", done=done)
    assert flushed == []


def test_a_folder_that_does_not_exist_has_no_names(any_root):
    assert any_root.names("nowhere") == []


@pytest.mark.parametrize("parts", [("..",), ("a", "../../b"), ("/etc/passwd",), ("a", "/etc")])
def test_paths_that_leave_the_root_are_refused(any_root, parts):
    with pytest.raises(StoreError, match="leaves the root"):
        any_root.put(b"", *parts)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_that_is_listed(root):
    root.put(b"old", "a.json")
    with pytest.raises(TypeError):
        root.put("text, not bytes", "a.json")
    assert root.read("a.json") == b"old"
    assert root.names() == ["a.json"]


def test_an_object_store_has_no_local_path(root):
    assert root.local("a").parent.name == "root"
    with pytest.raises(StoreError, match="give --root a local folder"):
        Root("memory://bucket/root").local("a")


def test_the_default_is_the_variable_then_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFFUSE_ROOT", raising=False)
    assert Root().local("x") == tmp_path / "runs" / "x"
    monkeypatch.setenv("AFFUSE_ROOT", str(tmp_path / "elsewhere"))
    assert Root().local("x") == tmp_path / "elsewhere" / "x"


def test_a_relative_root_stays_where_it_was_when_the_process_moves(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    root = Root("here")
    monkeypatch.chdir("/")
    assert root.local("x") == tmp_path / "here" / "x"
    assert Root(root.address).local("x") == root.local("x")


DOCUMENT, TABLE = {"a": 1}, pa.table({"key": ["a"], "row": [1]})


@pytest.mark.parametrize("kind", ["json", "table"])
def test_what_was_written_to_another_place_is_refused_and_told_from_where(any_root, kind):
    put, read = (getattr(any_root, f"{verb}_{kind}") for verb in ("put", "read"))
    put(DOCUMENT if kind == "json" else TABLE, "one", "file")
    any_root.put(any_root.read("one", "file"), "two", "file")
    assert read("one", "file") == (DOCUMENT if kind == "json" else TABLE)
    with pytest.raises(ForeignError, match="two/file is another's: it was written as one/file"):
        read("two", "file")


def earlier(table):
    """The bytes of a table as versions before 2026-11-30 wrote it: signed by its names and metadata alone."""
    sink = pa.BufferOutputStream()
    digest = fingerprint([table.schema.names, {}]).encode()
    pq.write_table(table.replace_schema_metadata({"affuse_schema": digest}), sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def test_what_an_earlier_version_wrote_is_read_wherever_it_lies(any_root):
    plain = canonical_json({"a": 1, "digest": fingerprint({"a": 1})})
    any_root.put(plain.encode(), "old.json")
    any_root.put(earlier(TABLE), "old.parquet")
    assert any_root.read_json("old.json") == {"a": 1}
    assert any_root.read_table("old.parquet").equals(TABLE)


def test_the_type_of_a_column_is_under_the_digest(any_root):
    """Parquet holds signed and unsigned numbers alike: one byte of the footer says which they are."""
    kinds = {"int32": TABLE.set_column(1, "row", pa.array([-1], pa.int32())), "lists": pa.table({"row": [[1.5]]})}
    for name, table in kinds.items():
        any_root.put_table(table, name)
        assert any_root.read_table(name).equals(table)
    sink = pa.BufferOutputStream()
    stored = pq.read_table(pa.BufferReader(any_root.read("int32")))
    changed = stored.set_column(1, "row", pa.array([2**32 - 1], pa.uint32()))
    pq.write_table(changed.replace_schema_metadata(stored.schema.metadata), sink, write_page_checksum=True)
    any_root.put(sink.getvalue().to_pybytes(), "int32")
    with pytest.raises(DamagedError, match="its columns or metadata have changed"):
        any_root.read_table("int32")


def test_tables_of_another_kind_in_a_folder_are_passed_over(any_root, caplog):
    schema = pa.schema([("key", pa.string()), ("row", pa.int64()), ("later", pa.string())])
    any_root.put_table(TABLE, "own", "a.parquet")
    any_root.put_table(pa.table({"run_id": ["x"]}), "own", "b.parquet")
    any_root.put(any_root.read("own", "a.parquet"), "own", "c.parquet")
    any_root.put(b"notes", "own", "notes.csv")
    assert list(any_root.tables("own", schema)) == ["a.parquet"]
    told = [record.message for record in caplog.records]
    assert any("own/b.parquet has the columns run_id" in text for text in told)
    assert any("own/c.parquet is another's" in text for text in told)


DEEP = b'{"digest": "", "a": ' + b"[" * 900 + b"]" * 900 + b"}"


@pytest.mark.parametrize("content", [b"[" * 5000, b'{"a":' * 5000, b"[1]", b"{}", b"\xff", DEEP])
def test_what_is_no_json_of_ours_is_damaged_however_deep_it_is(any_root, content):
    any_root.put(content, "a.json")
    with pytest.raises(DamagedError, match=r"a\.json is not the JSON that was written"):
        any_root.read_json("a.json")
