"""All strategies on small corpora, from media to report; and the null: what tells nothing is not found to help."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.jobs import Options, run_job
from flows.study_config import load_study
from fusion.heads._head import FusionHead, Head
from fusion.plans import subsets
from stores.plugins import find_plugin, plugin_names
from stores.root import Root
from stores.studies import StudyStore

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HEADS = plugin_names("fusion.heads")
MODALITIES = ("image", "speech", "text")
NULL = """
name = "null"
seed = 1

[corpus]
kind = "synthetic"
speakers = 8
reserved = 0
samples_per_speaker = 15
missing = 0
silent = "image"

[study]
groups = ["speaker"]

[protocol]
repeats = 10
test = 0.25

[features.text]
extractor = "bert"
weights = "packaged"

[features.image]
extractor = "resnet"
depth = 18
size = 32
weights = "random"

[heads.unimodal]
[heads.concat]
[heads.weighted]

[training]
preset = "fast"
width = 16
"""


def run(study: str, folder: Path, root: Path) -> tuple[dict[str, Any], StudyStore]:
    """Run a study and return its results.json and its store."""
    path = folder / "study.toml"
    path.write_text(study, encoding="utf-8")
    said = run_job(str(path), Options(root=str(root), device="cpu", quiet=True))
    results = json.loads(Path(said["results"]).read_text(encoding="utf-8"))
    return results, StudyStore.open(Root(root), said["study"])


def test_what_tells_nothing_is_not_found_to_help(tmp_path: Path) -> None:
    results, _ = run(NULL, tmp_path, tmp_path / "runs")
    emotions = results["chapters"]["emotions"]
    assert {p["effect"]: p["verdict"] for p in (*emotions["planted"], *emotions["nulls"])} == {
        "text alone reads neutral best": "recovered",
        "image, which tells nothing, is not found to help weighted fusion": "recovered",
        "image, which tells nothing, is not found to help concat fusion": "recovered",
    }
    assert results["facts"]["corpus"]["notes"]["planted"]["image"] == []


def test_the_example_is_the_demos_study_with_more_heads() -> None:
    demo, strategies = (load_study(EXAMPLES / f"{name}.toml") for name in ("demo", "strategies"))
    assert strategies.corpus.config == demo.corpus.config
    for own in ("seed", "study", "features", "protocol", "training"):
        assert getattr(strategies, own) == getattr(demo, own)
    assert set(demo.heads) < set(strategies.heads)
    for head, table in demo.heads.items():
        assert strategies.heads[head].config == table.config
        assert set(table.subsets or ()) <= set(strategies.heads[head].subsets or table.subsets or ())


@pytest.fixture(scope="module")
def all_strategies(
    extracted_talkers: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], StudyStore]:
    """The talkers under all heads of the example as it sets them, and those it does not name, a few epochs each."""
    example = (EXAMPLES / "strategies.toml").read_text(encoding="utf-8")
    heads = example[example.index("[heads.unimodal]") : example.index("\n[training]")]
    heads += "".join(f"[heads.{name}]\n" for name in HEADS if f"[heads.{name}]" not in heads)
    own = extracted_talkers.copy_to(tmp_path_factory.mktemp("strategies"))
    study = own.study.replace(
        "[heads.unimodal]\n", f"{heads}\n[training]\npreset = 'fast'\nepochs = 2\nepoch_steps = 1\nwidth = 8\n"
    )
    return run(study, own.folder, own.root)


def test_every_strategy_runs_on_every_subset_from_media_to_report(
    all_strategies: tuple[dict[str, Any], StudyStore],
) -> None:
    results, store = all_strategies
    models = {f"{name}[{'+'.join(chosen)}]" for name in HEADS for chosen in subsets(MODALITIES, name)}
    assert {model["name"] for model in results["models"]} - {"majority class"} == models
    runs = store.runs()
    assert runs is not None
    rows = store.predictions(runs["run_id"].to_pylist()).to_pylist()
    assert {row["run_id"] for row in rows} == set(runs["run_id"].to_pylist())
    posteriors = np.array([row["posterior"] for row in rows])
    assert np.isfinite(posteriors).all()
    np.testing.assert_allclose(posteriors.sum(axis=1), 1, atol=1e-4)


def test_every_trained_strategy_on_all_modalities_is_set_against_every_single_one(
    all_strategies: tuple[dict[str, Any], StudyStore],
) -> None:
    results, _ = all_strategies
    assert results["reference"] == "weighted[image+speech+text]"
    compared = {(c["a"], c["b"]) for c in results["comparisons"]}
    for name in HEADS:
        full = f"{name}[image+speech+text]"
        if MODALITIES in subsets(MODALITIES, name):
            assert {(full, f"unimodal[{m}]") for m in MODALITIES} <= compared, name
            assert full == results["reference"] or (results["reference"], full) in compared, name


def test_weights_are_stored_of_strategies_that_say_they_have_some(
    all_strategies: tuple[dict[str, Any], StudyStore],
) -> None:
    _, store = all_strategies
    weights, runs = store.weights(), store.runs()
    assert weights is not None
    assert runs is not None
    head_of = dict(zip(runs["run_id"].to_pylist(), runs["head"].to_pylist(), strict=True))
    stored = {head_of[run] for run in weights["run_id"].to_pylist() if run in head_of}
    says = {
        name
        for name in HEADS
        if issubclass(kind := find_plugin("fusion.heads", name, Head), FusionHead)
        and kind.modality_weights is not FusionHead.modality_weights
    }
    assert stored == says
    rows = store.predictions([run for run, head in head_of.items() if head in ("gated", "confidence")]).to_pylist()
    np.testing.assert_allclose([sum(row["weights"]) for row in rows], 1, atol=1e-4)
