"""A bit that flips in stored values changes no prediction: the row is made again, and so is what was made of it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.jobs import Options, run_job
from stores.encoders import EncoderRecipe, EncoderStore
from stores.features import FeatureStore
from stores.root import Root
from stores.studies import StudyStore
from stores.verifying import verify

HEADS = "[training]\nepochs = 2\n\n[heads.unimodal]"


@pytest.fixture(scope="module")
def calm(extracted_talkers: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, Any]]:
    """The path of a study, a root in which it has run undisturbed, and what it said."""
    root = shutil.copytree(extracted_talkers.root, tmp_path_factory.mktemp("calm") / "root")
    study = extracted_talkers.folder / "damage.toml"
    study.write_text(extracted_talkers.study.replace("[heads.unimodal]", HEADS), encoding="utf-8")
    return str(study), root, run_job(str(study), Options(root=str(root), device="cpu", quiet=True))


@pytest.fixture
def root(calm: tuple[str, Path, dict[str, Any]], tmp_path: Path) -> Root:
    """A copy of that root."""
    return Root(shutil.copytree(calm[1], tmp_path / "root"))


def store_of(root: Root, modality: str, name: str) -> FeatureStore:
    return FeatureStore.open(root, modality, name)


def flip(store: FeatureStore, *keys: str) -> None:
    """Flip a bit in the last byte of the rows of these keys."""
    for key in keys:
        place, [row] = store.index()[key], store.read([key])
        values = store.root.local(store.folder, "parts", f"{place.part}.zarr", "values/c/0/0")
        content = bytearray(values.read_bytes())
        at = content.find(row.tobytes())
        content[at + row.nbytes - 1] ^= 1
        values.write_bytes(content)


def content(root: Root, said: dict[str, Any]) -> object:
    """Return what must not change: the study, its predictions, and every row."""
    study = StudyStore.open(root, said["study"])
    predictions = study.predictions(sorted(study.runs()["run_id"].to_pylist())).to_pylist()
    stores = [
        store_of(root, modality, name)
        for modality, name in (("text", "bert"), ("speech", "acoustic"), ("speech", "lstm_cnn"), ("image", "resnet"))
    ]
    return (
        said["study"],
        sorted(map(repr, predictions)),
        [(store.id, {key: row.tobytes() for key, row in zip(own, store.read(own), strict=True)})
         for store in stores for own in [sorted(store.index())]],
    )  # fmt: skip


def test_rows_that_have_changed_are_made_again_by_the_run_that_reads_them(affuse, calm, root: Root) -> None:
    study, undisturbed, said = calm
    damaged = [store_of(root, "text", "bert"), store_of(root, "image", "resnet")]
    for store in damaged:
        flip(store, *[key for key in store.index() if store.index()[key].row in (8, 15)])
    root.delete("studies")
    done = affuse("run", study, "--device", "cpu", "--root", root.address, "--json")
    assert done.returncode == 0
    for store in damaged:
        assert f"2 of {store.id}" in done.stderr
    assert "rows have changed since they were sealed" in done.stderr
    assert "made again now" in done.stderr
    assert content(root, said) == content(Root(undisturbed), said)
    assert verify(root).damages == []


def test_an_encoder_is_trained_on_rows_as_they_were_sealed(affuse, calm, root: Root) -> None:
    study, undisturbed, said = calm
    root.delete("studies")
    [encoder] = root.names("encoders")
    trainees = [trainee.key for trainee in EncoderStore(root).trained_on(encoder)]
    root.delete("encoders")
    root.delete(store_of(root, "speech", "lstm_cnn").folder)
    acoustic = store_of(root, "speech", "acoustic")
    flip(acoustic, trainees[0], trainees[-1], next(key for key in acoustic.index() if key not in trainees))
    done = affuse("run", study, "--device", "cpu", "--root", root.address, "--json")
    assert done.returncode == 0
    assert f"{encoder}: rows it is trained on turned out to be damaged: 2 (" in done.stderr
    assert f"rows of {acoustic.id} turned out to be damaged: 1: made again now" in done.stderr
    assert content(root, said) == content(Root(undisturbed), said)
    assert verify(root).damages == []


def test_the_documented_remedy_leaves_nothing_wrong(result, calm, root: Root) -> None:
    study, undisturbed, said = calm
    acoustic = store_of(root, "speech", "acoustic")
    flip(acoustic, next(iter(acoustic.index())))
    assert len(verify(root).damages) == 1
    result("store", "gc", "--damaged", "--delete", root=Path(root.address))
    assert verify(root).damages == []  # what was made of those rows while they were right stays right
    found = result("extract", study, "--device", "cpu", root=Path(root.address))["features"]
    assert (found["acoustic"]["extracted"], found["speech"]["extracted"]) == (16, 0)
    assert content(root, said) == content(Root(undisturbed), said)


def test_rows_made_of_wrong_ones_are_named_and_made_again(affuse, calm, root: Root) -> None:
    study, undisturbed, said = calm
    store = store_of(root, "speech", "lstm_cnn")
    key, [seal] = next(iter(store.index())), store.seals()
    wrong = {key: np.zeros_like(store.read([key])[0])}
    store.write_part(wrong, seal.receipt, [seal.part], upstream=["0" * 32])
    [damage] = verify(root).damages
    assert damage.path == store.folder
    assert damage.problem.startswith("rows made of rows no longer held for right (1)")
    done = affuse("extract", study, "--device", "cpu", "--root", root.address)
    assert f"{store.id}: rows made of what is no longer held for right: 1, made again now" in done.stderr
    assert content(root, said) == content(Root(undisturbed), said)
    assert verify(root).damages == []


def test_an_encoder_of_wrong_rows_is_trained_again_and_so_are_its_rows(affuse, calm, root: Root) -> None:
    study, undisturbed, said = calm
    encoders = EncoderStore(root)
    [name] = root.names("encoders")
    recipe, weights, curves = encoders.describe(name)["recipe"], encoders.weights(name), encoders.curves(name)
    recipe = EncoderRecipe(**{**recipe, "classes": tuple(recipe["classes"])}, trainees=tuple(encoders.trained_on(name)))
    root.delete("encoders", name)
    wrong = {key: value + 1 if value.dtype.kind == "f" else value for key, value in weights.items()}
    encoders.seal(recipe, wrong, curves, 1, read={recipe.trainees[0].sample_id: ["0" * 32]})
    [damage] = verify(root).damages
    assert damage.path == f"encoders/{name}"
    assert damage.problem.startswith(
        "it was trained on rows no longer held for right (1): the next run trains it again"
    )
    done = affuse("extract", study, "--device", "cpu", "--root", root.address)
    assert f"{name} was trained on rows no longer held for right: 1; it is trained again" in done.stderr
    assert content(root, said) == content(Root(undisturbed), said)
    assert verify(root).damages == []


def test_a_second_right_row_raises_no_alarm_not_even_once_it_is_the_only_one(affuse, calm, root: Root) -> None:
    study, undisturbed, said = calm
    acoustic = store_of(root, "speech", "acoustic")
    [seal] = acoustic.seals()
    for key in acoustic.index():  # as another machine might compute them; some win, some do not
        acoustic.write_part({key: acoustic.read([key])[0] + np.float32(1e-4)}, seal.receipt)
    before, old = acoustic.index(), store_of(Root(calm[1]), "speech", "acoustic").index()
    assert 0 < sum(before[key].digest != old[key].digest for key in old) < len(old)
    assert verify(root).damages == []
    affuse("store", "compact", "--root", root.address)
    for part in {seal.part for seal, _ in acoustic.parts.every()} - {seal.part for seal in acoustic.seals()}:
        for kind in (".parquet", ".zarr"):
            root.delete(acoustic.folder, "parts", part + kind)
    assert verify(root).damages == []
    done = affuse("extract", study, "--device", "cpu", "--root", root.address)
    assert "made again" not in done.stderr
    assert content(root, said)[:2] == content(Root(undisturbed), said)[:2]


def test_runs_whose_files_are_gone_are_made_again_and_it_is_said(affuse, calm, root: Root) -> None:
    study, _, undisturbed = calm
    part = root.names("studies", undisturbed["study"], "predictions")[0]
    root.local("studies", undisturbed["study"], "predictions", part).unlink()
    done = affuse("study", study, "--root", root.address, "--device", "cpu")
    assert done.returncode == 0
    assert f"predictions/{part}: it is missing; what runs can make again" in done.stderr
    assert content(root, undisturbed) == content(Root(calm[1]), undisturbed)


def test_a_study_that_is_gone_is_made_again_and_it_is_said(affuse, calm, root: Root) -> None:
    study, _, undisturbed = calm
    root.delete("studies", undisturbed["study"])
    done = affuse("study", study, "--root", root.address, "--device", "cpu")
    assert done.returncode == 0
    assert "runs are not there" in done.stderr
    assert content(root, undisturbed) == content(Root(calm[1]), undisturbed)
