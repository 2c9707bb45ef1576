import csv

import pytest

from corpora.composed import Composed, ComposedConfig
from stores.errors import ConfigError, ManifestError

CLASSES = ("joy", "anger")


@pytest.fixture
def sources(tmp_path):
    """Write 40 dialogue lines (20 dialogues of one joy and one anger) and 24 clips of 6 speakers."""
    with (tmp_path / "lines.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("id", "words", "label", "dialogue", "scene", "part"))
        for n in range(40):
            part = "train" if n < 28 else "test"
            lines.writerow((f"t{n}", f"words {n}", CLASSES[n % 2], f"d{n // 2}", f"s{n % 4}", part))
    (tmp_path / "clips").mkdir()
    for speaker in range(6):
        for n in range(4):
            name = f"p{speaker}_{CLASSES[n % 2]}_{n}.wav"
            (tmp_path / "clips" / name).write_bytes(name.encode())
    return tmp_path


def text_part(**settings):
    columns = {"id": "id", "text": "words", "split": "part"}
    table = {"kind": "table", "path": "lines.csv", "columns": columns, "labels": {"emotion": "label"}}
    return {**table, "groups": {"dialogue": "dialogue"}, **settings}


def speech_part(**settings):
    folder = {"kind": "folder", "path": "clips", "pattern": r"(?P<speaker>p\d)_(?P<emotion>\w+)_\d\.wav"}
    return {**folder, "labels": {"emotion": "emotion"}, "groups": {"speaker": "speaker"}, **settings}


@pytest.fixture
def build(root, sources):
    def build_composed(text=None, speech=None, **settings):
        parts = {"text": text or text_part(), "speech": speech or speech_part()}
        config = ComposedConfig(**{"name": "pairs", "classes": CLASSES, "parts": parts, **settings})
        return Composed(config).build(root, base=sources)

    return build_composed


def test_every_item_is_used_at_most_once_and_with_its_own_label(build):
    manifest = build()
    assert manifest.pairing == "composed"
    assert manifest.labels == {"emotion": CLASSES}
    texts, clips = [s.text for s in manifest.samples], [s.audio for s in manifest.samples]
    assert len(set(texts)) == len(texts) == len(set(clips))
    for sample in manifest.samples:
        label = sample.labels["emotion"]
        assert CLASSES[int(sample.text.removeprefix("words ")) % 2] == label
        assert f"_{label}_" in sample.audio.name


def test_no_group_of_any_source_straddles_two_parts(build):
    samples = build().samples
    assert {s.split for s in samples} == {"train", "val", "test"}
    for kind in ("text_dialogue", "speech_speaker"):
        parts = {}
        for sample in samples:
            parts.setdefault(sample.groups[kind], set()).add(sample.split)
        assert all(len(found) == 1 for found in parts.values())


def test_parts_of_six_equal_speakers_are_four_one_one(build):
    speakers = {part: set() for part in ("train", "val", "test")}
    for sample in build(val=0.15, test=0.15).samples:
        speakers[sample.split].add(sample.groups["speech_speaker"])
    assert {part: len(found) for part, found in speakers.items()} == {"train": 4, "val": 1, "test": 1}


def test_what_found_no_partner_is_counted(build):
    manifest = build()
    speech_left = manifest.dropped.get("speech without a partner", 0)
    assert manifest.dropped["text without a partner"] == 40 - len(manifest.samples)
    assert speech_left == 24 - len(manifest.samples)


def test_the_id_names_the_items(build):
    sample = build().samples[0]
    number = sample.text.removeprefix("words ")
    assert sample.id == f"pairs/{sample.audio.name}+t{number}"


def test_the_seed_decides_the_pairs(build):
    assert build(seed=3) == build(seed=3)
    assert {s.id for s in build(seed=3).samples} != {s.id for s in build(seed=4).samples}


def test_a_source_can_keep_its_own_split_and_validation_is_cut_from_train_by_group(build):
    samples = build(own_split=("text",)).samples
    numbers = {part: {int(s.text.split()[1]) for s in samples if s.split == part} for part in ("train", "val", "test")}
    assert all(n >= 28 for n in numbers["test"])
    assert all(n < 28 for n in numbers["train"] | numbers["val"])
    assert numbers["val"]
    assert not {n // 2 for n in numbers["train"]} & {n // 2 for n in numbers["val"]}


def test_labels_outside_the_classes_are_counted(build):
    manifest = build(classes=("joy",))
    assert {s.labels["emotion"] for s in manifest.samples} == {"joy"}
    assert manifest.dropped["text without emotion in the classes, or without text"] == 20


def test_what_the_sources_drop_is_named_by_modality(build):
    manifest = build(text=text_part(label_map={"emotion": {"anger": ""}}), classes=("joy",))
    assert manifest.dropped["text: emotion anger dropped"] == 20


def test_an_item_of_unknown_group_is_left_out_since_it_might_be_of_any_part(build, sources):
    lines = (sources / "lines.csv").read_text("utf-8").replace(",d3,", ", ,")
    (sources / "lines.csv").write_text(lines, "utf-8")
    manifest = build()
    assert manifest.dropped["text without a dialogue"] == 2
    assert not {"words 6", "words 7"} & {s.text for s in manifest.samples}
    assert all("text_dialogue" in s.groups for s in manifest.samples)


def test_classes_are_spelled_like_labels(build):
    assert build(classes=("joy ", "anger\u00a0")).labels == {"emotion": ("joy", "anger")}


def test_a_class_that_a_source_lacks_is_refused(build):
    with pytest.raises(ManifestError, match="speech corpus speech has no 'fear': it has anger, joy"):
        build(text=text_part(label_map={"emotion": {"anger": "fear"}}), classes=("joy", "fear"))


def test_several_kinds_of_group_need_a_choice(build):
    text = text_part(groups={"dialogue": "dialogue", "scene": "scene"})
    with pytest.raises(ConfigError, match=r"apart\.text should name one of its groups \(dialogue, scene\)"):
        build(text=text)
    assert set(build(text=text, apart={"text": "dialogue"}).samples[0].groups) == {
        "speech_speaker",
        "text_dialogue",
        "text_scene",
    }


def test_too_few_groups_for_a_training_part_of_every_class(build):
    one_class_each = speech_part(
        pattern=r"(?P<speaker>p\d_(?P<emotion>\w+))_\d\.wav", where={"speaker": ("p0_joy", "p0_anger")}
    )
    manifest = build(speech=one_class_each)
    assert {s.split for s in manifest.samples} == {"train"}


def test_own_split_needs_a_part_for_every_sample(build):
    with pytest.raises(ManifestError, match="own_split of speech needs train, val or test on every sample, found None"):
        build(own_split=("speech",))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"path": "lines.csv"}, r"\[parts\.text\] lacks the key 'kind'"),
        ({"kind": "tabel"}, "did you mean 'table'"),
        (text_part(colums={}), r"\[parts\.text\] has an unknown key 'colums'; did you mean 'columns'"),
    ],
)
def test_settings_of_a_part_are_checked(build, part, message):
    with pytest.raises((ConfigError, LookupError), match=message):
        build(text=part)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": {"text": {}}}, "at least two"),
        ({"parts": {"text": {}, "speach": {}}}, "did you mean 'speech'"),
        ({"own_split": ("image",)}, "unknown modality 'image'"),
        ({"val": 0.6, "test": 0.4}, "leave some for train"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings, message):
    given = {"name": "pairs", "classes": CLASSES, "parts": {"text": {}, "speech": {}}, **settings}
    with pytest.raises(ConfigError, match=message):
        ComposedConfig(**given)
