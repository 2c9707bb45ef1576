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
    assert after.dropped == {
        **before.dropped,
        "name is not UTF-8": 1,
        "no file, or a link that leads nowhere": 3,
    }


@pytest.fixture
def elsewhere(folder, tmp_path):
    """A speaker's folder on another disk, linked into the corpus."""
    disk = tmp_path / "disk"
    (disk / "deep").mkdir(parents=True)
    for name in ("BEN_joy_1.wav", "deep/BEN_anger_2.wav"):
        (disk / name).write_bytes(name.encode())
    (folder / "ben").symlink_to(disk)
    return disk


ANYWHERE = r"(.*/)?(?P<speaker>\w+)_(?P<emotion>\w+)_(?P<sentence>\d+)\.wav"


def test_files_of_a_linked_folder_take_part_if_the_settings_say_so(elsewhere, folder, build):
    manifest = build(pattern=ANYWHERE, outside=True)
    assert [(s.id, s.audio) for s in manifest.samples[2:]] == [
        ("clips/ben/BEN_joy_1.wav", elsewhere / "BEN_joy_1.wav"),
        ("clips/ben/deep/BEN_anger_2.wav", elsewhere / "deep" / "BEN_anger_2.wav"),
    ]


def test_a_linked_folder_that_leaves_is_refused_by_name(elsewhere, build):
    with pytest.raises(ManifestError, match=r"a linked folder: path 'ben' leaves the corpus folder .*outside = true"):
        build(pattern=ANYWHERE)


def test_a_linked_folder_inside_is_a_folder_like_others(folder, build):
    (folder / "pool").mkdir()
    (folder / "pool" / "1.wav").write_bytes(b"")
    (folder / "joy").symlink_to(folder / "pool")
    manifest = build(pattern=r"(?P<emotion>joy|anger)/\d+\.wav", groups={})
    assert [(s.id, s.audio) for s in manifest.samples] == [("clips/joy/1.wav", folder / "pool" / "1.wav")]


@pytest.mark.parametrize("outside", [False, True])
def test_folders_that_are_linked_into_each_other_come_to_an_end(folder, build, outside):
    names = [f"f{number}" for number in range(12)]
    for name in names:
        (folder / name).mkdir()
        (folder / name / f"{name}_joy_1.wav").write_bytes(b"")
    for name in names:
        for other in names:
            (folder / name / f"to_{other}").symlink_to(folder / other)
    manifest = build(pattern=ANYWHERE, outside=outside)
    assert {f"clips/{name}/{name}_joy_1.wav" for name in names} <= {s.id for s in manifest.samples}
    assert {s.groups["speaker"] for s in manifest.samples} == {*names, "EB0"}


def test_a_link_to_a_disk_that_is_not_there_is_counted(elsewhere, folder, build, tmp_path):
    elsewhere.rename(tmp_path / "unmounted")
    assert build().dropped == {"name does not match": 1, "no file, or a link that leads nowhere": 1}


def test_decomposed_names_on_disk_match_composed_patterns_and_the_other_way_round(folder, build):
    decomposed = "Rene\u0301e_joy_1.wav"
    (folder / decomposed).write_bytes(b"")
    for pattern in ("(?P<speaker>Ren\u00e9e)_(?P<emotion>.+)_1.wav", "(?P<speaker>Rene\u0301e)_(?P<emotion>.+)_1.wav"):
        (sample,) = build(pattern=pattern).samples
        assert (sample.id, sample.groups["speaker"]) == ("clips/Ren\u00e9e_joy_1.wav", "Ren\u00e9e")
        assert (sample.audio, sample.audio.is_file()) == (folder / decomposed, True)


def test_two_files_whose_names_become_one_are_named(folder, build):
    for name in ("Rene\u0301e_joy_1.wav", "Ren\u00e9e_joy_1.wav"):
        (folder / name).write_bytes(b"")
    with pytest.raises(ManifestError, match="duplicate id: clips/Ren\u00e9e_joy_1"):
        build()


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
