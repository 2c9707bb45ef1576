"""A grid of encoder settings: every one trained under its own id, the best on its own held-back groups used."""

from pathlib import Path

import pytest

from extractors.image.resnet import ResNet
from extractors.speech.lstm_cnn import LstmCnn
from extractors.text.bert import Bert
from flows.jobs import Options, study_job, train_job
from flows.study_config import load_study
from stores.encoders import EncoderStore
from stores.errors import ConfigError
from stores.features import FeatureStore
from stores.litter import references
from stores.root import Root
from stores.studies import StudyStore

QUICK = "train = { epochs = 1, stop_share = 0.3, grid = { hidden = [4, 6], learning_rate = [1e-3, 1e-2] } }"


@pytest.fixture
def study(talkers) -> Path:
    talkers.replace("train = { epochs = 1 }", QUICK)
    return talkers.save()


def test_a_grid_trains_every_setting_once_and_uses_the_best(study: Path, tmp_path: Path) -> None:
    options = Options(root=str(tmp_path / "runs"), device="cpu", quiet=True)
    root = Root(tmp_path / "runs")
    [chosen] = train_job(str(study), options)["encoders"]["speech"]
    encoders = EncoderStore(root)
    trained = {name: encoders.describe(name)["recipe"]["config"] for name in root.names("encoders")}
    settings = {(it["network"]["hidden"], it["training"]["learning_rate"]) for it in trained.values()}
    assert settings == {(4, 1e-3), (4, 1e-2), (6, 1e-3), (6, 1e-2)}
    losses = {name: min(epoch.val_loss for epoch in encoders.curves(name)) for name in trained}
    assert losses[chosen] == min(losses.values())

    outcome = study_job(str(study), options)
    feature = FeatureStore.open(root, "speech", outcome["features"]["speech"]["id"])
    assert feature.identity.encoder == chosen
    assert feature.identity.spec.dim == 2 * trained[chosen]["network"]["hidden"]
    [points] = StudyStore.open(root, outcome["study"]).facts()["features"]["speech"]["grids"]
    assert [point["encoder"] for point in points if point["chosen"]] == [chosen]
    assert {point["encoder"]: point["val_loss"] for point in points} == losses
    assert points[0]["settings"] == {"hidden": 4, "learning_rate": 1e-3}
    assert all(outcome["study"] in references(root)[name] for name in trained)
    assert set(root.names("encoders")) == set(trained)  # nothing was trained again


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("{ hiden = [4] }", "grid has no setting 'hiden'.*hidden"),
        ("{ seed = [1, 2] }", "grid has no setting 'seed'"),
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
    with pytest.raises(ConfigError, match="grid over hidden: each repeat chooses its own"):
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
