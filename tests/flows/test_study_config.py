import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flows.pipeline import check_study, head_plans
from flows.study_config import StudyConfig, load_study, parse_study
from stores.errors import ConfigError, NotFound
from stores.root import Root

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = {
    "corpus": {"kind": "synthetic"},
    "features": {"text": {"extractor": "bert"}, "speech": {"extractor": "lstm_cnn"}},
}


def parse(**changes: object) -> StudyConfig:
    return parse_study({**SMALL, **changes}, base=Path.cwd())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_every_example_is_a_valid_study(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFUSE_REAL_DATA", "/recordings")
    assert load_study(path).features


def test_a_path_names_the_environment_variable_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFFUSE_REAL_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"\$AFFUSE_REAL_DATA/manifest_faces.csv.*set the environment variable"):
        load_study(EXAMPLES / "fer2013.toml")


def test_defaults_are_the_papers_where_it_gives_one() -> None:
    config = parse_study(SMALL, base=Path.cwd())
    assert (config.training.batch_size, config.training.epochs, config.training.learning_rate) == (32, 1000, 1e-4)
    assert (config.protocol.val, config.protocol.test, config.protocol.repeats) == (0.15, 0.15, 20)
    assert set(config.heads) == {"unimodal", "concat", "weighted", "vote"}
    assert config.features["speech"].upstream.name == "acoustic"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainning": {}}, "unknown key 'trainning'; did you mean 'training'"),
        ({"training": {"learnin_rate": 1e-3}}, "did you mean 'learning_rate'"),
        ({"training": {"epochs": "50"}}, r"\[training\] epochs: Input should be a valid integer, got '50'"),
        ({"training": {"epochs": 0}}, "epochs should be 1 or more, got 0"),
        ({"protocol": {"kind": "repeats"}}, "kind should be one of repeated"),
        ({"heads": {"weigthed": {}}}, "did you mean 'weighted'"),
        ({"heads": {"concat": {"subsets": [["text", "image"]]}}}, "subsets name image"),
        ({"features": {}}, "no .features"),
        ({"features": {"sound": {"extractor": "bert"}}}, "named after a modality"),
        ({"features": {"text": {}}}, "lacks the key 'extractor': one of bert"),
        ({"features": {"text": {"extractor": "bert", "layer": 4}}}, "did you mean 'layers'"),
        ({"features": {"text": {"extractor": "bert", "train": {}, "numerics": "exakt"}}}, "numerics should be one of"),
        ({"corpus": {}}, "lacks the key 'kind'"),
        ({"corpus": {"kind": "synthetic", "speeker": 3}}, "unknown key 'speeker'; did you mean 'speakers'"),
        ({"seed": True}, "seed an integer from 0, got 'study' and True"),
        ({"training": {"preset": ["fast"]}}, r"^\[training\] preset should be one of paper, fast, got \['fast'\]"),
        ({"training": {"preset": "fats"}}, "got 'fats'; did you mean 'fast'"),
        ({"variants": {"a": {"preset": "fats"}}}, r"^\[variants.a\] preset .*did you mean 'fast'"),
        ({"variants": {"a": {"preset": ["fast"]}}}, r"^\[variants.a\] preset should be one of"),
        ({"training": {"optimiser": "adm"}}, r"^\[training\] optimiser should be .*did you mean 'adam'"),
        ({"robustness": {"noise": [-1.0]}}, r"^\[robustness\] noise should be"),
        ({"protocol": {"repeats": 10**6}}, r"repeats, and rounds x folds, should be 10,000 at most, got 1,000,000"),
        ({"protocol": {"kind": "k-fold", "rounds": 10**6}}, "10,000 at most"),
        ({"search": {"trials": 10**9}}, r"^\[search\] trials should be 10,000,000 at most, got 1,000,000,000"),
        ({"corpus": {"kind": "synthetic", "speakers": 10**12}}, r"^\[corpus\] speakers should be"),
        ({"study": {"missing": "masked"}}, "missing should be one of complete, mask"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place_and_the_remedy(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": {"fixed": {"weights": {"text": 1, "speech": 1, "sppech": 1}}}}, r"names 'sppech', .*mean 'speech'"),
        ({"heads": {"fixed": {"weights": {"text": 1, "sppech": 1}}}}, "no weight for speech: .*did you mean 'sppech'"),
        ({"heads": {"tensor": {"width": 65}}}, r"^\[heads.tensor\] width should be from 1 to 64"),
        ({"heads": {"low_rank": {"rank": 0}}}, r"^\[heads.low_rank\] rank should be 1 or more"),
        (
            {"report": {"reference": "weighted[speech+txt]"}},
            r"will not be run; did you mean 'weighted\[speech\+text\]'",
        ),
    ],
)
def test_what_no_head_can_do_is_said_before_any_work(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    features = {"text": {"extractor": "bert"}, "speech": {"extractor": "acoustic"}}
    with pytest.raises(ConfigError, match=message):
        check_study(parse(features=features, **changes), Root(tmp_path))


def test_an_unknown_extractor_or_corpus_is_named_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean 'bert'"):
        parse(features={"text": {"extractor": "brt"}})
    with pytest.raises(NotFound, match="did you mean 'table'"):
        parse(corpus={"kind": "tabel"})


def test_a_training_table_without_a_trained_encoder_is_refused() -> None:
    image = {"extractor": "resnet", "weights": "random", "train": {"epochs": 3}}
    with pytest.raises(ConfigError, match="has no effect"):
        parse(features={"image": image})


SPEECH, TEXT = {"extractor": "lstm_cnn"}, {"extractor": "bert"}


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"speech": {**SPEECH, "views": {"pich": 1.0}}}, "unknown key 'pich'; did you mean 'pitch'.*it takes: count,"),
        (
            {"speech": {**SPEECH, "views": {"count": 0}}},
            r"\[features.speech.views\] count should be from 1 to 1000, got 0",
        ),
        ({"speech": {**SPEECH, "views": {"count": 1.5}}}, "count: Input should be a valid integer"),
        ({"speech": {**SPEECH, "views": {"pitch": "high"}}}, "pitch: Input should be a valid number"),
        ({"speech": {**SPEECH, "views": {"used_by": "head"}}}, "used_by should be one of both, encoder, heads"),
        (
            {"speech": {**SPEECH, "upstream": {"views": {"count": 1}}}},
            r"upstream\] takes no views: .*features.speech.v",
        ),
        ({"text": {**TEXT, "views": {"count": 1}}}, r"\[features.text.views\] bert has no views"),
        (
            {"image": {"extractor": "resnet", "weights": "random", "views": {"used_by": "encoder"}}},
            "these settings train none: let the heads use them",
        ),
    ],
)
def test_views_that_cannot_be_are_refused(feature: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(features=feature)


def test_an_empty_views_table_is_one_view_for_all_who_train() -> None:
    speech = parse_study({**SMALL, "features": {"speech": {**SPEECH, "views": {}}}}, base=Path.cwd()).features["speech"]
    assert [view.number for view in speech.encoder_views] == [view.number for view in speech.head_views] == [1]
    assert speech.encoder_views[0].as_dict() == {"number": 1, "pitch": 2.0, "stretch": 0.1, "noise": 30.0}


def test_all_that_the_papers_study_shows_can_be_taken_in() -> None:
    text = (EXAMPLES / "paper.toml").read_text(encoding="utf-8")
    shown = re.sub(r"^# (?=\[[\w.]+\]|\w+ = [^\n]*(?<!ours)$)", "", text, flags=re.M)
    shown = re.sub(r"^kind = \"k-fold\".*\n", "", shown, flags=re.M)
    assert shown != text
    config = parse_study(tomllib.loads(shown), base=EXAMPLES)
    assert [len(config.features[m].head_views) for m in ("image", "speech", "text")] == [2, 2, 0]
    assert config.variants["smote"].balance == "smote"
    assert config.robustness is not None
    assert config.search is not None
    assert all(plan.searched or plan.combines for plan in head_plans(config))


def test_broken_toml_and_a_missing_file_are_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no study file"):
        load_study(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("name = \n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken.toml is not valid TOML.*line 1"):
        load_study(tmp_path / "broken.toml")
    (tmp_path / "deep.toml").write_text(f"name = {'[' * 5000}{']' * 5000}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"deep.toml is not valid TOML: .*recursion"):
        load_study(tmp_path / "deep.toml")


@pytest.mark.parametrize(
    "name", ["", "../reports/x", "a/b", ".hidden", "..", "a b", "a\\b", "x" * 101, "tab\t", "\u200b"]
)
def test_a_name_that_is_a_path_or_no_name_is_refused(name: str) -> None:
    for content in ({**SMALL, "name": name}, {**SMALL, "corpus": {**SMALL["corpus"], "name": name}}):
        with pytest.raises(ConfigError, match="name should be letters, digits"):
            parse_study(content, base=Path())


@pytest.mark.parametrize(
    "name", ["a", "v1.2_final-3", "\u65e5\u672c\u8a9e", "\u0939\u093f\u0928\u094d\u0926\u0940", "x" * 100]
)
def test_names_are_letters_of_any_script(name: str) -> None:
    assert parse_study({**SMALL, "name": name}, base=Path()).name == name


def test_a_corpus_is_called_after_itself_whatever_the_study_is_called() -> None:
    def called(**corpus: Any) -> str:
        return str(parse_study({**SMALL, "corpus": corpus, "name": "study"}, base=Path()).corpus.config.name)

    table = {"kind": "table", "columns": {"id": "id", "text": "text"}}
    assert called(**table, path="data/film.v2.csv") == "film.v2"
    assert called(**table, path="data/my table (1).csv") == "my_table__1_"
    assert called(**table, path="a.csv", name="own") == "own"
    folder = {"kind": "folder", "pattern": "(?P<emotion>[a-z]+)", "labels": {"emotion": "emotion"}}
    assert [called(**folder, path=path) for path in ("media/faces", ".", "../v1.0/")] == ["faces", "folder", "v1.0"]
    assert called(kind="synthetic") == "synthetic"
