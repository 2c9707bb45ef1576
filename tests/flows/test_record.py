"""What was run and not shown, asked for otherwise, or tried with other seeds is on the page, before any score."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Talkers

ELEVEN = (
    "concat",
    "weighted",
    "vote",
    "fixed",
    "average",
    "gated",
    "attention",
    "confidence",
    "class_weighted",
    "joint_relu",
    "low_rank",
)
TRAINING = "\n[training]\nepochs = 1\nwidth = 4\n"
Result = Callable[..., Any]


@pytest.fixture
def study(talkers: Talkers) -> Talkers:
    """The talkers of two modalities whose rows are there, with three repeats, scored by accuracy in the end."""
    start = talkers.study.index("[features.speech]")
    talkers.study = talkers.study[:start] + talkers.study[talkers.study.index("[features.image]") :]
    talkers.replace("repeats = 2", "repeats = 3")
    talkers.study += TRAINING
    return talkers


def heads(study: Talkers, names: tuple[str, ...]) -> str:
    tables = "".join(f'[heads.{name}]\nsubsets = [["image", "text"]]\n' for name in names)
    return study.study.replace("[heads.unimodal]\n", "[heads.unimodal]\n" + tables)


def run(result: Result, study: Talkers, text: str) -> tuple[dict[str, Any], str, str]:
    """Run a study file; return results.json, the page as plain text, and methods.md."""
    study.save()
    study.path.write_text(text, encoding="utf-8")
    told = result("run", str(study.path), "--device", "cpu", root=study.root)
    folder = Path(told["results"]).parent
    page = re.sub(r"<[^>]+>", " ", (folder / "index.html").read_text(encoding="utf-8"))
    return (
        json.loads((folder / "results.json").read_text(encoding="utf-8")),
        re.sub(r"\s+", " ", page),
        (folder / "methods.md").read_text(encoding="utf-8"),
    )


def test_who_keeps_the_winner_of_eleven_heads_under_another_metric_is_read_to_have_done_so(
    study: Talkers, result: Result, affuse: Callable[..., Any]
) -> None:
    all_of_them, page, methods = run(result, study, heads(study, ELEVEN))
    assert [banner for banner in all_of_them["banners"] if banner["kind"] == "selective"] == []
    assert "a part of what was run" not in page
    assert "39 runs of 13 models were ever scored in this study" in methods
    winner = '\n[report]\nprimary_metric = "accuracy"\nreference = "gated[image+text]"\n'
    kept, page, methods = run(result, study, heads(study, ("gated",)) + winner)
    assert kept["study"] == all_of_them["study"]
    for text in (page, methods.replace("\\", "")):
        assert "Of 13 models that were scored in this study, 10 are not on this page: " in text
        assert "reference by default, now gated[image+text]; primary metric macro_f1, now accuracy" in text
    assert page.index("10 are not on this page") < page.index("reaches")
    assert "39 runs of 13 models were ever scored in this study, asked for by 2 study files, 2 references" in methods
    asked = kept["record"]["asked"]
    assert [(own["kind"], own["models"], own["runs"], own["primary_metric"]) for own in asked] == [
        ("run", 13, 39, "macro_f1"),
        ("run", 3, 9, "accuracy"),
    ]
    checked = result("report", str(study.path), "--check", root=study.root)
    assert checked["ok"]


def test_other_seeds_of_a_corpus_are_read_and_what_comes_later_changes_no_earlier_check(
    study: Talkers, result: Result
) -> None:
    text = heads(study, ("concat",))
    _, page, _ = run(result, study, text)
    assert "other seeds" not in page
    assert "a part of what was run" not in page
    _, page, methods = run(result, study, text.replace("seed = 1", "seed = 2"))
    third, page, methods = run(result, study, text.replace("seed = 1", "seed = 3"))
    for said in (page, methods):
        assert "The same corpus was scored with other seeds too: 1, 2 (18 runs asked for)." in said
    assert third["record"]["other_seeds"] == [1, 2]
    run(result, study, text.replace("seed = 1", "seed = 4").replace('name = "talkers"', 'name = "four"'))
    study.path.write_text(text.replace("seed = 1", "seed = 3"), encoding="utf-8")
    assert result("report", str(study.path), "--check", root=study.root)["ok"]
