from dataclasses import replace
from pathlib import Path

import pytest

from stores.errors import ManifestError, MediaError, NotFound
from stores.manifest import Manifest
from stores.samples import Sample

FULL = Sample(
    id="c/1",
    corpus="c",
    text="It’s fine",
    audio=Path("/data/c/audio/1.wav"),
    image=Path("/data/c/faces/1.png"),
    start_ms=0,
    end_ms=1500,
    split="encoder",
    labels={"emotion": "joy", "sentiment": "positive"},
    scores={"valence": 0.25},
    groups={"speaker": "S1", "dialogue": "d1"},
    gender="female",
    age="34",
    culture="PL",
)
BARE = Sample(id="c/2", corpus="c", text="", labels={"emotion": "anger"})


def manifest(*samples, **settings):
    labels = {"emotion": ("joy", "anger"), "sentiment": ("negative", "positive")}
    return Manifest(**{"name": "c", "samples": samples or (FULL, BARE), "labels": labels, **settings})


def test_a_manifest_survives_saving(root):
    full = manifest(
        pairing="composed",
        source="somewhere",
        licence="CC0-1.0",
        dropped={"bored": 3},
        notes={"planted": {"text": ["neutral"]}},
    )
    full.save(root)
    assert Manifest.load(root, "c") == full


def test_samples_without_media_survive_saving(root):
    manifest(BARE).save(root)
    assert Manifest.load(root, "c").samples == (BARE,)


def test_stored_columns_are_those_of_the_design_and_media_are_relative(root):
    manifest().save(root)
    table = root.read_table("manifests", "c.parquet")
    assert table.column_names == [
        "id", "corpus", "text", "audio", "image", "video", "start_ms", "end_ms", "split",
        "label_emotion", "label_sentiment", "score_valence", "group_dialogue", "group_speaker",
        "gender", "age", "culture",
    ]  # fmt: skip
    assert table["audio"].to_pylist() == ["audio/1.wav", None]


def test_counts_follow_the_order_of_the_classes():
    counts = manifest(FULL, BARE, replace(BARE, id="c/3")).counts("emotion")
    assert list(counts.items()) == [("joy", 1), ("anger", 2)]


@pytest.mark.parametrize(
    ("samples", "settings", "message"),
    [
        ((), {"samples": ()}, "corpus c has no samples"),
        ((BARE, BARE), {}, "duplicate id: c/2; make every id unique"),
        ((replace(BARE, split="dev"),), {}, "unknown split: dev; use one of train, val, test, encoder"),
        ((replace(BARE, labels={"emotion": "happy"}),), {}, r"label outside the list: c/2 \('happy'\).*joy, anger"),
        ((), {"pairing": "guessed"}, "pairing should be one of recorded, composed, synthetic"),
    ],
)
def test_a_manifest_that_breaks_its_contract_is_refused(samples, settings, message):
    with pytest.raises(ManifestError, match=message):
        manifest(*samples, **settings)


def test_an_error_names_five_rows_and_counts_the_rest():
    wrong = [replace(BARE, id=f"c/{n}", labels={"emotion": "happy"}) for n in range(8)]
    with pytest.raises(ManifestError, match=r"c/0 .*c/4 \('happy'\) and 3 more"):
        manifest(*wrong)


def test_an_unknown_name_is_refused(root):
    with pytest.raises(NotFound, match="no manifest 'none'"):
        Manifest.load(root, "none")


@pytest.mark.parametrize("path", ["../b.wav", "a/../../b.wav", "/etc/passwd"])
def test_a_stored_path_that_leaves_its_folder_is_refused(root, path):
    manifest().save(root)
    table = root.read_table("manifests", "c.parquet")
    changed = table.set_column(table.column_names.index("audio"), "audio", [[path, None]])
    root.put_table(changed.replace_schema_metadata(table.schema.metadata), "manifests", "c.parquet")
    with pytest.raises(ManifestError, match=r"stored media path .* leaves .*: build the manifest again"):
        Manifest.load(root, "c")


def test_speech_and_image_fall_back_to_the_video():
    video = Sample(id="c/1", corpus="c", video=Path("v.mp4"), start_ms=5, end_ms=9)
    assert [video.medium(m) for m in ("text", "speech", "image")] == [None, Path("v.mp4"), Path("v.mp4")]
    assert [video.segment(m) for m in ("text", "speech", "image")] == [(None, None), (5, 9), (5, 9)]
    still = replace(video, image=Path("i.png"), audio=Path("a.wav"))
    assert [still.medium(m) for m in ("speech", "image")] == [Path("a.wav"), Path("i.png")]
    assert [still.segment(m) for m in ("speech", "image")] == [(5, 9), (None, None)]


def test_a_key_is_of_the_content_and_follows_a_change(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    sample = Sample(id="c/1", corpus="c", audio=path)
    before = sample.key("speech")
    assert replace(sample, id="c/2", labels={"emotion": "joy"}).key("speech") == before
    assert replace(sample, start_ms=0, end_ms=10).key("speech") != before
    path.write_bytes(b"other")
    assert sample.key("speech") != before


@pytest.mark.parametrize(
    ("settings", "modality", "reason"),
    [
        ({"text": " \n"}, "text", "empty_text"),
        ({"audio": Path("/nowhere/a.wav")}, "speech", "missing_file"),
        ({"image": Path("/")}, "image", "unreadable_file"),
    ],
)
def test_what_cannot_be_read_has_no_key(settings, modality, reason):
    with pytest.raises(MediaError) as caught:
        Sample(id="c/1", corpus="c", **settings).key(modality)
    assert (caught.value.reason, caught.value.stage) == (reason, "read")
