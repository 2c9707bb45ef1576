"""A grid of encoder settings: every one trained under its own id, the best on its own held-back groups used."""

from pathlib import Path
from typing import Any

import pytest

import flows.encoder_plans
from extractors.extractor import Runtime
from extractors.image.resnet import ResNet
from extractors.speech.lstm_cnn import LstmCnn
from extractors.text.bert import Bert
from extractors.training import Diverged, plan_recipe
from flows.encoder_plans import Alternatives, grid_points, plan_encoders
from flows.explain import explain_study
from flows.features import find_features
from flows.jobs import Options, extract_job, study_job, train_job
from flows.pipeline import cast_study
from flows.study_config import load_study
from flows.upkeep import show_verdict, verify_store
from stores.encoders import EncoderStore, Epoch
from stores.errors import ConfigError
from stores.features import FeatureStore
from stores.litter import references
from stores.root import Root
from stores.studies import StudyStore

QUICK = "train = { epochs = 1, stop_share = 0.3, grid = { hidden = [4, 6], learning_rate = [1e-3, 1e-2] } }"
FACES = 'weights = "random"\n'
TRAINED_FACES = 'weights = "trained"\ntrain = {{ epochs = 1, stop_share = 0.3, grid = {{ {} }} }}\n'


@pytest.fixture
def study(talkers) -> Path:
    talkers.replace("train = { epochs = 1 }", QUICK)
    return talkers.save()


def options(root: Path) -> Options:
    return Options(root=str(root), device="cpu", quiet=True)


def planned(study: Path, root: Root, modality: str) -> tuple[Any, Alternatives]:
    """The plan of a modality, and the encoders of its grid."""
    config = load_study(study)
    manifest = config.corpus.build(root, base=config.base)
    upstream = flows.encoder_plans.upstream_store(config.features[modality], root)
    [tried] = plan_encoders(config.features[modality], config, manifest, None, root, upstream)
    return config.features[modality], tried


def test_a_grid_trains_every_setting_once_and_uses_the_best(study: Path, tmp_path: Path) -> None:
    root = Root(tmp_path / "runs")
    said = train_job(str(study), options(tmp_path / "runs"))
    [chosen], [tried] = said["encoders"]["speech"], said["grids"]["speech"]
    encoders = EncoderStore(root)
    trained = {name: encoders.describe(name)["recipe"]["config"] for name in root.names("encoders")}
    settings = {(it["network"]["hidden"], it["training"]["learning_rate"]) for it in trained.values()}
    assert settings == {(4, 1e-3), (4, 1e-2), (6, 1e-3), (6, 1e-2)}
    losses = {name: min(epoch.val_loss for epoch in encoders.curves(name)) for name in trained}
    assert losses[chosen] == min(losses.values())

    outcome = study_job(str(study), options(tmp_path / "runs"))
    feature = FeatureStore.open(root, "speech", outcome["features"]["speech"]["id"])
    assert feature.identity.encoder == chosen
    assert feature.identity.spec.dim == 2 * trained[chosen]["network"]["hidden"]
    [points] = StudyStore.open(root, outcome["study"]).facts()["features"]["speech"]["grids"]
    assert [point["encoder"] for point in points if point["chosen"]] == [chosen]
    assert {point["encoder"]: point["val_loss"] for point in points} == losses
    assert tried == points == outcome["features"]["speech"]["grids"][0]
    assert points[0]["settings"] == {"hidden": 4, "learning_rate": 1e-3}
    assert all(outcome["study"] in references(root)[name] for name in trained)
    assert set(root.names("encoders")) == set(trained)  # nothing was trained again


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("{ hiden = [4] }", "grid has no setting 'hiden'.*hidden"),
        ("{ seed = [1, 2] }", "grid has no setting 'seed'; it may have: (?!.*(seed|stop_share|balance|numerics))"),
        ("{ hidden = [4, 5, 4] }", r"grid\.hidden has 4 twice"),
        ("{ learning_rate = [1, 1.0] }", r"grid\.learning_rate has 1\.0 twice"),
        ("{ hidden = 4 }", r"grid\.hidden should be a list of values, got 4"),
        ("{ hidden = [] }", r"grid\.hidden should be a list of values"),
        ("{ hidden = [4, 0] }", "expected filters and hidden above 0"),
        ('"papers"', "grid should be 'paper' or lists of values by setting, got 'papers'"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(talkers, grid: str, message: str) -> None:
    talkers.replace("train = { epochs = 1 }", f"train = {{ grid = {grid} }}")
    with pytest.raises(ConfigError, match=message):
        load_study(talkers.save())


def test_encoders_of_different_repeats_cannot_differ_in_width(talkers) -> None:
    talkers.replace("train = { epochs = 1 }", 'train = { samples = "per-repeat", grid = { hidden = [4, 6] } }')
    with pytest.raises(ConfigError, match=r"grid over hidden: each repeat chooses its own(?!.*seed)"):
        load_study(talkers.save())


def test_the_papers_grids_are_those_it_prints(talkers) -> None:
    """Section 2.2.3: 8 settings of the LSTM-CNN, 18 of BERT, 4 of ResNet."""
    talkers.replace("train = { epochs = 1 }", 'train = { grid = "paper" }')
    grid = load_study(talkers.save()).features["speech"].grid
    tried = {(plan.config.hidden, plan.config.kernel, plan.config.filters) for plan in grid}
    assert tried == {(h, k, f) for h in (128, 256) for k in (3, 5) for f in (64, 128)}
    assert len(grid) == 8
    assert LstmCnn.paper_grid.keys() == {"hidden", "kernel", "filters"}
    assert Bert.paper_grid == {"learning_rate": [1e-5, 3e-5, 5e-5], "batch_size": [16, 32], "dropout": [0.1, 0.3, 0.5]}
    assert ResNet.paper_grid == {"layer": ["avgpool", "fc"], "optimiser": ["adam", "sgd"]}


def test_settings_that_are_the_same_all_over_a_grid_are_shown_too(talkers: Any, tmp_path: Path) -> None:
    talkers.replace("train = { epochs = 1 }", "train = { epochs = 1, stop_share = 0.3, grid = { hidden = [4] } }")
    [[point]] = train_job(str(talkers.save()), options(tmp_path / "runs"))["grids"]["speech"]
    assert point["settings"] == {"hidden": 4}


def test_each_alternative_has_the_recipe_it_would_have_alone(talkers: Any, tmp_path: Path) -> None:
    """Settings that stand in a recipe by a digest, as `face` and `initial`, are no exception."""
    import torch
    from torchvision.models import resnet18

    torch.manual_seed(0)
    torch.save(resnet18(weights=None).state_dict(), tmp_path / "faces.pth")
    grid = f'initial = ["random", "{tmp_path}/faces.pth"], learning_rate = [1e-3, 1e-2]'
    talkers.replace(FACES, 'face = "haar"\n' + TRAINED_FACES.format(grid))
    root = Root(talkers.root)
    plan, tried = planned(talkers.save(), root, "image")
    config = load_study(talkers.path)
    manifest = config.corpus.build(root, base=config.base)
    alone = [
        plan_recipe(
            own.extractor,
            own.config,
            own.train,
            [sample for sample in manifest.samples if sample.split == "encoder"],
            scheme="emotion",
            classes=("joy", "anger"),
            groups=("speaker",),
            upstream=None,
        )
        for own in plan.grid
    ]
    assert [own.plan for own in tried] == list(plan.grid)
    assert [own.id for own in tried] == [recipe.id for recipe in alone]
    assert len({recipe.id for recipe in alone}) == 4
    given = [(own.plan.config.initial == "random", own.recipe.initial is None) for own in tried]
    assert given == [(True, True), (True, True), (False, False), (False, False)]


def test_a_grid_of_an_encoder_whose_recipe_holds_more_than_its_settings_is_used(talkers: Any, tmp_path: Path) -> None:
    talkers.replace(FACES, 'face = "haar"\n' + TRAINED_FACES.format("dropout = [0.1, 0.2]"))
    said = extract_job(str(talkers.save()), options(tmp_path / "runs"))["features"]["image"]
    [chosen] = [point["encoder"] for point in said["grids"][0] if point["chosen"]]
    assert FeatureStore.open(Root(tmp_path / "runs"), "image", said["id"]).identity.encoder == chosen


def test_rows_of_any_alternative_that_heads_cannot_read_are_refused_before_any_work(
    talkers: Any, tmp_path: Path
) -> None:
    talkers.replace(FACES, TRAINED_FACES.format('pooling = ["mean", "none"]'))
    with pytest.raises(ConfigError, match=r"\[features.image\] resnet rows with pooling = none are ragged"):
        study_job(str(talkers.save()), options(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_the_best_epoch_counts_and_none_whose_loss_is_no_number(talkers: Any, tmp_path: Path) -> None:
    talkers.replace("train = { epochs = 1 }", "train = { stop_share = 0.3, grid = { learning_rate = [1e-3, 1e-2] } }")
    root = Root(talkers.folder / "none")
    _, tried = planned(talkers.save(), Root(talkers.root), "speech")
    losses = [[float("nan"), 0.7], [0.6, 0.8]]
    for own, curve in zip(tried, losses, strict=True):
        epochs = [
            Epoch(
                epoch=number,
                train_loss=1.0,
                train_accuracy=0.5,
                val_loss=loss,
                val_accuracy=0.5,
                learning_rate=1e-3,
                seconds=1.0,
            )
            for number, loss in enumerate(curve, 1)
        ]
        EncoderStore(root).seal(own.recipe, {}, epochs, best_epoch=2 if curve is losses[0] else 1)
    first, second = grid_points(tried, root)
    assert (first.val_loss, first.best_epoch, first.chosen) == (0.7, 2, False)
    assert (second.val_loss, second.best_epoch, second.chosen) == (0.6, 1, True)


DIVERGING = "train = {{ epochs = 2, stop_share = 0.3, optimiser = 'sgd', grid = {{ learning_rate = [{}] }} }}"


def test_a_setting_that_diverges_is_told_and_left_out(talkers: Any, tmp_path: Path, affuse: Any) -> None:
    talkers.replace("train = { epochs = 1 }", DIVERGING.format("1e30, 1e-3, 1e-2"))
    done = affuse("train", str(talkers.save()), "--root", str(tmp_path / "runs"), "--device", "cpu")
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, told
    assert "left out, learning_rate = 1e+30: " in told
    assert "speech: learning_rate = 0.01, chosen among 2" in told or "speech: learning_rate = 0.001, chosen" in told
    assert len(Root(tmp_path / "runs").names("encoders")) == 2
    said = study_job(str(talkers.path), options(tmp_path / "runs"))
    assert [point["settings"]["learning_rate"] for point in said["features"]["speech"]["grids"][0]] == [1e-3, 1e-2]


def test_a_grid_all_of_which_diverges_is_an_error(talkers: Any, tmp_path: Path) -> None:
    talkers.replace("train = { epochs = 1 }", DIVERGING.format("1e30, 1e31"))
    with pytest.raises(Diverged, match="loss was never a number"):
        train_job(str(talkers.save()), options(tmp_path / "runs"))


def test_a_grid_that_is_trained_in_part_is_told_so(talkers: Any, tmp_path: Path, capsys: Any) -> None:
    talkers.replace("train = { epochs = 1 }", QUICK)
    root = tmp_path / "runs"
    extract_job(str(talkers.save()), options(root))
    talkers.replace("hidden = [4, 6]", "hidden = [4, 5, 6]")
    found = explain_study(str(talkers.save()), str(root))
    speech = found["modalities"]["speech"]
    assert speech["line"] == "speech: grid: 4 of 6 encoders trained, 2 to be trained; 16 of 16 samples to do"
    assert (speech["state"], speech["todo"]) == ("partial", 16)
    verdict = verify_store(
        str(root), study=str(talkers.path), recompute_share="1", seed=0, runtime=Runtime(device="cpu"), quiet=True
    )
    assert verdict["ok"]
    assert sorted(row["feature"].partition("-")[0] for row in verdict["recomputed"]) == ["acoustic", "bert", "resnet"]
    show_verdict(verdict)
    told = " ".join(capsys.readouterr().err.split())
    assert "not recomputed: [features.speech.train] 2 of 6 encoders of the grid are not trained" in told
    config = load_study(talkers.path)
    manifest = config.corpus.build(Root(root), base=config.base)
    with pytest.raises(ConfigError, match="run `affuse train`"):
        find_features(config, manifest, cast_study(config, manifest), Root(root))


def test_whom_the_encoders_of_a_grid_are_trained_on_is_found_out_once_a_repeat(
    talkers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = []

    def counted(*arguments: Any, **named: Any) -> Any:
        planned.append(arguments)
        return plan_recipe(*arguments, **named)

    monkeypatch.setattr(flows.encoder_plans, "plan_recipe", counted)
    for row in talkers.rows:
        row["split"] = ""
    grid = 'samples = "per-repeat", grid = { learning_rate = [1e-3, 1e-2] }'
    talkers.replace("epochs = 1 }", f"epochs = 1, stop_share = 0.3, {grid} }}")
    talkers.replace("[heads.unimodal]", "[features.speech.views]\ncount = 1\n\n[heads.unimodal]")
    said = extract_job(str(talkers.save()), options(tmp_path / "runs"))
    assert [len(grid) for grid in said["features"]["speech"]["grids"]] == [2, 2]
    assert len(planned) == 2
