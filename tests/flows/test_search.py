"""A search from the study file to the report: what is planned, counted and told."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.jobs import Options, study_job
from flows.pipeline import head_plans
from flows.study_config import StudyConfig, parse_study
from fusion.errors import SplitError
from reports.report import write_report
from stores.errors import ConfigError
from stores.root import Root
from stores.studies import StudyStore

CHECKOUT = Path(__file__).resolve().parents[2]
SMALL = {
    "corpus": {"kind": "synthetic"},
    "features": {"text": {"extractor": "bert"}, "speech": {"extractor": "lstm_cnn"}},
}
SEARCH = '[search]\nspace = { learning_rate = [1e-9, 1e-2] }\nscope = "repeat"\n'


def parse(**changes: object) -> StudyConfig:
    return parse_study({**SMALL, **changes}, base=Path.cwd())


def documented() -> list[dict[str, Any]]:
    text = (CHECKOUT / "docs" / "search.md").read_text(encoding="utf-8")
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, flags=re.S)]


@pytest.mark.parametrize("tables", documented(), ids=lambda tables: "-".join(tables["search"]))
def test_every_search_the_document_shows_can_be_planned(tables: dict[str, Any]) -> None:
    assert all(plan.searched is not None for plan in head_plans(parse(**tables)) if not plan.combines)


def test_every_head_that_is_trained_has_the_same_budget_and_its_own_space() -> None:
    space = {"rank": [2, 4, 8]}
    heads = {"unimodal": {}, "low_rank": {"rank": 2, "search": {"space": space}}, "vote": {}}
    plans = {
        plan.head: plan
        for plan in head_plans(parse(heads=heads, search={"method": "bayes", "trials": 9, "space": "default"}))
    }
    assert plans["vote"].search is None
    found = {name: plans[name].searched for name in ("unimodal", "low_rank")}
    assert {own.trials for own in found.values() if own} == {9}
    assert found["low_rank"] is not None
    assert found["unimodal"] is not None
    assert set(found["low_rank"].space) - set(found["unimodal"].space) == {"rank"}


def test_variants_are_searched_too_and_without_a_search_there_is_none() -> None:
    variants = {"smooth": {"label_smoothing": 0.1}}
    plans = head_plans(parse(heads={"concat": {}}, variants=variants, search={}))
    assert [(plan.variant, plan.searched is not None) for plan in plans] == [("", True), ("smooth", True)]
    assert [plan.searched for plan in head_plans(parse())] == [None] * 4


def test_what_a_variant_sets_itself_is_not_searched_in_it() -> None:
    variants = {"own": {"learning_rate": 1e-4}, "quick": {"preset": "fast"}, "wide": {"width": 256}}
    search = {"space": {"learning_rate": [1e-4, 5e-4], "width": [64, 128], "dropout": [0.0, 0.3]}}
    plans = {plan.variant: plan for plan in head_plans(parse(heads={"concat": {}}, variants=variants, search=search))}
    tried = {name: set(plan.searched.space) for name, plan in plans.items() if plan.searched}
    assert tried == {
        "": {"learning_rate", "width", "dropout"},
        "own": {"width", "dropout"},
        "quick": {"width", "dropout"},
        "wide": {"learning_rate", "dropout"},
    }
    nothing = head_plans(
        parse(heads={"concat": {}}, variants=variants, search={"space": {"learning_rate": [1e-4, 5e-4]}})
    )
    assert [plan.variant for plan in nothing if plan.searched is None] == ["own", "quick"]


def test_folds_that_cannot_be_dealt_are_refused_before_anything_is_extracted(searched: Path, tmp_path: Path) -> None:
    text = searched.read_text(encoding="utf-8")
    searched.write_text(text.replace('scope = "repeat"', 'on = "k-fold"\nfolds = 50'), encoding="utf-8")
    root = tmp_path / "none"
    with pytest.raises(SplitError, match="a search on 50 folds needs every class"):
        study_job(str(searched), Options(root=str(root), quiet=True))
    assert not Root(root).names("features")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"space": 3}}, r"^\[search\] space should be paper or default, or a table .*, got 3$"),
        ({"search": {"method": "bayesian"}}, r"^\[search\] method should be one of grid, bayes, .*mean 'bayes'"),
        ({"search": {"space": {"dropout": [2.0]}}}, r"^\[search.space\] dropout should be in"),
        ({"search": {"metod": "grid"}}, "unknown key 'metod'; did you mean 'method'"),
        ({"search": {"space": "papers"}}, "did you mean 'paper'"),
        ({"search": {"space": {"learning_rat": [1]}}}, "did you mean 'learning_rate'"),
        ({"search": {"trials": 2}}, r"the grid of concat has 6 points \(2 x 3\), but trials = 2"),
        ({"heads": {"concat": {"search": {"space": {}}}}}, r"heads.concat.search. says .* add \[search\]"),
        ({"search": {}, "heads": {"concat": {"search": {"trials": 3}}}}, "unknown key 'trials'"),
        (
            {"search": {}, "heads": {"unimodal": {}, "vote": {"search": {"space": {"width": [8]}}}}},
            "vote trains nothing",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_any_work(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        head_plans(parse(**{"heads": {"concat": {}}, **changes}))


@pytest.fixture
def searched(faces_study: Path) -> Path:
    faces_study.write_text(faces_study.read_text(encoding="utf-8") + SEARCH, encoding="utf-8")
    return faces_study


def _methods(ran: dict[str, Any]) -> str:
    return (Path(ran["report"]).parent / "methods.md").read_text(encoding="utf-8")


def test_a_study_tells_what_was_searched_and_how_often_its_test_parts_were_opened(
    searched: Path, result: Callable[..., Any], tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    ran = result("run", str(searched), root=root)
    counted = {"purposes": {"score": 3}, "runs": 3, "most": 1, "interrupted": 0, "at_once": 0}
    assert ran["test_openings"] == counted
    content = json.loads(Path(ran["results"]).read_text(encoding="utf-8"))
    assert content["openings"] == counted
    (search,) = content["chapters"]["training"]["searches"]
    assert search["space"] == {"learning_rate": "1e-09, 0.01"}
    assert search["chosen"] == {"learning_rate": "0.01 (3)"}
    methods, page = _methods(ran), Path(ran["report"]).read_text(encoding="utf-8")
    assert "a grid of 2 points a model, within each repeat anew" in methods
    assert "3 to score 3 runs, at most once a model and repeat" in methods
    assert "3 to score 3 runs, at most once a model and repeat" in page
    assert 'id="searched"' in page
    assert "searched" not in [banner["kind"] for banner in content["banners"]]
    before = {path: path.read_bytes() for path in Path(ran["report"]).parent.rglob("*") if path.is_file()}
    again = result("run", str(searched), root=root)
    assert again["test_openings"] == counted
    assert {path: path.read_bytes() for path in before} == before


def test_one_search_for_all_repeats_is_told_above_all_scores(
    searched: Path, result: Callable[..., Any], tmp_path: Path
) -> None:
    searched.write_text(
        searched.read_text(encoding="utf-8").replace('scope = "repeat"', 'scope = "study"\non = "k-fold"\nfolds = 3'),
        encoding="utf-8",
    )
    ran = result("run", str(searched), root=tmp_path / "runs")
    content = json.loads(Path(ran["results"]).read_text(encoding="utf-8"))
    assert "searched" in [banner["kind"] for banner in content["banners"]]
    methods = _methods(ran)
    assert "once, on training and validation of the first repeat, for all repeats" in methods
    assert "the mean over 3 folds" in methods
    assert "The choice of settings has seen test samples" in methods


def test_a_model_that_is_changed_and_scored_again_is_seen_on_the_odometer(
    faces_study: Path, result: Callable[..., Any], affuse: Callable[..., Any], tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    first = result("run", str(faces_study), root=root)
    faces_study.write_text(
        faces_study.read_text(encoding="utf-8").replace("epochs = 4", "epochs = 3"), encoding="utf-8"
    )
    said = affuse("study", str(faces_study), "--root", str(root))
    told = "Test parts opened in this study: 6 to score 6 runs, at most 2 times a model and repeat"
    assert told in re.sub(r"\s+", " ", said.stderr)
    store = StudyStore.open(Root(root), first["study"])
    runs = json.loads(Path(first["results"]).read_text(encoding="utf-8"))["runs"]
    again = write_report(Root(root), store.id, runs, parse().report)
    assert again.content.openings.most == 2
