import os

import pytest

from corpora.folder import Folder, FolderConfig
from stores.errors import ConfigError, ManifestError

PATTERN = r"(?P<speaker>\w+)_(?P<emotion>\w+)_(?P<sentence>\d+)\.wav"
SETTINGS = {
    "name": "clips",
    "path": "in",
    "pattern": PATTERN,
    "labels": {"emotion": "emotion"},
    "groups": {"speaker": "speaker"},
}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "in"
    path.mkdir()
    for name in ("EB0_anger_1.wav", "EB0_joy_2.wav", "notes.txt", ".hidden_joy_3.wav"):
        (path / name).write_bytes(name.encode())
    return path


@pytest.fixture
def build(root, tmp_path):
    return lambda **settings: Folder(FolderConfig(**{**SETTINGS, **settings})).build(root, base=tmp_path)


def test_names_become_samples_and_the_rest_is_counted(folder, build):
    manifest = build()
    assert [s.id for s in manifest.samples] == ["clips/EB0_anger_1.wav", "clips/EB0_joy_2.wav"]
    first = manifest.samples[0]
    assert (first.audio, first.image, first.text) == (folder / "EB0_anger_1.wav", None, None)
    assert (first.labels, first.groups) == ({"emotion": "anger"}, {"speaker": "EB0"})
    assert manifest.dropped == {"name does not match": 1}


def test_building_again_finds_what_was_added_changed_and_deleted(folder, build):
    before = {s.id: s.key("speech") for s in build().samples}
    (folder / "EB0_anger_1.wav").unlink()
    (folder / "EB0_joy_2.wav").write_bytes(b"recorded again")
    (folder / "MK0_joy_1.wav").write_bytes(b"new")
    after = {s.id: s.key("speech") for s in build().samples}
    assert set(after) == {"clips/EB0_joy_2.wav", "clips/MK0_joy_1.wav"}
    assert after["clips/EB0_joy_2.wav"] != before["clips/EB0_joy_2.wav"]


def test_the_pattern_sees_the_whole_relative_path(folder, build):
    (folder / "joy").mkdir()
    (folder / "joy" / "7.png").write_bytes(b"face")
    manifest = build(pattern=r"(?P<emotion>\w+)/\d+\.png", medium="image", groups={})
    (sample,) = manifest.samples
    assert (sample.id, sample.image) == ("clips/joy/7.png", folder / "joy" / "7.png")
    assert manifest.dropped == {"name does not match": 3}


def test_a_pattern_that_tries_without_end_is_refused_by_name(folder, build):
    (folder / f"{'a' * 60}.png").write_bytes(b"face")
    with pytest.raises(ConfigError, match=r"pattern .* takes too long on 'aaaa.*it repeats what repeats"):
        build(pattern=r"(?P<emotion>(a|aa)+)\.wav", groups={})


def test_a_group_that_did_not_take_part_is_blank(folder, build):
    (sample,) = build(pattern=r"EB0_(?P<emotion>joy)_\d(?P<speaker>x)?\.wav").samples
    assert sample.groups == {}


def test_labels_are_mapped_and_dropped(folder, build):
    manifest = build(classes={"emotion": ("happiness",)}, label_map={"emotion": {"joy": "happiness", "anger": ""}})
    assert [s.labels["emotion"] for s in manifest.samples] == ["happiness"]
    assert manifest.dropped == {"name does not match": 1, "emotion anger dropped": 1}


def test_a_label_outside_the_classes_names_the_file(folder, build):
    with pytest.raises(ManifestError, match=r"clips/EB0_anger_1\.wav \('anger'\)"):
        build(classes={"emotion": ("joy",)})


def test_a_pattern_that_matches_nothing_shows_a_file(folder, build):
    with pytest.raises(ManifestError, match=r"none of the 3 files .* for instance 'EB0_anger_1\.wav'"):
        build(pattern=r"(?P<speaker>\d)(?P<emotion>\d)\.flac")


def test_a_missing_folder_is_named(build):
    with pytest.raises(ManifestError, match="no folder 'in'"):
        build()


def test_a_link_out_of_the_folder_is_refused(folder, build, tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"")
    (folder / "EB0_joy_9.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(ManifestError, match="leaves the corpus folder"):
        build()


def test_a_link_out_of_the_folder_is_followed_if_the_settings_say_so(folder, build, tmp_path):
    (tmp_path / "shared.wav").write_bytes(b"")
    (folder / "EB0_joy_9.wav").symlink_to(tmp_path / "shared.wav")
    assert build(outside=True).samples[-1].audio == tmp_path / "shared.wav"


def test_loops_pipes_and_names_that_are_no_text_stop_nothing(folder, build):
    before = build()
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "EB1_joy_1.wav").symlink_to(folder / "EB1_joy_1.wav")
    (folder / "again").symlink_to(folder)
    os.mkfifo(folder / "EB2_joy_1.wav")
    (folder / os.fsdecode(b"EB3\xff_joy_1.wav")).write_bytes(b"")
    after = build()
    assert after.samples == before.samples
    assert after.dropped == {**before.dropped, "name is not UTF-8": 1}


def test_a_name_the_pattern_lacks_is_refused_with_the_nearest(folder, build):
    with pytest.raises(ConfigError, match=r"labels\.emotion names column 'emotoin'.*did you mean 'emotion'"):
        build(labels={"emotion": "emotoin"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"medium": "text"}, "medium should be one of audio, image, video"),
        ({"pattern": "("}, "is not a regular expression"),
        ({"columns": {"audio": "speaker"}}, r"columns\.audio is the file itself"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings, message):
    with pytest.raises(ConfigError, match=message):
        FolderConfig(**{**SETTINGS, **settings})
