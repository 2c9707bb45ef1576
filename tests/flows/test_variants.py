"""Studies with `[variants]`: the same heads trained otherwise, stored beside the study's own and compared with them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from flows.jobs import Options, run_job
from flows.pipeline import check_study
from flows.study_config import parse_study
from fusion.training_config import TrainingConfig
from reports.comparisons import CHANCES, DROPPED, OTHERS, STRATEGIES, VARIANTS, choose_reference, plan_families
from reports.evidence import CHANCE, Model, read_evidence
from reports.words import label_of
from stores.errors import ConfigError
from stores.root import Root
from stores.studies import StudyStore

HEADS = """[heads.unimodal]
[heads.weighted]
[heads.vote]

[training]
epochs = 2
epoch_steps = 1

[variants.slow]
learning_rate = 1e-5

[variants.drawn]
balance = "oversample"
"""


@pytest.fixture(scope="module")
def trained_in_three_ways(extracted_talkers: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Talkers whose study trains every head in three ways."""
    own = extracted_talkers.copy_to(tmp_path_factory.mktemp("variants"))
    own.replace("[heads.unimodal]\n", HEADS)
    return own


@pytest.fixture(scope="module")
def said(trained_in_three_ways: Any) -> dict[str, Any]:
    """What that study says."""
    own = trained_in_three_ways
    return run_job(str(own.save()), Options(root=str(own.root), device="cpu", quiet=True))


def test_every_head_runs_with_every_variant_and_combiners_read_voters_of_their_own(
    said: dict[str, Any], trained_in_three_ways: Any
) -> None:
    assert said["runs"] == {"cached": 0, "trained": 2 * 3 * (3 + 4 + 4)}
    runs = StudyStore.open(Root(trained_in_three_ways.root), said["study"]).runs().to_pylist()
    assert {run["variant"] for run in runs} == {"", "slow", "drawn"}
    rates = {run["variant"]: json.loads(run["hyper"])["learning_rate"] for run in runs if run["head"] == "weighted"}
    assert rates == {"": 1e-4, "slow": 1e-5, "drawn": 1e-4}
    assert {run["model"] for run in runs if run["head"] == "vote"} >= {"vote[image+text]", "vote[image+text] slow"}


def test_the_report_compares_each_variant_with_the_same_model_and_keeps_it_out_of_other_tables(
    said: dict[str, Any],
) -> None:
    results = json.loads(Path(said["results"]).read_text(encoding="utf-8"))
    assert results["reference"] == "weighted[image+speech+text]"
    pairs = {family["name"]: family["pairs"] for family in results["families"]}
    full = "[image+speech+text]"
    assert {tuple(pair) for pair in pairs[VARIANTS]} == {
        (f"{head}{full} {variant}", f"{head}{full}") for head in ("weighted", "vote") for variant in ("slow", "drawn")
    }
    for name in (STRATEGIES, DROPPED, CHANCES):
        assert not [pair for pair in pairs[name] for model in pair if model.endswith((" slow", " drawn"))]
    assert len({row["model"] for row in results["chapters"]["emotions"]["class_scores"]}) == 1 + 3 * 11
    page = Path(said["report"]).read_text(encoding="utf-8")
    assert "weighted slow − weighted" in page


def _models(*variants: str) -> list[Model]:
    found = [
        Model(name=f"{head}[{'+'.join(m)}] {variant}".strip(), head=head, modalities=m, variant=variant)
        for variant in variants
        for head, m in (("unimodal", ("text",)), ("weighted", ("image", "text")), ("concat", ("image", "text")))
    ]
    return [*found, Model(name=CHANCE, head=CHANCE)]


def test_the_reference_is_of_the_studys_own_training_unless_asked_for() -> None:
    models = _models("smote", "")
    assert choose_reference(models, None).name == "weighted[image+text]"
    assert choose_reference(models, "weighted[image+text] smote").variant == "smote"


def test_a_reference_that_is_a_variant_is_compared_with_models_trained_as_it_is() -> None:
    models = _models("", "smote")
    families = plan_families(models, choose_reference(models, "weighted[image+text] smote"))
    pairs = {family.name: family.pairs for family in families}
    assert pairs[STRATEGIES] == (
        ("weighted[image+text] smote", "unimodal[text] smote"),
        ("weighted[image+text] smote", "concat[image+text] smote"),
    )
    assert pairs[OTHERS] == (("concat[image+text] smote", "unimodal[text] smote"),)
    assert pairs[VARIANTS] == (
        ("weighted[image+text] smote", "weighted[image+text]"),
        ("concat[image+text] smote", "concat[image+text]"),
    )


def test_a_study_without_variants_has_no_table_of_them() -> None:
    models = _models("")
    assert VARIANTS not in {family.name for family in plan_families(models, choose_reference(models, None))}


def test_a_variants_short_name_ends_with_the_variant() -> None:
    labels = [label_of(model, ("image", "text")) for model in _models("smote")]
    assert labels == ["text smote", "weighted smote", "concat smote", CHANCE]


def test_runs_of_before_there_were_variants_are_of_the_studys_own_training(
    said: dict[str, Any], trained_in_three_ways: Any, tmp_path: Path
) -> None:
    shutil.copytree(trained_in_three_ways.root / "studies", tmp_path / "old" / "studies")
    store = StudyStore.open(Root(tmp_path / "old"), said["study"])
    for name in store.root.names(store.folder, "runs"):
        table = store.root.read_table(store.folder, "runs", name)
        old = table.filter(pc.equal(table["variant"], "")).drop(["variant", "hyper", "counts"])
        store.root.put_table(old, store.folder, "runs", name)
    evidence = read_evidence(store, sorted(store.run_ids()))
    assert {model.variant for model in evidence.models} == {""}
    assert len(evidence.models) == 1 + 11


def test_variants_differ_from_the_training_in_what_they_say_and_nothing_else() -> None:
    study = {
        "corpus": {"kind": "synthetic"},
        "features": {"text": {"extractor": "bert"}},
        "training": {"epochs": 7},
        "variants": {"sgd": {"optimiser": "sgd", "learning_rate": 1e-2}},
    }
    config = parse_study(study, base=Path.cwd())
    assert (config.variants["sgd"].optimiser, config.variants["sgd"].epochs) == ("sgd", 7)
    with pytest.raises(ConfigError, match=r"\[variants\] names should be lower-case words.*'A b'"):
        parse_study({**study, "variants": {"A b": {}}}, base=Path.cwd())


def test_a_preset_of_a_variant_comes_before_the_settings_of_the_study_and_after_its_own() -> None:
    study = {
        "corpus": {"kind": "synthetic"},
        "features": {"text": {"extractor": "bert"}},
        "training": {"learning_rate": 1e-4, "batch_size": 32, "epochs": 7},
        "variants": {"fast": {"preset": "fast"}, "quick": {"preset": "fast", "batch_size": 64}},
    }
    found = parse_study(study, base=Path.cwd()).variants
    fast, quick = found["fast"], found["quick"]
    assert (fast.learning_rate, fast.batch_size, fast.precision, fast.epochs) == (1e-3, 256, "bfloat16", 7)
    assert quick == replace(fast, batch_size=64)
    study |= {"training": {"preset": "fast", "batch_size": 512, "width": 16}, "variants": {"slow": {"preset": "paper"}}}
    assert parse_study(study, base=Path.cwd()).variants["slow"] == TrainingConfig(width=16)
    with pytest.raises(ConfigError, match="preset should be one of paper, fast"):
        parse_study({**study, "variants": {"odd": {"preset": "faster"}}}, base=Path.cwd())


def test_views_for_the_rare_are_refused_before_any_work_where_there_are_none(tmp_path: Path) -> None:
    study = {
        "corpus": {"kind": "synthetic"},
        "features": {"text": {"extractor": "bert"}, "image": {"extractor": "resnet", "weights": "random", "views": {}}},
        "heads": {"weighted": {}},
        "variants": {"views": {"balance": "views"}},
    }
    check_study(parse_study(study, base=tmp_path), Root(tmp_path))
    study["heads"] = {"unimodal": {}}
    with pytest.raises(ConfigError, match=r"balance 'views' .*text has none: add \[features.text.views\]"):
        check_study(parse_study(study, base=tmp_path), Root(tmp_path))
