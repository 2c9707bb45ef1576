"""Tables as other programs write them: types of Parquet, habits of Excel, names spelled in two ways, and sizes."""

import datetime
import decimal
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.table import Table, TableConfig
from stores.errors import ConfigError, ManifestError, MediaError

HEADER = ("id", "words", "label", "speaker")


@pytest.fixture
def build(root, tmp_path):
    def build_table(path="samples.csv", **settings):
        settings = {"columns": {"id": "id", "text": "words"}, "labels": {"emotion": "label"}, **settings}
        return Table(TableConfig(name="tiny", path=path, **settings)).build(root, base=tmp_path)

    return build_table


@pytest.fixture
def group_of(build, tmp_path):
    """Return the group that a column of a Parquet file gives the first of its samples, '' if none."""

    def group(column):
        n = len(column)
        cells = {"id": [f"a{i}" for i in range(n)], "words": ["x"] * n, "label": ["joy"] * n, "speaker": column}
        pq.write_table(pa.table(cells), tmp_path / "t.parquet")
        return build("t.parquet", groups={"speaker": "speaker"}).samples[0].groups.get("speaker", "")

    return group


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (pa.array([b"S1"], pa.binary()), "S1"),
        (pa.array(["Jos\u00e9".encode()], pa.large_binary()), "Jos\u00e9"),
        (pa.array([b"S1"], pa.binary(2)), "S1"),
        (pa.array([b"S1\x00\x00"], pa.binary(4)), "S1"),
        (pa.array(["S1"], pa.large_string()), "S1"),
        (pa.array(["S1"]).dictionary_encode(), "S1"),
        (pa.array([b"S1", None]).dictionary_encode(), "S1"),
        (pa.array([None, "S1"]).dictionary_encode(), ""),
        (pa.array([7], pa.uint8()), "7"),
        (pa.array([-7]).dictionary_encode(), "-7"),
        (pa.array([1.0, None]), "1"),
        (pa.array([1.5], pa.float32()), "1.5"),
        (pa.array([np.float16(2.0)], pa.float16()), "2"),
        (pa.array([-0.0]), "0"),
        (pa.array([1e300]), "1e+300"),
        (pa.array([float("nan"), 1.0]), ""),
        (pa.array([None], pa.null()), ""),
        (pa.array([True]), "True"),
        (pa.array([decimal.Decimal("1.50")]), "1.50"),
        (pa.array([datetime.date(2024, 1, 2)]), "2024-01-02"),
        (pa.array([datetime.datetime(2024, 1, 2, 3)], pa.timestamp("ns")), "2024-01-02 03:00:00"),
        (pa.array([None], pa.timestamp("ns")), ""),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_what_a_cell_of_each_type_becomes(group_of, column, name):
    assert group_of(column) == name


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([["a", "b"]]), "list<"),
        (pa.array([{"name": "a"}]), "struct<"),
        (pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string())), "map<string, string"),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), "fixed_size_list<"),
        (pa.array([b"caf\xe9"]), "binary"),
        (pa.array([b"caf\xe9"]).dictionary_encode(), "binary"),
        (pa.array([2**62], pa.timestamp("us")), "timestamp[us]"),
    ],
    ids=["list", "struct", "map", "vector", "bytes", "dictionary of bytes", "time beyond the calendar"],
)
def test_what_is_no_name_is_refused_by_column_and_type_if_it_is_asked_for(build, tmp_path, column, kind):
    cells = {"id": ["a"], "words": ["x"], "label": ["joy"], "extra": column}
    pq.write_table(pa.table(cells), tmp_path / "t.parquet")
    assert build("t.parquet").samples[0].text == "x"
    with pytest.raises(ManifestError) as caught:
        build("t.parquet", groups={"speaker": "extra"})
    assert f"t.parquet: column 'extra' holds {kind}" in str(caught.value)


def test_two_columns_of_one_name_are_refused_in_parquet_too(build, tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"])] * 4, names=["id", "words", "label", "label "])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(ManifestError, match="two columns named 'label'"):
        build("t.parquet")


def test_whatever_bit_of_a_parquet_file_is_wrong_it_is_read_or_refused(build, tmp_path):
    path = tmp_path / "t.parquet"
    table = pa.table({"id": ["a", "b"], "words": ["x", "y"], "label": ["joy", "anger"]})
    pq.write_table(table, path, write_page_checksum=True)
    whole, sound = path.read_bytes(), build("t.parquet").samples
    rng = np.random.default_rng(0)
    refused = 0
    for place, bit in zip(rng.integers(len(whole), size=400), rng.integers(8, size=400), strict=True):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            samples = build("t.parquet").samples
        except (ManifestError, ConfigError):  # ConfigError: the column has another name now
            refused += 1
        else:
            assert samples == sound
    assert refused > 100


def test_rows_of_later_batches_are_named_by_their_number(build, tmp_path):
    n = 9_000
    cells = {"id": [f"a{i}" for i in range(n - 1)] + ["a0"], "words": ["x"] * n, "label": ["joy"] * n}
    pq.write_table(pa.table(cells), tmp_path / "t.parquet")
    with pytest.raises(ManifestError, match=r"duplicate id: tiny/a0 \(t.parquet, row 1, and t.parquet, row 9000\)"):
        build("t.parquet")


def test_a_small_file_that_claims_many_rows_is_refused_before_it_is_read(build, tmp_path):
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3_000_000, "i4")), pa.array(["x"]))
    pq.write_table(pa.table({"id": one, "words": one, "label": one}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 50_000
    before = pa.total_allocated_bytes()
    with pytest.raises(ManifestError, match=r"t\.parquet has 3,000,000 rows; expected at most 500,000"):
        build("t.parquet")
    assert pa.total_allocated_bytes() - before < 10_000_000


def test_a_small_file_whose_cells_are_long_is_refused_and_nothing_of_it_is_copied(build, tmp_path):
    n = 100_000
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, "i4")), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"id": np.arange(n), "words": text, "label": ["joy"] * n}), tmp_path / "t.parquet")
    with pytest.raises(ManifestError, match=r"characters in the columns it names; expected at most 100,000,000"):
        build("t.parquet")


def test_a_page_that_unfolds_beyond_the_limit_is_refused_only_if_it_is_read(build, tmp_path, monkeypatch):
    monkeypatch.setattr("corpora.table._MOST_SIZE", 1_000_000)
    cells = {"id": ["a"], "words": ["x"], "label": ["joy"], "long": ["x" * 1_001_000]}
    pq.write_table(pa.table(cells), tmp_path / "t.parquet", compression="zstd")
    assert build("t.parquet").samples[0].text == "x"
    with pytest.raises(ManifestError, match=r"has 1,001,.* characters"):
        build("t.parquet", columns={"id": "id", "text": "long"})


def test_a_csv_of_too_many_rows_is_refused_where_it_is_too_long(build, tmp_path, monkeypatch):
    monkeypatch.setattr("corpora.table._MOST_ROWS", 2)
    (tmp_path / "samples.csv").write_text("id,words,label\n" + "".join(f"{i},x,joy\n" for i in range(5)), "utf-8")
    with pytest.raises(ManifestError, match=r"samples\.csv has 3 rows; expected at most 2"):
        build()


def test_a_long_text_is_one_sample_and_one_too_long_is_a_failure_of_its_own(write_csv, build):
    write_csv(HEADER, ("a", "and so on " * 14_000, "joy", ""), ("b", "x" * 1_000_001, "joy", ""), ("c", "x", "joy", ""))
    first, second, third = build().samples
    assert (len(first.text), third.text) == (140_000, "x")
    first.key("text")
    with pytest.raises(MediaError) as caught:
        second.key("text")
    assert caught.value.reason == "too_large"


ROWS = "id,words,label\r\n1,x,joy\r\n2,y,anger\r\n"


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        "\ufeff" + ROWS,
        ROWS.replace("\r\n", "\r"),
        ROWS + ",,\r\n,,\r\n",
        ROWS + " ,\u00a0,\r\n",
        ROWS + ",,,,\r\n,\r\n",
        ROWS + "\x1a",
        ROWS + "\x1a\r\n",
        ROWS.replace("\r\n", ",,\r\n"),
        ROWS.replace("\r\n", ",\r\n"),
        "".join(f",{line},\r\n" for line in ROWS.split()),
        ROWS.replace("joy", "joy,,"),
        ",,\r\n\r\n" + ROWS,
        "sep=,\r\n" + ROWS,
        '"sep=,"\r\n' + ROWS,
        "sep=|\r\n" + ROWS.replace(",", "|"),
        "sep=;\r\n" + ROWS.replace(",", ";"),
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace("id,words,label", " id, words ,label\u00a0"),
        '"id";"words";"label"\r\n"1";"x";"joy"\r\n"2";"y";"anger"\r\n',
        ROWS + "\r\n\r\n",
    ],
)
def test_habits_of_excel_change_nothing(build, tmp_path, content):
    (tmp_path / "samples.csv").write_bytes(content.encode())
    samples = build().samples
    assert [(s.id, s.text, s.labels["emotion"]) for s in samples] == [("tiny/1", "x", "joy"), ("tiny/2", "y", "anger")]


def test_the_header_decides_what_stands_between_cells(build, tmp_path):
    (tmp_path / "samples.csv").write_text("id;words;label\n1;so, well\t;joy\n", "utf-8")
    assert build().samples[0].text == "so, well\t"
    (tmp_path / "t.tsv").write_text("id,words,label\n1,x,joy\n", "utf-8")
    assert build("t.tsv").samples[0].labels == {"emotion": "joy"}


def test_rows_keep_their_numbers_behind_what_is_passed_over(build, tmp_path):
    (tmp_path / "samples.csv").write_text("sep=,\n,,\nid,words,label\n,,\n,x,joy\n", "utf-8")
    with pytest.raises(ManifestError, match="row 5: column 'id' is blank"):
        build()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "id,words,label,,\na,x,joy,y,z\n",
            "row 2: expected 5 cells as in the header, got 5: .* every column has a name",
        ),
        ("id,words,label,\na,x,joy,y,z\n", "row 2: expected 4 cells as in the header, got 5"),
        ("id,words,label,label \na,x,joy,\n", "two columns named 'label'"),
        ("x\n", "columns.id names column 'id'"),
        (",,\n,,\n", "has no rows"),
    ],
)
def test_what_is_no_habit_is_refused(build, tmp_path, content, message):
    (tmp_path / "samples.csv").write_text(content, "utf-8")
    with pytest.raises((ManifestError, ConfigError), match=message):
        build()


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_is_refused_with_what_to_do(build, tmp_path, encoding):
    (tmp_path / "samples.csv").write_bytes("id,words,label\na,w\u00f6rter,joy\n".encode(encoding))
    with pytest.raises(ManifestError, match=r"samples\.csv is not UTF-8 .*: save it as UTF-8"):
        build()


def test_one_name_spelled_in_several_ways_is_one_in_every_role(write_csv, build):
    nfd = unicodedata.normalize("NFD", "Ren\u00e9e")
    write_csv(
        HEADER,
        ("1", "x", "joy", "Ren\u00e9e"),
        (" 2", "y", "joy\u00a0", f"{nfd} "),
        ("3\u200b", "z", "dropped ", "\ufeffRen\u00e9e"),
    )
    manifest = build(
        groups={"speaker": "speaker"},
        columns={"id": " id", "text": "words", "split": "label"},
        label_map={"emotion": {"joy ": "happiness\u00a0", "dropped": ""}},
        classes={"emotion": (" happiness", "anger")},
        split_map={" joy": "train "},
        where={"speaker": nfd},
    )
    assert [s.id for s in manifest.samples] == ["tiny/1", "tiny/2"]
    assert {s.groups["speaker"] for s in manifest.samples} == {"Ren\u00e9e"}
    assert (manifest.samples[1].labels, manifest.samples[1].split) == ({"emotion": "happiness"}, "train")
    assert (manifest.labels, manifest.dropped) == (
        {"emotion": ("happiness", "anger")},
        {"emotion dropped dropped": 1},
    )


def test_an_utterance_keeps_its_blanks(write_csv, build):
    write_csv(HEADER, ("1", " well ", "joy", ""))
    assert build().samples[0].text == " well "


def test_two_ids_that_become_one_name_both_rows(write_csv, build):
    write_csv(HEADER, ("a", "x", "joy", ""), ("b", "x", "joy", ""), ("a ", "y", "joy", ""))
    with pytest.raises(ManifestError, match=r"duplicate id: tiny/a \(samples.csv, row 2, and samples.csv, row 4\)"):
        build()


@pytest.mark.parametrize("path", ["C:\\clips\\a.wav", "d:/clips/a.wav", "\\\\server\\share\\a.wav"])
@pytest.mark.parametrize("outside", [False, True])
def test_a_path_of_another_machine_is_refused_by_row(write_csv, build, path, outside):
    write_csv(HEADER, ("a", path, "joy", ""))
    with pytest.raises(ManifestError, match=r"samples.csv, row 2: path .* is on a Windows drive or share"):
        build(columns={"id": "id", "audio": "words"}, outside=outside)


def test_backslashes_are_folders_where_no_such_file_exists(write_csv, build, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.wav").write_bytes(b"")
    write_csv(HEADER, ("a", "clips\\a.wav", "joy", ""), ("b", "clips\\b.wav", "joy", ""))
    found, missing = build(columns={"id": "id", "audio": "words"}).samples
    assert found.audio == tmp_path / "clips" / "a.wav"
    assert missing.audio == Path(tmp_path / "clips\\b.wav")
