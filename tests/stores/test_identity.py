"""Every literal here was computed with sha256sum, hashlib or xxhash from the documented bytes, not with `stores`."""

import enum
import hashlib
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from stores.encoders import EncoderRecipe, Trainee
from stores.errors import IdentityError
from stores.identity import (
    canonical_json,
    file_digest,
    fingerprint,
    media_key,
    row_digest,
    short_id,
    tensors_digest,
    text_key,
)
from stores.samples import Sample
from stores.spec import FeatureIdentity, embedding_spec
from stores.studies import RunSpec


@dataclass(frozen=True)
class Settings:
    size: int = 64
    depth: int = 18


@pytest.mark.parametrize(
    ("value", "digest"),
    [
        ({"a": 1}, "e79d1a101420d246d519a9db588761ab6c1506bc8e99de915d04d837ce297484"),
        ({"a": 1.0}, "c0598e7fb51b02d2c80ca1adf6e2c22c2c21094dc1cf97890b1115cc9f7d5025"),
        ({"a": "1"}, "6ede240907dbc0ca86ff641e39574b98bce5b1cac9dc2d9ef1bf1e77d8cf78b2"),
        ({"a": True}, "cb6c86fb98c9a25942f958d68d02909d5c6514cda0379bfdd778ff91328b674c"),
        ({"a": None}, "a28420a43ec71196693f7c0e4e115ff2de6379a4683224bf2be9703fdf35f2ce"),
        (
            {"z": 0.1, "k": (1, {"y": "é", "x": None})},
            "ff33dbb33f0dc785d683562d879c93d71dd48c472361ed44b834b0698d3c9a94",
        ),
    ],
)
def test_fingerprints_are_pinned_and_tell_types_apart(value, digest):
    assert fingerprint(value) == digest


def test_the_order_of_keys_and_the_kind_of_list_do_not_count():
    assert canonical_json({"b": [1, 2], "a": 0}) == canonical_json({"a": 0, "b": (1, 2)}) == '{"a":0,"b":[1,2]}'


def test_a_default_that_was_left_out_is_part_of_the_identity():
    assert canonical_json(Settings()) == canonical_json(Settings(size=64)) == '{"depth":18,"size":64}'


def test_short_id_is_the_name_and_the_first_twelve():
    assert short_id("bert", {"a": 1}) == "bert-e79d1a101420"


@pytest.mark.parametrize(
    "value",
    [
        Path("a"), {1, 2}, b"bytes", bytearray(b"b"), range(3), np.int64(1), np.float32(1), np.array([1]), object(),
        Settings, float("nan"), float("inf"), {1: "a"}, {"deep": [{"er": {3}}]}, enum.Enum("E", "A").A,
    ],
)  # fmt: skip
def test_a_value_without_a_canonical_form_is_refused(value):
    with pytest.raises(IdentityError):
        fingerprint(value)


def test_text_keys_are_pinned_and_do_not_depend_on_the_unicode_form():
    text = "It’s café"
    assert text_key(text) == "360a2743a7d6710288b03cde4a0a166cc5d0fcf4164556c6acf0419746724057"
    assert text_key(unicodedata.normalize("NFD", text)) == text_key(text)
    assert text_key(text + " ") != text_key(text)


def test_media_keys_are_pinned_over_modality_segment_and_bytes():
    content = hashlib.sha256(b"RIFF").hexdigest()
    assert media_key("speech", content) == "97df087f9c18a872e1c42f62652b25b413914efbfb2669e994a51b81ffd9db0f"
    assert media_key("speech", content, 100, 2500) == "3d1592d596acb739d247e1bcd467490062b83995d5616d79a9a08f8f72e9576e"
    assert media_key("image", content) == "b3405174d5ecb67c16743ef40a8b620e8b94731de4a9e518a4f9d7315b8f6607"


def test_moving_a_file_keeps_its_key_and_changing_a_byte_does_not(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"x" * 3_000_000)
    before = Sample(id="c/1", corpus="c", audio=path).key("speech")
    moved = path.rename(tmp_path / "b.flac")
    sample = Sample(id="c/2", corpus="c", audio=moved)
    assert sample.key("speech") == before
    moved.write_bytes(b"x" * 2_999_999 + b"y")
    assert sample.key("speech") != before


def test_row_digests_are_pinned_and_see_dtype_and_shape():
    row = np.array([1, 2], dtype=np.float32)
    assert row_digest(row) == "7bc0f7bd902121d338aeaebc6eb3193b"
    others = [row.astype(np.float16), row[None], row[::-1], np.array([1, 2], dtype=np.int32)]
    assert len({row_digest(row), *map(row_digest, others)}) == 5


def test_weight_digests_are_pinned_and_do_not_depend_on_the_order():
    tensors = {"b": np.array(3, dtype=np.int64), "a": np.array([1, 2], dtype=np.float32)}
    pinned = "ec41e904bf338efb9b77247c9308e06e7b3556a47ad7ea8feec15f13e807ebbc"
    assert tensors_digest(tensors.items()) == tensors_digest(reversed(tensors.items())) == pinned


def test_file_digest_is_the_plain_sha256(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert file_digest(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_feature_ids_are_pinned():
    identity = FeatureIdentity(
        extractor="bert",
        version=1,
        modality="text",
        preprocessing=1,
        config={"masked": True, "layers": 4},
        spec=embedding_spec(768, "standard"),
        weights="11",
        tokenizer="22",
    )
    assert identity.id == "bert-e25932ece520"
    assert replace(identity, version=2).id != identity.id
    assert FeatureIdentity.from_dict(identity.as_dict()) == identity


def test_encoder_ids_are_pinned_and_see_labels_but_not_groups():
    fit = Trainee(sample_id="c/1", key="k1", label="joy", use="fit", groups={"speaker": "A"})
    stop = Trainee(sample_id="c/2", key="k2", label="anger", use="stop", groups={"speaker": "B"})
    recipe = EncoderRecipe(
        extractor="lstm_cnn",
        version=2,
        config={"epochs": 3},
        seed=7,
        classes=("joy", "anger"),
        trainees=(stop, fit),
        upstream="acoustic-0",
    )
    assert recipe.id == "lstm_cnn-538886926945"
    assert replace(recipe, trainees=(replace(fit, groups={"speaker": "C"}), stop)).id == recipe.id
    for changed in ({"label": "anger"}, {"key": "k3"}, {"use": "stop"}, {"sample_id": "c/3"}):
        assert replace(recipe, trainees=(replace(fit, **changed), stop)).id != recipe.id


def test_run_ids_are_pinned():
    spec = RunSpec(
        study="s-1",
        head="weighted",
        version=1,
        config={},
        modalities=("image", "text"),
        repeat=3,
        training={"epochs": 5},
    )
    assert spec.id == "weighted-722c7d9fc9ca"
    assert spec.model == "weighted[image+text]"
