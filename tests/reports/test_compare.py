"""Two reports side by side: flips with what bears on them, and whatever does not fit said plainly."""

import copy
from pathlib import Path
from typing import Any

import pytest

from reports.comparisons import ABOVE, UNTOLD
from reports.errors import EvidenceError
from reports.side_by_side.flips import Side, compare_sides, read_side
from reports.side_by_side.page import write_comparison
from stores.identity import canonical
from stores.root import Root

FULL = "image+speech+text"
WEIGHTED = f"weighted[{FULL}]"


@pytest.fixture(scope="module")
def side(report_of: Any) -> Side:
    written = report_of()
    return read_side(written.root, canonical(written.content))


def _changed(side: Side) -> Side:
    """Return a copy of a side as another study would be, free to be changed."""
    results = copy.deepcopy(dict(side.results)) | {"id": "report-000000000000"}
    return Side(title="other", results=results, specs=copy.deepcopy(dict(side.specs)))


def _verdict(side: Side, b: str) -> Any:
    return next(
        c for c in side.results["comparisons"] if (c["family"], c["metric"], c["b"]) == ("strategies", "macro_f1", b)
    )


def test_a_report_beside_itself_has_no_flip_and_no_difference(side: Side) -> None:
    found = compare_sides(side, side)
    assert (found.flips, found.changes) == ((), ())
    assert found.kept == len(side.results["comparisons"])
    assert found.remarks == ("A and B are the same report.",)


def test_a_flip_names_how_it_moved_and_only_what_bears_on_its_models(side: Side) -> None:
    other = _changed(side)
    flipped = _verdict(other, "unimodal[text]")
    assert flipped["verdict"] == ABOVE
    flipped |= {"verdict": UNTOLD, "reason": "the interval includes 0", "holm_p": 0.25}
    flipped["primary"] |= {"difference": 0.011, "low": -0.02, "high": 0.042}
    alone = next(c for c in other.results["comparisons"] if c["a"] == "unimodal[speech]" and c["metric"] == "macro_f1")
    alone["verdict"] = UNTOLD if alone["verdict"] != UNTOLD else ABOVE
    other.results["facts"]["seed"] = 8
    other.results["facts"]["features"]["image"]["identity"] = {"config": {"size": 112}}
    other.results["facts"]["features"]["text"]["versions"] = ["torch 2.15.0"]
    other.specs["concat[image+text]"]["training"] = {"epochs": 9}
    found = compare_sides(side, other)
    flips = {(flip.a, flip.b): flip for flip in found.flips}
    assert set(flips) == {(WEIGHTED, "unimodal[text]"), (alone["a"], alone["b"])}
    flip = flips[WEIGHTED, "unimodal[text]"]
    assert (flip.first.verdict, flip.second.verdict) == ("gain", "cannot tell")
    assert " → +1.1 pp; half interval " in flip.how
    assert flip.how.endswith("→ 0.250; B: the interval includes 0")
    words = {(change.kind, change.words) for change in found.changes}
    assert words == {
        ("seeds", "seed 7 -> 8"),
        ("features", "image: size none -> 112"),
        ("versions", "text: torch 2.14.1 -> torch 2.15.0"),
        ("settings", "concat[image+text]: training.epochs none -> 9"),
    }
    assert flip.because == ("seed 7 -> 8", "image: size none -> 112", "text: torch 2.14.1 -> torch 2.15.0")
    assert flips[alone["a"], alone["b"]].because == ("seed 7 -> 8",)
    assert found.kept == len(side.results["comparisons"]) - 2


def test_models_go_by_the_short_names_of_the_reports_unless_two_would_share_one(
    report_of: Any, side: Side, tmp_path: Path
) -> None:
    other = _changed(side)
    _verdict(other, "unimodal[text]")["verdict"] = UNTOLD
    found = compare_sides(side, other)
    assert (found.labels[WEIGHTED], found.labels["unimodal[text]"]) == ("weighted", "text")
    assert found.labels["concat[image+text]"] == "concat · image + text"
    text = Path(write_comparison(Root(tmp_path), found)[0]).read_text(encoding="utf-8")
    assert "<th>weighted v text</th>" in text
    assert "unimodal[" not in text
    other.results["models"].append({"name": "twin", "head": "weighted", "modalities": FULL.split("+"), "variant": ""})
    assert compare_sides(side, other).labels["twin"] == "twin"
    assert compare_sides(side, other).labels[WEIGHTED] == WEIGHTED


def test_holm_over_more_comparisons_is_named_where_it_applies(side: Side) -> None:
    other = _changed(side)
    family = next(family for family in other.results["families"] if family["name"] == "strategies")
    family["pairs"].append(["a", "b"])
    [change] = compare_sides(side, other).changes
    n = len(family["pairs"])
    assert change.words == f"Holm over {n - 1} -> {n} comparisons (strategies)"
    assert change.bears_on == ("strategies",)


def test_other_metrics_classes_models_and_references_are_remarked_on(report_of: Any, side: Side) -> None:
    accurate = _changed(side)
    accurate.results["method"]["primary_metric"] = "accuracy"
    found = compare_sides(side, accurate)
    assert found.remarks[0].startswith("The primary metrics differ: macro F1 in A, accuracy in B.")
    assert found.kept == len(side.results["comparisons"])
    fewer = report_of(modalities=("text",))
    alone = read_side(fewer.root, canonical(fewer.content))
    for number, count in enumerate(alone.results["classes"]):
        count["label"] = f"other {number}"
    found = compare_sides(side, alone)
    said = " ".join(found.remarks)
    assert f"The references differ: {WEIGHTED} in A, unimodal[text] in B." in said
    assert "The classes differ: joy, sadness, anger, fear and neutral in A, other 0, " in said
    assert "Only in A: " in said
    assert {"data", "features"} <= {change.kind for change in found.changes}


def test_a_report_of_another_schema_is_refused_with_what_to_do(report_of: Any, side: Side) -> None:
    with pytest.raises(EvidenceError, match=r"schema version 1, expected \d+: write the report again"):
        read_side(report_of().root, {**side.results, "schema_version": 1})


def test_the_page_is_whole_escapes_what_it_is_given_and_is_the_same_bytes_again(side: Side, tmp_path: Path) -> None:
    other = _changed(side)
    _verdict(other, "unimodal[text]")["verdict"] = UNTOLD
    other.results["facts"]["name"] = other.results["facts"]["scheme"] = "<script>alert(1)</script>"
    hostile = Side(title="<img src=x>", results=other.results, specs=other.specs)
    found = compare_sides(side, hostile)
    pages = []
    for name in ("one", "two"):
        index, results = write_comparison(Root(tmp_path / name), found)
        pages.append((Path(index).read_bytes(), Path(results).read_bytes()))
    assert pages[0] == pages[1]
    text = pages[0][0].decode()
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;img src=x&gt;" in text
    assert "&lt;script&gt;alert" in text
    for name in ("summary", "flips", "changes", "sides", "reports"):
        assert f'<section id="{name}">' in text
    assert text.count("<section") == text.count("</section>") == 5
    assert "One thing differs: scheme emotion" in text
