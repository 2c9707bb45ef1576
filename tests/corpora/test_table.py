import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.table import Table, TableConfig
from stores.errors import ConfigError, ManifestError, MediaError
from stores.manifest import Manifest

HEADER = ("id", "path", "words", "label", "speaker")


@pytest.fixture
def build(root, tmp_path):
    def build_table(path="samples.csv", **settings):
        settings = {"columns": {"id": "id", "text": "words"}, "labels": {"emotion": "label"}, **settings}
        return Table(TableConfig(name="tiny", path=path, **settings)).build(root, base=tmp_path)

    return build_table


def test_columns_become_samples(write_csv, build, tmp_path):
    write_csv(
        (*HEADER, "part", "sex", "from", "to", "joyful"),
        ("a", "x/a.wav", "Hi", "happy", "S1", "dev", "f", "0", "1500", "0.5"),
    )
    columns = {"id": "id", "text": "words", "audio": "path", "split": "part", "gender": "sex"}
    manifest = build(
        columns={**columns, "start_ms": "from", "end_ms": "to"},
        classes={"emotion": ("joy", "anger")},
        label_map={"emotion": {"happy": "joy"}},
        groups={"speaker": "speaker"},
        scores={"joy": "joyful"},
        split_map={"dev": "test"},
        source="somewhere",
        licence="CC0-1.0",
    )
    (sample,) = manifest.samples
    assert (sample.id, sample.corpus, sample.text) == ("tiny/a", "tiny", "Hi")
    assert sample.audio == tmp_path / "x" / "a.wav"
    assert (sample.split, sample.gender, sample.start_ms, sample.end_ms) == ("test", "f", 0, 1500)
    assert (sample.labels, sample.groups, sample.scores) == ({"emotion": "joy"}, {"speaker": "S1"}, {"joy": 0.5})
    assert (manifest.labels, manifest.pairing) == ({"emotion": ("joy", "anger")}, "recorded")
    assert (manifest.source, manifest.licence, manifest.dropped) == ("somewhere", "CC0-1.0", {})


def test_classes_left_out_are_the_labels_found_in_sorted_order(write_csv, build):
    write_csv(HEADER, ("a", "", "x", "joy", ""), ("b", "", "y", "anger", ""), ("c", "", "z", "joy", ""))
    assert build().labels == {"emotion": ("anger", "joy")}


def test_rows_dropped_by_label_and_by_selection_are_counted(write_csv, build):
    write_csv(
        HEADER,
        ("a", "", "x", "joy", "S1"),
        ("b", "", "y", "bored", "S1"),
        ("c", "", "z", "joy", "S2"),
        ("d", "", "w", "joy", "S3"),
    )
    manifest = build(label_map={"emotion": {"bored": ""}}, where={"speaker": ("S1", "S3")})
    assert [sample.id for sample in manifest.samples] == ["tiny/a", "tiny/d"]
    assert manifest.dropped == {"emotion bored dropped": 1, "not selected by speaker": 1}


def test_blank_cells_are_absent(write_csv, build):
    write_csv(HEADER, ("a", "", " ", "", ""), ("b", "b.wav", "Hi", "joy", "S1"))
    sample = build(columns={"id": "id", "text": "words", "audio": "path"}, groups={"speaker": "speaker"}).samples[0]
    assert (sample.text, sample.audio, sample.labels, sample.groups) == (None, None, {}, {})


def test_a_blank_text_stays_if_text_is_all_there_is_and_has_no_key(write_csv, build):
    write_csv(HEADER, ("a", "", " ", "joy", ""))
    (sample,) = build().samples
    assert sample.text == ""
    with pytest.raises(MediaError) as caught:
        sample.key("text")
    assert caught.value.reason == "empty_text"


def test_limit_keeps_the_same_rows_of_each_class_in_any_order(write_csv, build):
    rows = [(f"{number}", "", f"t{number}", ("joy", "anger", "fear")[number % 3], "") for number in range(30)]
    write_csv(HEADER, *rows)
    first = build(limit=4)
    write_csv(HEADER, *reversed(rows))
    second = build(limit=4)
    assert first.counts("emotion") == {"anger": 4, "fear": 4, "joy": 4}
    assert {s.id for s in first.samples} == {s.id for s in second.samples}
    assert {s.id for s in first.samples} != {s.id for s in build(limit=4, seed=1).samples}
    assert first.dropped == {"over the limit of 4 a class": 18}


def test_parquet_and_tsv_give_the_same_as_csv(write_csv, build, tmp_path):
    write_csv(HEADER, ("1", "", "it’s", "joy", ""), ("2", "", "b\u00e9", "anger", "S"))
    (tmp_path / "t.tsv").write_text(
        "id\tpath\twords\tlabel\tspeaker\n1\t\tit’s\tjoy\t\n2\t\tb\u00e9\tanger\tS\n", "utf-8"
    )
    cells = {
        "id": [1, 2],
        "path": [None, None],
        "words": ["it’s", "b\u00e9"],
        "label": ["joy", "anger"],
        "speaker": [None, "S"],
    }
    pq.write_table(pa.table(cells), tmp_path / "t.parquet")
    assert build().samples == build("t.tsv").samples == build("t.parquet").samples


def test_missing_numbers_in_parquet_are_blank(build, tmp_path):
    pq.write_table(
        pa.table({"id": ["a"], "words": ["x"], "label": ["joy"], "score": [math.nan]}), tmp_path / "t.parquet"
    )
    assert build("t.parquet", scores={"joy": "score"}).samples[0].scores == {}


def test_a_corpus_column_names_the_corpus_of_each_sample(write_csv, build):
    write_csv(HEADER, ("a", "", "x", "joy", "meld"))
    (sample,) = build(columns={"id": "id", "text": "words", "corpus": "speaker"}).samples
    assert (sample.id, sample.corpus) == ("meld/a", "meld")


def test_media_lie_in_the_media_folder(write_csv, build, tmp_path):
    write_csv(HEADER, ("a", "a.wav", "", "joy", ""))
    (sample,) = build(columns={"id": "id", "audio": "path"}, media_folder="../media").samples
    assert sample.audio == tmp_path.parent / "media" / "a.wav"


@pytest.mark.parametrize("path", ["../a.wav", "/etc/passwd", "x/../../a.wav"])
def test_a_path_that_leaves_the_folder_is_refused_by_row(write_csv, build, path):
    write_csv(HEADER, ("a", path, "", "joy", ""))
    with pytest.raises(ManifestError, match=r"samples.csv, row 2: path .* leaves the corpus folder"):
        build(columns={"id": "id", "audio": "path"})


def test_a_link_that_leaves_the_folder_is_refused(write_csv, build, tmp_path):
    write_csv(HEADER, ("a", "link.wav", "", "joy", ""))
    (tmp_path / "link.wav").symlink_to("/etc/hostname")
    with pytest.raises(ManifestError, match="leaves the corpus folder"):
        build(columns={"id": "id", "audio": "path"})


def test_paths_may_leave_the_folder_if_the_settings_say_so(write_csv, build, tmp_path):
    write_csv(HEADER, ("a", "../a.wav", "", "", ""), ("b", "/data/b.wav", "", "", ""), ("c", "link.wav", "", "", ""))
    (tmp_path / "link.wav").symlink_to("/data/c.wav")
    manifest = build(columns={"id": "id", "audio": "path"}, outside=True)
    wanted = [tmp_path.parent / "a.wav", Path("/data/b.wav"), Path("/data/c.wav")]
    assert [sample.audio for sample in manifest.samples] == wanted


def test_an_outside_manifest_survives_saving(write_csv, build, root):
    write_csv(HEADER, ("a", "../a.wav", "", "", ""), ("b", "/data/b.wav", "", "", ""))
    manifest = build(columns={"id": "id", "audio": "path"}, outside=True)
    manifest.save(root)
    assert Manifest.load(root, "tiny").samples == manifest.samples


@pytest.mark.parametrize("path", ["no\0name.wav", "loop.wav", "loop/a.wav", "n" * 5000])
def test_a_path_that_can_never_be_opened_is_a_sample_and_its_row_a_failure(write_csv, build, tmp_path, path):
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    write_csv(HEADER, ("a", path, "", "joy", ""))
    [sample] = build(columns={"id": "id", "audio": "path"}).samples
    with pytest.raises(MediaError) as caught:
        sample.key("speech")
    assert (caught.value.reason, caught.value.stage) == ("unreadable_file", "read")


def test_a_label_outside_the_classes_names_the_rows_and_the_way_out(write_csv, build):
    write_csv(HEADER, ("a", "", "x", "joy", ""), ("b", "", "y", "happy", ""))
    with pytest.raises(ManifestError, match=r"tiny/b \('happy'\).*classes of emotion are joy.*map or drop"):
        build(classes={"emotion": ("joy",)})


def test_duplicate_ids_are_refused_by_name(write_csv, build):
    write_csv(HEADER, ("a", "", "x", "joy", ""), ("a", "", "y", "joy", ""))
    with pytest.raises(ManifestError, match="duplicate id: tiny/a"):
        build()


def test_an_unknown_column_names_the_nearest(write_csv, build):
    write_csv(HEADER, ("a", "", "x", "joy", ""))
    with pytest.raises(ConfigError, match=r"groups\.speaker names column 'speakr'.*did you mean 'speaker'"):
        build(groups={"speaker": "speakr"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no rows"),
        (b"id,words,label\n", "has no rows"),
        (b"id,words,words\na,x,y\n", "two columns named 'words'"),
        (b"id,words,label\na,x\n", "row 2: expected 3 cells as in the header, got 2"),
        (b"id,words,label\na,x,joy,more\n", "row 2: expected 3 cells as in the header, got 4"),
        (b"id,words,label\na,caf\xe9,joy\n", "is not UTF-8"),
        (b'id,words,label\na,"x,joy\n', "unexpected end of data"),
        (b"id,words,label\n,x,joy\n", "row 2: column 'id' is blank"),
    ],
)
def test_a_broken_file_says_what_and_where(build, tmp_path, content, message):
    (tmp_path / "samples.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        build()


def test_a_file_that_is_no_parquet_is_refused(build, tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    with pytest.raises(ManifestError, match=r"t\.parquet is not a Parquet file"):
        build("t.parquet")


def test_a_missing_table_names_path_and_folder(build):
    with pytest.raises(ManifestError, match=r"no table 'nowhere\.csv'"):
        build("nowhere.csv")


def test_nothing_left_says_what_was_left_out(write_csv, build):
    write_csv(HEADER, ("a", "", "x", "joy", "S1"))
    with pytest.raises(ManifestError, match=r"no samples left of 1 rows; left out: 1 \(not selected by speaker\)"):
        build(where={"speaker": "S9"})


@pytest.mark.parametrize(
    ("start", "end"), [("x", "2"), ("-1", "2"), ("0.5", "2"), ("3", "3"), ("inf", ""), ("nan", "")]
)
def test_times_that_are_none_are_refused(write_csv, build, start, end):
    write_csv((*HEADER, "from", "to"), ("a", "", "x", "joy", "", start, end))
    with pytest.raises(ManifestError, match="row 2"):
        build(columns={"id": "id", "text": "words", "start_ms": "from", "end_ms": "to"})


def test_a_score_that_is_no_number_is_refused(write_csv, build):
    write_csv(HEADER, ("a", "", "x", "joy", "loud"))
    with pytest.raises(ManifestError, match="row 2: speaker should be a number, got 'loud'"):
        build(scores={"joy": "speaker"})


def test_an_unknown_split_is_refused(write_csv, build):
    write_csv(HEADER, ("a", "", "x", "joy", "dev"))
    with pytest.raises(ManifestError, match="unknown split: dev"):
        build(columns={"id": "id", "text": "words", "split": "speaker"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"text": "words"}}, "columns needs id"),
        ({"columns": {"id": "id"}}, "at least one of text, audio, image, video"),
        ({"columns": {"id": "id", "txt": "words"}}, "did you mean 'text'"),
        ({"path": "a.xlsx"}, r"should end in \.csv"),
        ({"classes": {"mood": ("joy",)}}, "scheme 'mood' has classes or a label_map but no column"),
        ({"classes": {"emotion": ("joy",)}, "label_map": {"emotion": {"a": "joi"}}}, "maps to 'joi'"),
        ({"limit": 0}, "limit should be at least 1"),
        ({"pairing": "guessed"}, "pairing should be one of"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings, message):
    given = {"path": "t.csv", "columns": {"id": "id", "text": "words"}, "labels": {"emotion": "label"}, **settings}
    with pytest.raises(ConfigError, match=message):
        TableConfig(name="tiny", **given)
