"""What training parts share with test parts: planted in aligned rows, and in a study that is run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.jobs import Options, study_job
from flows.radar import Scene, look, look_once
from fusion.splits import Split
from stores.block import ABSENT, FeatureBlock
from stores.encoders import Trainee
from stores.root import Root
from stores.samples import Sample
from stores.studies import StudyStore

N = 120
TRAIN, TEST = np.arange(80), np.arange(90, N)  # val lies between


def scene(
    *,
    rows: np.ndarray | None = None,
    keys: Mapping[int, str | None] | None = None,
    digests: Mapping[int, str | None] | None = None,
    speakers: Sequence[str | None] | None = None,
    kept_together: bool = True,
    modality: str = "speech",
    trainees: Sequence[Trainee] = (),
) -> Scene:
    """A clean corpus of 20 speakers, 6 samples each, none in two parts; what is given by position is planted."""
    spread = np.random.default_rng(0).normal(size=(N, 10)) @ np.random.default_rng(1).normal(size=(10, 32))
    values = spread.astype(np.float16) if rows is None else rows
    who = [f"s{i // 6:02}" for i in range(N)] if speakers is None else speakers
    samples = [
        Sample(id=f"c/{i:03}", corpus="c", groups={} if (name := who[i]) is None else {"speaker": name})
        for i in range(N)
    ]
    own_keys = [(keys or {}).get(i, f"k{i}") for i in range(N)]
    own_digests = [(digests or {}).get(i, f"d{i}" if own_keys[i] else None) for i in range(N)]
    block = FeatureBlock(
        sample_ids=tuple(sample.id for sample in samples),
        labels=np.zeros(N, np.int64),
        groups=np.array([str(name) if kept_together else samples[i].id for i, name in enumerate(who)]),
        classes=("joy", "anger"),
        values={modality: values},
        rows={modality: np.where([key is None for key in own_digests], ABSENT, np.arange(N))[None]},
    )
    split = Split(repeat=0, train=TRAIN, val=np.arange(80, 90), test=TEST)
    return Scene(
        samples=samples, block=block, keys={modality: own_keys}, digests={modality: [own_digests]}, splits=[split],
        trainees={modality: [trainees]},
    )  # fmt: skip


def found(given: Scene) -> set[tuple[str, str, str, str]]:
    return {(row["sample_id"][2:], row["kind"], row["reason"], row["nearest"][2:]) for row in look(given).to_pylist()}


def test_a_clean_corpus_flags_nothing() -> None:
    assert found(scene()) == set()


def test_a_recording_that_two_speakers_have_is_identical_and_named_once() -> None:
    planted = scene(keys={100: "k7", 8: "k7"}, digests={100: "d7", 8: "d7"})
    assert found(planted) == {("100", "speech", "identical", "007")}
    assert look(planted).to_pylist()[0]["similarity"] == 1.0


def test_other_content_with_the_same_row_is_told_apart_from_the_same_content() -> None:
    assert found(scene(digests={100: "d7"})) == {("100", "speech", "equal rows", "007")}


def test_a_noisy_copy_is_near_and_its_similarity_is_the_cosine_of_centred_rows() -> None:
    rows = scene().block.values["speech"].copy()
    rows[100] = rows[7] + np.random.default_rng(2).normal(scale=0.02, size=32).astype(np.float16)
    planted = scene(rows=rows)
    assert found(planted) == {("100", "speech", "near", "007")}
    a, b = (rows[[100, 7]].astype(np.float64) - rows.mean(axis=0, dtype=np.float64)) @ np.eye(32)
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert look(planted).to_pylist()[0]["similarity"] == pytest.approx(cosine, abs=1e-5)


def test_a_copy_in_the_test_part_itself_or_in_validation_is_none_of_training() -> None:
    rows = scene().block.values["speech"].copy()
    rows[101], rows[85] = rows[100], rows[95]
    assert found(scene(rows=rows, keys={101: "k111"})) == set()


def test_a_speaker_in_two_parts_is_told_whether_the_study_keeps_speakers_together_or_not() -> None:
    speakers: list[str | None] = [f"s{i // 6:02}" for i in range(N)]
    speakers[100] = "s01"
    speakers[110] = None
    for kept_together in (True, False):
        assert found(scene(speakers=speakers, kept_together=kept_together)) == {("100", "speaker", "group", "006")}


def test_a_copy_by_the_same_speaker_is_found_where_the_split_cuts_him_in_two() -> None:
    speakers = [f"s{i // 6:02}" for i in range(N)]
    speakers[100] = "s01"
    rows = scene().block.values["speech"].copy()
    rows[100] = rows[7] * np.float16(1.001)
    assert ("100", "speech", "near", "007") in found(scene(rows=rows, speakers=speakers))


def test_the_same_text_is_found_without_a_row_and_an_absent_one_is_nobodys_match() -> None:
    keys = {100: "k7", 3: None, 101: None}
    assert found(scene(keys=keys, digests={100: None}, modality="text")) == {("100", "text", "identical", "007")}


def test_where_every_repeat_has_its_own_encoder_its_own_rows_are_compared() -> None:
    plain = scene()
    rows = plain.block.values["speech"]
    other = rows + np.random.default_rng(3).normal(size=rows.shape).astype(np.float16)
    other[100] = other[7] + np.float16(0.004)
    block = replace(
        plain.block,
        values={"speech": np.concatenate([rows, other])},
        rows={"speech": np.stack([np.arange(N), N + np.arange(N)])},
    )
    digests = {"speech": [[f"{store}{i}" for i in range(N)] for store in "ab"]}
    splits = [plain.splits[0], replace(plain.splits[0], repeat=1)]
    table = look(replace(plain, block=block, digests=digests, splits=splits))
    assert [(row["repeat"], row["reason"]) for row in table.to_pylist()] == [(1, "near")]
    told = json.loads(table.schema.metadata[b"affuse"])
    assert (told["modalities"]["speech"]["stores"], told["modalities"]["speech"]["looked"]) == (2, 2)
    assert told["kinds"] == ["speaker"]


def test_what_only_the_encoder_has_seen_is_told_apart_from_what_heads_have_and_named() -> None:
    trainees = [
        Trainee(sample_id="c/e0", key="k100", label="joy", use="fit", groups={"speaker": "s00"}),
        Trainee(sample_id="c/e1", key="e1", label="joy", use="stop", groups={"speaker": "s18"}),  # of 108 to 113
        Trainee(sample_id="c/e2", key="k101", label="joy", use="fit", groups={}),
    ]
    planted = scene(trainees=trainees, keys={101: "k101", 9: "k101"}, digests={101: "d101", 9: "d101"})
    assert found(planted) == {
        ("100", "speech", "identical, encoder", "e0"),
        ("101", "speech", "identical", "009"),  # the head has it too: told once
        *((str(i), "speaker", "group, encoder", "e1") for i in range(108, 114)),
    }


def test_an_encoder_of_another_repeat_has_seen_nobody_of_this_one() -> None:
    own = [Trainee(sample_id="c/e0", key="k100", label="joy", use="fit", groups={})]
    plain = scene()
    splits = [plain.splits[0], replace(plain.splits[0], repeat=1)]
    table = look(replace(plain, splits=splits, trainees={"speech": [[], own]}))
    assert [(row["repeat"], row["sample_id"]) for row in table.to_pylist()] == [(1, "c/100")]


def test_groups_that_only_say_what_is_said_are_known_by_their_names() -> None:
    plain = scene()
    kinds = ("speaker", "sentence", "speech_sentence", "text_speaker", "Prompt_id", "dialogue")
    samples = [replace(sample, groups=dict.fromkeys(kinds, "x")) for sample in plain.samples]
    told = json.loads(look(replace(plain, samples=samples)).schema.metadata[b"affuse"])
    assert told["said"] == ["Prompt_id", "sentence", "speech_sentence"]
    assert set(told["kinds"]) == set(kinds)


def test_it_is_looked_once_and_again_only_for_other_groups_or_a_damaged_file(tmp_path: Path) -> None:
    root = Root(tmp_path)
    store, file = StudyStore(root, "study-x"), tmp_path / "studies/study-x/radar.parquet"
    assert store.radar() is None
    look_once(scene(), store)
    written = file.stat().st_mtime_ns
    look_once(scene(), store)
    assert file.stat().st_mtime_ns == written
    speakers = [f"s{i % 6:02}" for i in range(N)]
    look_once(scene(speakers=speakers), store)
    assert {row["kind"] for row in store.radar().to_pylist()} == {"speaker"}
    file.write_bytes(b"no table")
    look_once(scene(), store)
    assert store.radar().num_rows == 0


def test_a_study_writes_its_radar_and_a_lost_one_again_under_the_same_id(faces_study: Path, tmp_path: Path) -> None:
    faces = faces_study.parent / "faces"
    for number in (3, 9):  # a picture of joy is there three times, under other names
        (faces / f"joy_{number:02}.png").write_bytes((faces / "joy_00.png").read_bytes())

    def run() -> tuple[str, Any, bytes]:
        said = study_job(str(faces_study), Options(root=str(tmp_path / "runs"), device="cpu", quiet=True))
        store = StudyStore.open(Root(tmp_path / "runs"), said["study"])
        return said["study"], store.radar(), (tmp_path / "runs" / store.folder / "radar.parquet").read_bytes()

    study, radar, content = run()
    assert set(radar["kind"].to_pylist()) == {"image"}
    three = {"faces/joy_00", "faces/joy_03", "faces/joy_09"}
    identical = [row for row in radar.to_pylist() if row["reason"] == "identical"]
    assert identical
    assert {name.split(".")[0] for row in identical for name in (row["sample_id"], row["nearest"])} <= three
    (tmp_path / "runs/studies" / study / "radar.parquet").unlink()
    assert run()[0::2] == (study, content)
