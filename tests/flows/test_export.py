"""Exports of a study with everything that can happen to a sample: read back with the programs they are made for."""

import hashlib
import json
import re
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr

from flows.cli import main
from flows.export import ExportOptions, NotExtracted, export_study
from flows.jobs import Options, extract_job
from stores import export as writers
from stores.errors import ConfigError
from stores.features import FeatureStore, feature_ids
from stores.manifest import Manifest
from stores.root import Root

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "export.md"
CLASSES = ("joy", "anger", "fear")
STUDY = """
name = "people"
seed = 1

[corpus]
kind = "table"
path = "people.csv"
columns = { id = "id", image = "image", audio = "audio", split = "split" }
labels = { emotion = "emotion" }
scores = { valence = "valence" }
groups = { speaker = "speaker" }
classes = { emotion = ["joy", "anger", "fear"] }
pairing = "composed"

[study]
groups = ["speaker"]

[protocol]
repeats = 2

[features.image]
extractor = "resnet"
depth = 18
size = 32
weights = "random"

[features.speech]
extractor = "lstm_cnn"
filters = 2
hidden = 2
numerics = "exact"
train = { samples = "per-repeat", epochs = 1 }
"""
BROKEN, SILENT, FACELESS, NAMELESS = 0, 4, 8, 12  # a picture of noise, no sound, no picture, no label
EVERYTHING = ("image", "speech", "acoustic")


@dataclass(frozen=True)
class People:
    """An extracted study, and what its corpus holds."""

    study: Path
    root: Path
    ids: list[str]
    features: dict[str, Any]

    def store(self, name: str, repeat: int = 0) -> FeatureStore:
        said = self.features[name]
        modality = "image" if name == "image" else "speech"
        return FeatureStore.open(Root(self.root), modality, said.get("id") or said["ids"][repeat])

    def rows(self, name: str, repeat: int = 0) -> dict[str, np.ndarray]:
        """Return sample id -> row, as the store gives it."""
        store = self.store(name, repeat)
        index = store.index()
        modality = store.identity.modality
        samples = [s for s in Manifest.load(Root(self.root), "people").samples if s.medium(modality) is not None]
        keys = {s.id: s.key(modality) for s in samples}
        known = {sample: key for sample, key in keys.items() if key in index}
        return dict(zip(known, store.read(list(known.values())), strict=True))

    def export(self, out: Path, *features: str, **options: Any) -> dict[str, Any]:
        return export_study(str(self.study), out, ExportOptions(features=features, **options), str(self.root))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, draw_face: Callable[[Path, str, int], None]) -> People:
    folder = tmp_path_factory.mktemp("people")
    lines = ["id,image,audio,split,emotion,valence,speaker"]
    for number in range(48):
        label, name = CLASSES[number % 3], f"s{number:02}"
        draw_face(folder / f"{name}.png", label, number)
        _speak(folder / f"{name}.wav", number)
        image = "" if number == FACELESS else f"{name}.png"
        audio = "" if number == SILENT else f"{name}.wav"
        emotion = "" if number == NAMELESS else label
        valence = "" if number % 2 else f"{number / 8}"
        lines.append(f"{name},{image},{audio},,{emotion},{valence},p{number // 3}")
    (folder / f"s{BROKEN:02}.png").write_bytes(b"not a picture")
    (folder / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    said = extract_job(str(folder / "study.toml"), Options(root=str(folder / "runs"), device="cpu", quiet=True))
    ids = [sample.id for sample in Manifest.load(Root(folder / "runs"), "people").samples]
    return People(folder / "study.toml", folder / "runs", ids, said["features"])


def _speak(path: Path, seed: int) -> None:
    """Write 16 kHz mono noise, longer for every seed."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 3000, 3200 + 160 * seed).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(sound.tobytes())


@pytest.fixture(scope="module")
def exports(people: People, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for form in writers.FORMATS:
        people.export(folder / f"features.{form}", *EVERYTHING)
    return folder


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two rows have the same dtype, shape and bytes."""
    return (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


def content(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", EVERYTHING)
def test_parquet_holds_the_rows_of_the_store_bit_for_bit_and_null_elsewhere(
    people: People, exports: Path, name: str
) -> None:
    expected = people.rows(name)
    table = pd.read_parquet(exports / "features.parquet").set_index("sample_id")
    assert table.index.tolist() == people.ids
    assert set(table.index[table[name].notna()]) == set(expected)
    for sample, row in expected.items():
        found = table.loc[sample, name]
        assert same(np.stack(found) if name == "acoustic" else found, row)


@pytest.mark.parametrize("form", ["npz", "zarr"])
def test_npz_and_zarr_hold_the_same_and_mark_what_is_absent(people: People, exports: Path, form: str) -> None:
    path = exports / f"features.{form}"
    data = np.load(path, allow_pickle=False) if form == "npz" else zarr.open_group(str(path), mode="r")
    for name in EVERYTHING:
        expected = people.rows(name)
        values, has = np.asarray(data[name][:]), np.asarray(data[f"has_{name}"][:])
        assert {people.ids[i] for i in np.flatnonzero(has)} == set(expected)
        if name == "acoustic":
            offsets = np.asarray(data["acoustic_offsets"][:])
            values = [values[start:stop] for start, stop in pairwise(offsets)]
            assert offsets[-1] == sum(map(len, expected.values()))
        else:
            assert np.isnan(values[~has]).all()
        assert all(same(values[people.ids.index(sample)], row) for sample, row in expected.items())


def test_every_program_reads_the_same_numbers(people: People, exports: Path) -> None:
    expected = np.stack(list(people.rows("image").values()))
    parquet = exports / "features.parquet"
    polars = pl.read_parquet(parquet).filter(pl.col("image").is_not_null())["image"].to_numpy()
    duck = duckdb.sql(f"select image from '{parquet}' where image is not null").fetchnumpy()["image"]
    data = xr.open_zarr(exports / "features.zarr")
    xarray = data["image"].isel(sample=data["has_image"].to_numpy()).to_numpy()
    assert same(polars, expected)
    assert same(xarray, expected)
    assert same(np.stack(duck).astype(np.float16), expected)
    assert np.stack(duck).dtype == np.float32


def test_labels_scores_and_groups_stand_beside_the_rows(people: People, exports: Path) -> None:
    table = pq.read_table(exports / "features.parquet")
    assert table.column_names == [
        "sample_id", "split", "label_emotion", "score_valence", "group_speaker", *EVERYTHING
    ]  # fmt: skip
    assert table["label_emotion"][:3].to_pylist() == list(CLASSES)
    assert table["label_emotion"][NAMELESS].as_py() is None
    assert table["score_valence"][:3].to_pylist() == [0.0, None, 0.25]
    assert table["group_speaker"][5].as_py() == "p1"
    plain = np.load(exports / "features.npz", allow_pickle=False)
    assert plain["label_emotion"][NAMELESS] == ""
    assert plain["sample_id"].tolist() == people.ids
    assert np.isnan(plain["score_valence"][1])
    data = xr.open_zarr(exports / "features.zarr")
    assert data["image"].dims == ("sample", "image_dim")
    assert {"sample_id", "label_emotion", "group_speaker", "has_image"} <= set(data.coords)
    assert data["group_speaker"].to_numpy().tolist() == plain["group_speaker"].tolist()


def test_the_file_says_what_the_features_are(people: People, exports: Path) -> None:
    told = json.loads(pq.read_schema(exports / "features.parquet").metadata[b"affuse"])
    assert told == json.loads(zarr.open_group(str(exports / "features.zarr"), mode="r").attrs["affuse"])
    assert told == json.loads(str(np.load(exports / "features.npz", allow_pickle=False)["affuse"]))
    assert (told["study"], told["pairing"]) == ("people", "composed")
    assert "fusion gains here are not evidence" in told["banner"]
    assert told["labels"] == {"emotion": list(CLASSES)}
    image, speech = told["features"]["image"], told["features"]["speech"]
    assert image["id"] == people.features["image"]["id"]
    assert image["identity"] == people.store("image").identity.as_dict()
    assert (image["random"], image["numerics"], image["repeat"]) == (True, "standard", None)
    assert {name: image[name] for name in ("rows", "absent", "quarantined", "outside_repeat")} == {
        "rows": 46, "absent": 1, "quarantined": 1, "outside_repeat": 0,
    }  # fmt: skip
    assert (speech["random"], speech["numerics"], speech["repeat"]) == (False, "exact", 0)
    assert speech["rows"] + speech["absent"] + speech["quarantined"] + speech["outside_repeat"] == 48
    assert speech["outside_repeat"] > 0


def test_a_repeat_is_chosen_by_its_number(people: People, tmp_path: Path) -> None:
    said = people.export(tmp_path / "one.npz", "speech", repeat=1)
    assert said["features"]["speech"]["id"] == people.features["speech"]["ids"][1]
    data = np.load(tmp_path / "one.npz", allow_pickle=False)
    expected = people.rows("speech", repeat=1)
    assert expected.keys() != people.rows("speech").keys()
    assert same(data["speech"][data["has_speech"]], np.stack(list(expected.values())))
    assert json.loads(str(data["affuse"]))["features"]["speech"]["repeat"] == 1
    with pytest.raises(ConfigError, match="--repeat should be from 0 to 1"):
        people.export(tmp_path / "two.npz", repeat=2)
    with pytest.raises(ConfigError, match="--repeat should be from 0 to 0 for image"):
        people.export(tmp_path / "two.npz", "image", repeat=1)


@pytest.mark.parametrize("form", writers.FORMATS)
def test_more_samples_than_fit_in_a_block_give_the_same_file(
    people: People, exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(writers, "BLOCK", {"vector": 11, "ragged": 7})
    people.export(tmp_path / f"small.{form}", *EVERYTHING)
    if form == "parquet":
        assert pq.ParquetFile(tmp_path / "small.parquet").num_row_groups == 7
        assert pq.read_table(tmp_path / "small.parquet").equals(pq.read_table(exports / "features.parquet"))
    elif form == "npz":
        assert (tmp_path / "small.npz").read_bytes() == (exports / "features.npz").read_bytes()
    else:
        small, whole = (
            zarr.open_group(str(path), mode="r") for path in (tmp_path / "small.zarr", exports / "features.zarr")
        )
        assert sorted(small.array_keys()) == sorted(whole.array_keys())
        assert all(np.asarray(small[n][:]).tobytes() == np.asarray(whole[n][:]).tobytes() for n in EVERYTHING)


def test_nothing_under_the_root_is_written(people: People, tmp_path: Path) -> None:
    before = content(people.root)
    people.export(tmp_path / "features", *EVERYTHING)
    assert pq.read_metadata(tmp_path / "features").num_rows == 48
    assert content(people.root) == before


@pytest.mark.parametrize("form", writers.FORMATS)
def test_what_exists_is_replaced_only_when_asked_and_only_whole(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    out = tmp_path / f"features.{form}"
    people.export(out, "image")
    with pytest.raises(ConfigError, match="exists: choose another name, or --overwrite"):
        people.export(out, "acoustic")
    before = content(tmp_path)
    read = FeatureStore.read

    def fails(store: FeatureStore, keys: list[str]) -> list[np.ndarray]:
        if store.identity.modality == "speech":
            raise OSError("the disk is gone")
        return read(store, keys)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureStore, "read", fails)
        with pytest.raises(OSError, match="the disk is gone"):
            people.export(out, *EVERYTHING, overwrite=True)
    assert content(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    people.export(out, "acoustic", overwrite=True)
    assert content(tmp_path) != before
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_what_is_not_asked_for_need_not_be_extracted(people: People, tmp_path: Path) -> None:
    study = people.study.with_name("image.toml")
    study.write_text(re.sub(r"\[features.speech\].*", "", STUDY, flags=re.S), encoding="utf-8")
    extract_job(str(study), Options(root=str(tmp_path / "runs"), device="cpu", quiet=True))
    said = export_study(str(people.study), tmp_path / "x", ExportOptions(features=("image",)), str(tmp_path / "runs"))
    assert said["features"] == {"image": {"id": people.features["image"]["id"], "rows": 46, "dim": 512}}


def test_a_folder_of_other_things_is_never_overwritten(people: People, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(ConfigError, match="a folder of other things"):
        people.export(tmp_path / "thesis", format="zarr", overwrite=True)
    with pytest.raises(ConfigError, match="there is no folder"):
        people.export(tmp_path / "nowhere" / "features.npz")
    assert (tmp_path / "thesis" / "chapter.tex").read_text(encoding="utf-8") == "years of work"
    (tmp_path / "features").write_bytes(b"a file")
    people.export(tmp_path / "features", "image", format="zarr", overwrite=True)
    assert xr.open_zarr(tmp_path / "features").sizes["sample"] == 48


def test_what_is_not_extracted_is_named_and_nothing_is_made(people: People, tmp_path: Path) -> None:
    root = tmp_path / "empty"
    with pytest.raises(
        NotExtracted, match=r"speech reads acoustic: .* is not in the store .* run `affuse extract .*study"
    ):
        export_study(str(people.study), tmp_path / "x.npz", ExportOptions(), str(root))
    assert not list(tmp_path.iterdir())


def test_a_sample_that_came_later_is_not_taken_for_an_absent_one(
    people: People, faces_study: Path, tmp_path: Path, draw_face: Callable[[Path, str, int], None]
) -> None:
    root = tmp_path / "runs"
    with pytest.raises(NotExtracted, match=r"image: resnet-\w+ is not in the store"):
        export_study(str(faces_study), tmp_path / "x.npz", ExportOptions(), str(root))
    extract_job(str(faces_study), Options(root=str(root), device="cpu", quiet=True))
    draw_face(faces_study.parent / "faces" / "joy_90.png", "joy", 90)
    with pytest.raises(
        NotExtracted, match=r"image: .* has no row of 1 of 49 samples yet \(.*joy_90.*run `affuse extract"
    ):
        export_study(str(faces_study), tmp_path / "x.npz", ExportOptions(), str(root))
    assert len(feature_ids(Root(root), "image")) == 1


def test_media_of_a_synthetic_corpus_are_not_made_by_an_export(tmp_path: Path) -> None:
    study = tmp_path / "made.toml"
    study.write_text('name = "made"\n[corpus]\nkind = "synthetic"\n[features.text]\nextractor = "bert"\n', "utf-8")
    with pytest.raises(NotExtracted, match="is not there yet: run `affuse extract"):
        export_study(str(study), tmp_path / "x.npz", ExportOptions(), str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_the_command_says_one_line_a_feature_or_one_json_object(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*arguments: str, root: Path = people.root) -> int:
        monkeypatch.setattr(sys, "argv", ["affuse", "store", "export", *arguments, "--root", str(root)])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    out = str(tmp_path / "features.zarr")
    assert call(str(people.study), out, "--json", "--quiet") == 0
    said = json.loads(capsys.readouterr().out)
    image = {"id": people.features["image"]["id"], "rows": 46, "dim": 512}
    assert said["features"].keys() == {"image", "speech"}
    assert said["features"]["image"] == image
    assert (said["path"], said["format"], said["samples"]) == (out, "zarr", 48)
    assert call(str(people.study), out) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert call(str(people.study), out, "--overwrite", "--feature", "acustic") == 2
    assert "did you mean 'acoustic'" in capsys.readouterr().err
    assert call(str(people.study), str(tmp_path / "frames"), "--feature", "acoustic", "--format", "npz") == 0
    told = capsys.readouterr().err
    assert re.search(r"acoustic: acoustic-\w{12}, 47 of 48 samples, 168 numbers wide", told)
    assert f"Export: {tmp_path / 'frames'}" in told.replace("\n", "")
    assert call(str(people.study), str(tmp_path / "y.npz"), root=tmp_path / "empty") == 1
    assert "run `affuse extract" in capsys.readouterr().err
    assert call("--help") == 0
    assert "my-study.toml features.zarr" in capsys.readouterr().out


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), flags=re.S))
def test_every_example_of_the_document_runs(exports: Path, monkeypatch: pytest.MonkeyPatch, example: str) -> None:
    monkeypatch.chdir(exports)
    names: dict[str, Any] = {}
    exec(compile(example, str(DOCUMENT), "exec"), names)
    assert ("x" not in names) or len(names["x"]) == len(names.get("y", names["x"])) > 0
    if "alike" in names:
        assert names["alike"].fetchall()[0][1] == pytest.approx(1)
    if "means" in names:
        assert sorted(names["means"]["label_emotion"].to_numpy()) == ["", *sorted(CLASSES)]
