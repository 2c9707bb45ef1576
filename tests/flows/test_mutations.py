"""What makes a stored row a miss, and for how many samples: one change at a time, decided by the real plan.

A change of anything that decides a row must be a miss; a change of anything else must not. The outcomes below are
written by hand from DESIGN section 3.
"""

import dataclasses
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from extractors.extractor import Runtime
from extractors.image.resnet import ResNet
from extractors.speech.acoustic import Acoustic
from extractors.speech.lstm_cnn import LstmCnn
from extractors.text._weights import find_folder
from extractors.text.bert import Bert, BertConfig
from flows.features import Workbench
from flows.pipeline import cast_study, extract
from flows.study_config import load_study
from flows.verdicts import wanted
from stores.progress import Silent
from stores.root import Root

ALL = 16
SCORED, TRAINEE = 15, 0  # rows of the corpus: one that heads are scored on, one the encoder is fitted or stops on
Change = Callable[[Any, pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Outcome:
    """The number of samples to be done by modality, 0 where none is named; the ids of trained encoders."""

    misses: dict[str, int]
    encoders: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    name: str
    change: Change
    misses: dict[str, int] = field(default_factory=dict)
    new_encoder: bool = False


def outcome(talkers: Any, root: Root | None = None) -> Outcome:
    config, root = load_study(talkers.save()), root or Root(talkers.root)
    manifest = config.corpus.build(root, base=config.base)
    cast = cast_study(config, manifest)
    found = {modality: wanted(config, modality, manifest, cast, root) for modality in config.modalities}
    misses = {modality: sum(own.plan.pending for own in stores) for modality, stores in found.items()}
    encoders = tuple(own.recipe.id for stores in found.values() for own in stores if own.recipe)
    return Outcome({modality: count for modality, count in misses.items() if count}, encoders)


def says(old: str, new: str) -> Change:
    """Replace words of the study file."""
    return lambda talkers, _: talkers.replace(old, new)


def speech(setting: str) -> Change:
    return says("filters = 4", f"filters = 4\n{setting}")


def acoustic(setting: str) -> Change:
    return says("n_mels = 64", f"n_mels = 64, {setting}")


def text(setting: str) -> Change:
    return says('extractor = "bert"', f'extractor = "bert"\n{setting}')


def image(setting: str) -> Change:
    return says('weights = "random"', f'weights = "random"\n{setting}')


def cell(row: int, column: str, value: str | Callable[[str], str]) -> Change:
    def change(talkers: Any, _: pytest.MonkeyPatch) -> None:
        before = talkers.rows[row][column]
        after = value(before) if callable(value) else value
        assert after != before
        talkers.rows[row][column] = after

    return change


def one_byte(row: int, medium: str, *, trailing: bool = False) -> Change:
    def change(talkers: Any, _: pytest.MonkeyPatch) -> None:
        path = talkers.folder / talkers.rows[row][medium]
        content = bytearray(path.read_bytes())
        if trailing:
            content += b"\0"
        else:
            content[-10] ^= 1
        path.write_bytes(content)

    return change


def touched(talkers: Any, _: pytest.MonkeyPatch) -> None:
    for path in talkers.folder.iterdir():
        os.utime(path, (1, 1))


def renamed(talkers: Any, _: pytest.MonkeyPatch) -> None:
    for row in talkers.rows:
        for medium in ("audio", "image"):
            name = f"renamed_{row[medium]}"
            (talkers.folder / row[medium]).rename(talkers.folder / name)
            row[medium] = name


def moved(talkers: Any, _: pytest.MonkeyPatch) -> None:
    talkers.folder = talkers.folder.rename(talkers.folder.with_name("moved"))


def in_a_subfolder(talkers: Any, _: pytest.MonkeyPatch) -> None:
    (talkers.folder / "media").mkdir()
    for row in talkers.rows:
        (talkers.folder / row["audio"]).rename(talkers.folder / "media" / row["audio"])
        row["audio"] = f"media/{row['audio']}"


def reordered(talkers: Any, _: pytest.MonkeyPatch) -> None:
    talkers.rows.reverse()


def swapped(talkers: Any, _: pytest.MonkeyPatch) -> None:
    first, second = talkers.rows[SCORED], talkers.rows[SCORED - 1]
    for medium in ("text", "audio", "image"):
        first[medium], second[medium] = second[medium], first[medium]


def added(talkers: Any, _: pytest.MonkeyPatch) -> None:
    row = {**talkers.rows[SCORED], "id": "new", "text": "something new"}
    for medium in ("audio", "image"):
        row[medium] = f"new_{row[medium]}"
        before = talkers.folder / talkers.rows[SCORED][medium]
        (talkers.folder / row[medium]).write_bytes(before.read_bytes() + b"\0")
    talkers.rows.append(row)


def repeated(talkers: Any, _: pytest.MonkeyPatch) -> None:
    talkers.rows.append({**talkers.rows[SCORED], "id": "again"})


def deleted(talkers: Any, _: pytest.MonkeyPatch) -> None:
    del talkers.rows[SCORED]


def lacking(talkers: Any, _: pytest.MonkeyPatch) -> None:
    talkers.rows[SCORED]["image"] = ""


def bert_folder(talkers: Any, edit: Callable[[Path], None]) -> None:
    """Read BERT from an edited copy of the packaged folder."""
    folder = talkers.folder.with_name("bert")
    shutil.copytree(find_folder("packaged"), folder)
    edit(folder)
    talkers.replace('extractor = "bert"', f'extractor = "bert"\nweights = "{folder}"')


def another_path(talkers: Any, _: pytest.MonkeyPatch) -> None:
    talkers.replace('extractor = "bert"', f'extractor = "bert"\nweights = "{find_folder("packaged")}"')


def one_tensor(talkers: Any, _: pytest.MonkeyPatch) -> None:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        name = min(tensors)
        tensors[name] = tensors[name] + np.float32(1e-3)
        save_file(tensors, folder / "model.safetensors")

    bert_folder(talkers, edit)


def another_container(talkers: Any, _: pytest.MonkeyPatch) -> None:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save({name: torch.from_numpy(tensors[name]) for name in sorted(tensors)}, folder / "pytorch_model.bin")

    bert_folder(talkers, edit)


def another_tokenizer(talkers: Any, _: pytest.MonkeyPatch) -> None:
    def edit(folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        path.write_text(path.read_text().replace('"do_lower_case": true', '"do_lower_case": false') + " ")

    bert_folder(talkers, edit)


def another_architecture(talkers: Any, _: pytest.MonkeyPatch) -> None:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        text = path.read_text().replace('"hidden_act": "gelu"', '"hidden_act": "relu"')
        assert "relu" in text
        path.write_text(text)

    bert_folder(talkers, edit)


def raised(kind: type, attribute: str) -> Change:
    return lambda _, monkeypatch: monkeypatch.setattr(kind, attribute, getattr(kind, attribute) + 1)


def new_default(_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = make_dataclass("Grown", [("lowercase", bool, False)], bases=(BertConfig,), frozen=True, kw_only=True)
    assert dataclasses.fields(grown)[-1].name == "lowercase"
    monkeypatch.setattr(Bert, "config_type", grown)


def newer_libraries(_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors.extractor.package_version", lambda name: "99.0")


TRAINED_ANEW = {"misses": {"speech": ALL}, "new_encoder": True}
TEXT_ANEW = {"misses": {"text": ALL}}
IMAGE_ANEW = {"misses": {"image": ALL}}
ONE_TEXT = {"misses": {"text": 1}}

CASES = [
    # where the files are, and what they are called
    Case("the times of all files", touched),
    Case("the names of all files", renamed),
    Case("the place of the corpus", moved),
    Case("the folder of the audio within it", in_a_subfolder),
    Case("the order of the table", reordered),
    Case("the name of the study", says('name = "talkers"', 'name = "others"')),
    Case("no name of the study", says('name = "talkers"', "")),
    Case(
        "the name of the corpus, which is in the ids of trainees",
        says("[corpus]", '[corpus]\nname = "x"'),
        **TRAINED_ANEW,
    ),
    # who is there
    Case("a sample more", added, {"text": 1, "speech": 1, "image": 1}),
    Case("the same recording once more", repeated),
    Case("a sample less", deleted),
    Case("a modality of a sample less", lacking),
    Case("whose recording is whose", swapped),
    # labels, groups, splits, and what heads are
    Case("the label of a scored sample", cell(SCORED, "emotion", "joy")),
    Case("the label of a trainee", cell(TRAINEE, "emotion", "anger"), **TRAINED_ANEW),
    Case("a trainee less", cell(TRAINEE, "split", ""), **TRAINED_ANEW),
    Case("the speaker of a scored sample", cell(SCORED, "speaker", "s6")),
    Case("the corpus' own split", cell(SCORED, "split", "test")),
    Case("the seed of the study", says("seed = 1", "seed = 2")),
    Case("the number of repeats", says("repeats = 2", "repeats = 3")),
    Case("the protocol", says("repeats = 2", 'kind = "leave-one-group-out"')),
    Case("the heads", says("[heads.unimodal]", "[heads.concat]\n[heads.vote]\n[training]\nepochs = 3")),
    # what the media hold
    Case("a byte of a scored recording", one_byte(SCORED, "audio"), {"speech": 1}),
    Case("a byte of a trainee's recording", one_byte(TRAINEE, "audio"), **TRAINED_ANEW),
    Case("a byte of a picture", one_byte(SCORED, "image"), {"image": 1}),
    Case("a byte after the end of a picture", one_byte(SCORED, "image", trailing=True), {"image": 1}),
    Case("where a segment starts", cell(SCORED, "start", "20"), {"speech": 1}),
    Case("where a segment ends", cell(SCORED, "end", "150"), {"speech": 1}),
    Case("composed letters of a text", cell(SCORED, "text", lambda t: t.replace("\u00e9", "e\u0301"))),
    Case("an accent of a text", cell(SCORED, "text", lambda t: t.replace("\u00e9", "e")), **ONE_TEXT),
    Case("a curly apostrophe", cell(SCORED, "text", lambda t: t.replace("'", "\u2019")), **ONE_TEXT),
    Case("a space after a text", cell(SCORED, "text", lambda t: f"{t} "), **ONE_TEXT),
    Case("a capital letter of a text", cell(SCORED, "text", str.capitalize), **ONE_TEXT),
    # settings of the text
    Case("the layers of BERT", text("layers = 3"), **TEXT_ANEW),
    Case("the pooling of BERT", text('pooling = "cls"'), **TEXT_ANEW),
    Case("the special tokens of BERT", text("special_tokens = false"), **TEXT_ANEW),
    Case("the longest text", text("max_tokens = 511"), **TEXT_ANEW),
    Case("the numerics class of the text", text('numerics = "exact"'), **TEXT_ANEW),
    Case("a default written out", text('layers = 4\nnumerics = "standard"')),
    Case("the path of the weights", another_path),
    Case("a tensor of the weights", one_tensor, **TEXT_ANEW),
    Case("the container of the weights", another_container),
    Case("a file of the tokenizer", another_tokenizer, **TEXT_ANEW),
    Case("what is done with the weights", another_architecture, **TEXT_ANEW),
    # settings of speech and its upstream
    Case("the resampler", acoustic('resampler = "soxr_vhq"'), **TRAINED_ANEW),
    Case("the hop", acoustic("hop = 80"), **TRAINED_ANEW),
    Case("the number of mel bands", says("n_mels = 64", "n_mels = 65"), **TRAINED_ANEW),
    Case("a whole number for a float", acoustic("top_db = 80")),
    Case("the numerics class of the frames", acoustic('numerics = "exact"'), **TRAINED_ANEW),
    Case("the filters of the encoder", says("filters = 4", "filters = 5"), **TRAINED_ANEW),
    Case("the seed of the encoder", says("epochs = 1", "epochs = 1, seed = 2"), **TRAINED_ANEW),
    Case("the epochs of the encoder", says("epochs = 1", "epochs = 2"), **TRAINED_ANEW),
    Case("the numerics class of the embedding", speech('numerics = "exact"'), {"speech": ALL}),
    # settings of the image
    Case("the depth", says("depth = 18", "depth = 34"), **IMAGE_ANEW),
    Case("the size", says("size = 32", "size = 33"), **IMAGE_ANEW),
    Case("colour", image("grayscale = false"), **IMAGE_ANEW),
    Case("the frames of a video", image("frames = 4"), **IMAGE_ANEW),
    # the program
    Case("the version of an extractor", raised(Bert, "version"), **TEXT_ANEW),
    Case("the preprocessing of an extractor", raised(ResNet, "preprocessing"), **IMAGE_ANEW),
    Case("the version of an upstream extractor", raised(Acoustic, "version"), **TRAINED_ANEW),
    Case("the version of a trained extractor", raised(LstmCnn, "version"), **TRAINED_ANEW),
    Case("a new setting with a default", new_default, **TEXT_ANEW),
    Case("the versions of libraries, which receipts name", newer_libraries),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_change_of(case: Case, talkers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = outcome(talkers)
    assert before.misses == {}
    case.change(talkers, monkeypatch)
    after = outcome(talkers)
    assert after.misses == case.misses
    assert (after.encoders != before.encoders) == case.new_encoder


def test_the_order_of_the_table_changes_no_encoder_of_a_repeat(talkers: Any) -> None:
    for row in talkers.rows:
        row["split"] = ""
    talkers.replace("epochs = 1", 'epochs = 1, samples = "per-repeat"')
    before = outcome(talkers)
    talkers.rows.reverse()
    assert outcome(talkers) == before


@pytest.mark.parametrize(
    "spelling", [lambda root: f"{root}/", lambda root: f"{root}/../{root.name}", lambda root: f"file://{root}"]
)
def test_another_spelling_of_the_root_is_the_same_store(talkers: Any, spelling: Callable[[Path], str]) -> None:
    assert outcome(talkers, Root(spelling(talkers.root))).misses == {}


def test_another_root_is_empty(talkers: Any, tmp_path: Path) -> None:
    assert outcome(talkers, Root(tmp_path / "empty")).misses == {"text": ALL, "speech": ALL, "image": ALL}


@pytest.mark.parametrize(
    "runtime", [{"batch_size": 3}, {"device": "cuda"}, {"decode_workers": 5}, {"block_size": 2}, {"queue": 1}], ids=str
)
def test_how_a_study_is_run_changes_nothing(talkers: Any, runtime: dict[str, Any]) -> None:
    config, root = load_study(talkers.save()), Root(talkers.root)
    manifest = config.corpus.build(root, base=config.base)
    bench = Workbench(root=root, runtime=Runtime(**{"device": "cpu", **runtime}), report=Silent())
    features = extract(config, manifest, cast_study(config, manifest), bench).features
    assert {name: (own.books.cached, own.books.extracted) for name, own in features.items()} == dict.fromkeys(
        ("acoustic", "image", "speech", "text"), (ALL, 0)
    )
