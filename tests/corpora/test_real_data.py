"""The `table` corpus on real collections; AFFUSE_REAL_DATA names the folder they lie in."""

import os
from pathlib import Path

import pytest

from corpora.composed import Composed, ComposedConfig
from corpora.table import Table, TableConfig

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif("AFFUSE_REAL_DATA" not in os.environ, reason="AFFUSE_REAL_DATA names no folder"),
]
SPEECH = {"path": "manifest_speech.csv", "columns": {"id": "id", "text": "text", "audio": "path", "gender": "sex"}}
LABEL = {"emotion": "label"}


@pytest.fixture
def data():
    return Path(os.environ["AFFUSE_REAL_DATA"]).resolve()


def table(root, data, **settings):
    return Table(TableConfig(**{"labels": LABEL, **settings})).build(root, base=data)


def test_meld_has_two_schemes_its_own_split_and_typographic_apostrophes(root, data):
    manifest = table(
        root,
        data,
        name="meld",
        path="manifest_text.csv",
        columns={"id": "id", "text": "text", "split": "split"},
        labels={"emotion": "label", "sentiment": "sentiment"},
        classes={"sentiment": ("negative", "neutral", "positive")},
        groups={"dialogue": "dialogue"},
        split_map={"dev": "test"},
    )
    assert len(manifest.samples) == 11_098
    assert manifest.counts("sentiment") == {"negative": 3351, "neutral": 5180, "positive": 2567}
    assert sum(s.split == "test" for s in manifest.samples) == 1109
    assert manifest.samples[1].text == "You must\u2019ve had your hands full."


def test_nemo_is_selected_from_all_speech_with_speakers_and_sentences(root, data):
    groups = {"speaker": "speaker", "sentence": "text"}
    manifest = table(root, data, name="nemo", **SPEECH, groups=groups, where={"corpus": "nemo"})
    assert manifest.counts("emotion") == {
        "anger": 120, "fear": 120, "happiness": 120, "neutral": 120, "sadness": 120, "surprise": 100,
    }  # fmt: skip
    assert manifest.dropped == {"not selected by corpus": 100}
    assert len({s.groups["speaker"] for s in manifest.samples}) == 6
    assert {s.audio.suffix for s in manifest.samples} == {".wav", ".flac"}
    assert all(s.audio.is_file() for s in manifest.samples)


def test_fer2013_has_no_speakers(root, data):
    columns = {"id": "id", "image": "path"}
    manifest = table(root, data, name="fer", path="manifest_faces.csv", columns=columns, groups={"speaker": "speaker"})
    assert set(manifest.counts("emotion").values()) == {100}
    assert not any(s.groups for s in manifest.samples)


def test_the_ravdess_clip_is_a_video_with_words(root, data):
    columns = {"id": "id", "text": "text", "video": "path"}
    (clip,) = table(root, data, name="clips", path="manifest_clips.csv", columns=columns).samples
    assert clip.medium("speech") == clip.medium("image") == data / "clips/ravdess/01-01-01-01-01-01-01.mp4"
    assert len({clip.key(m) for m in ("text", "speech", "image")}) == 3


def test_meld_nemo_and_fer2013_compose_by_label(root, data):
    columns = {"id": "id", "text": "text", "split": "split"}
    text = {"path": "manifest_text.csv", "columns": columns, "groups": {"dialogue": "dialogue"}}
    speech = {**SPEECH, "where": {"corpus": "nemo"}, "groups": {"speaker": "speaker"}}
    image = {"path": "manifest_faces.csv", "columns": {"id": "id", "image": "path"}}
    parts = {"text": {**text, "split_map": {"dev": "test"}}, "speech": speech, "image": image}
    config = ComposedConfig(
        name="trio",
        classes=("happiness", "sadness", "anger", "fear", "neutral"),
        parts={modality: {"kind": "table", "labels": LABEL, **settings} for modality, settings in parts.items()},
        own_split=("text",),
    )
    manifest = Composed(config).build(root, base=data)
    assert manifest.pairing == "composed"
    assert all(s.text and s.audio and s.image for s in manifest.samples)
    assert len({s.image for s in manifest.samples}) == len({s.audio for s in manifest.samples}) == len(manifest.samples)
    for part in ("train", "val", "test"):
        found = {s.labels["emotion"] for s in manifest.samples if s.split == part}
        assert found == set(config.classes)
