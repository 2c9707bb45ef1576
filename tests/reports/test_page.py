"""The page: complete, self-contained, well-formed, and unmoved by hostile names."""

import base64
import hashlib
import html
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from reports.findings.searches import Searched
from reports.summary import summary
from reports.words import percent, points, span

SECTIONS = (
    "summary", "scores", "differences", "confusions", "emotions", "weights", "training", "data",
    "provenance", "paper",
)  # fmt: skip
VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = ("<script>alert(1)</script>", 'joy" onload="x', "$\\frac{x$ & ~", "غضب", "{{ 7*7 }}")
PAIR = ("speech", "text")
STAGES = {"decode": 5.0, "embed": 8.0, "waiting": 1.0, "write": 0.5}
SPOILT = {
    "classes": HOSTILE,
    "modalities": PAIR,
    "facts": {
        "name": "<b>study</b>",
        "warnings": ["<img src=x onerror=alert(1)>"],
        "excluded": {"<i>why</i>": 1},
        "extraction": {
            "text": {"rows": 100, "seconds": 10.0, "stages": STAGES},
            "<b>old</b>": {"rows": 0, "seconds": 0.0, "stages": {}},
        },
    },
}
POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]+)"')


class Checker(HTMLParser):
    """Collects tags, ids and links; fails on a tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"  # noqa: PT018
        self.open.pop()


def check(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


@pytest.mark.parametrize(
    "study",
    [
        {},
        {"modalities": ("text",)},
        {"protocol": "fixed", "pairing": "composed", "modalities": PAIR},
        {"repeats": 2, "modalities": PAIR},
    ],
    ids=["trimodal", "one modality", "composed", "two repeats"],
)
def test_the_page_is_whole_well_formed_and_needs_no_network(report_of: Any, study: Any) -> None:
    text = report_of(**study).page
    found = check(text)
    assert set(SECTIONS) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert all(link.startswith("#") for link in found.links)
    assert all(link[1:] in found.ids for link in found.links)
    assert not {"link", "iframe", "img", "form", "object"} & set(found.tags)
    assert found.tags.count("script") == 1
    assert not re.search(r"url\((?!#)|@import", text)
    assert "None" not in re.sub(r"<[^>]*>", " ", text)


def test_names_from_the_data_are_escaped_everywhere(report_of: Any) -> None:
    files, text = report_of(**SPOILT).files, report_of(**SPOILT).page
    found = check(text)
    assert not {"img", "b", "i"} & set(found.tags)
    assert found.tags.count("script") == 1
    assert found.handlers == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7*7 }}" in text
    drawn = [content for path, content in files.items() if path.startswith("figures/")]
    assert len(drawn) > 20
    for figure in drawn:
        ElementTree.fromstring(figure)
    latex = files["tables/scores.tex"].decode()
    assert latex.startswith("% needs \\usepackage{booktabs}")
    assert "\n\\begin{tabular}{lrrrrc}\n\\toprule\n" in latex


def test_the_only_script_that_runs_is_the_one_the_page_names(report_of: Any) -> None:
    text = report_of().page
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = POLICY.findall(text)
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}';" in html.unescape(policy)


def test_a_name_written_from_right_to_left_moves_nothing_beside_it(report_of: Any) -> None:
    text = report_of(**SPOILT).page
    assert "<bdi>غضب</bdi>" in text
    content = report_of().content
    emotions = content.chapters["emotions"]
    winners = tuple(replace(winner, label="غضب", told=True) for winner in emotions.winners)
    told = summary(replace(content, chapters={"emotions": replace(emotions, winners=winners)}))[2]
    assert told.count("غضب") == told.count("\u2068غضب\u2069") == len(winners)


def test_figures_have_a_text_alternative_and_take_their_colours_from_the_page(report_of: Any) -> None:
    text, files = report_of().page, report_of().files
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    names = {path.split("/")[1].removesuffix(".svg") for path in files if path.startswith("figures/")}
    assert {"scores", "joined", "gains", "classes", "recalls", "weights", "dropped", "confusion-1", "curve-1"} <= names
    assert len(drawings) == len(names)
    for drawing in drawings:
        assert 'role="img"' in drawing
        assert re.search(r"<title id=[^>]+>[^<]{10,}</title>", drawing)
        assert "currentColor" in drawing
        assert not re.search(r"#[0-9a-fA-F]{6}\b", drawing)
    assert "screen and (prefers-color-scheme: dark)" in text  # paper is light


def test_figures_tell_their_numbers_to_those_who_do_not_see_them(report_of: Any) -> None:
    text = report_of().page
    described = dict(
        re.findall(
            r'aria-describedby="(?P<name>[^"]+)-desc".*?<desc id="(?P=name)-desc">([^<]+)</desc>', text, flags=re.DOTALL
        )
    )
    gain = next(c for c in report_of().content.compared() if c.b == "unimodal[text]").primary
    assert f"minus text: {points(gain.difference)} ({points(gain.low)} to {points(gain.high)}), " in described["gains"]
    assert "image, joy: 48 used, 2 left out, 1 lack it" in described["classes"]
    score = report_of().content.score("unimodal[text]", "macro_f1")
    assert f"text {percent(score.estimate)} ({span(score.low, score.high)})" in described["scores"]
    assert "weighted" in described["joined"]


def test_the_papers_scores_are_shown_as_printed_and_never_as_a_target(report_of: Any) -> None:
    text = report_of().page
    paper = text[text.index('id="paper"') :]
    assert "never a target" in paper
    assert "<td>93.8</td>" in paper


def test_methods_and_tables_lie_beside_the_page(report_of: Any) -> None:
    files = report_of().files
    methods = files["methods.md"].decode()
    assert "Nadeau & Bengio 2003" in methods
    assert "6 repeats" in methods
    comparisons = files["tables/comparisons.csv"].decode().splitlines()
    assert comparisons[0].startswith("family,metric,a,b,verdict,reason,holm_p,")
    assert sum(line.startswith("strategies,macro_f1,") for line in comparisons) == 5
    tables, latex = ({path for path in files if path.endswith(suffix)} for suffix in (".csv", ".tex"))
    assert {path.replace(".csv", ".tex") for path in tables} == latex


def test_what_extraction_cost_is_told_by_stage_with_shares_of_the_loop(report_of: Any) -> None:
    text = report_of(**SPOILT).page
    table = text[text.index('id="extraction"') :]
    row = re.search(r"<tr><th>text</th>(.*?)</tr>", table)
    assert row is not None
    cells = re.findall(r"<td>(.*?)</td>", row[1])
    assert cells == [
        "100",
        "10.0",
        "10.0",
        "0.0 s",
        "5.0 s",
        "8.0 s, 80 %",
        "0.5 s, 5 %",
        "1.0 s, 10 %",
        "80 %",
    ]
    assert "&lt;b&gt;old&lt;/b&gt;" in table
    assert 'id="extraction"' not in report_of().page


def test_how_settings_were_searched_stands_above_them_and_models_not_listed_are_folded(
    report_of: Any, section_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = report_of().content
    other = next(model.name for model in content.models if model.name not in (content.reference, "majority class"))
    searches = tuple(
        Searched(
            model=model, method="bayes", folds=None, scope="repeat", trials=16, space={"dropout": tried},
            chosen={"dropout": "0 (6)"},
        )
        for model, tried in ((content.reference, "0, 0.5"), (other, "0, 0.25"))
    )  # fmt: skip
    monkeypatch.setattr("reports.chapters.training.shown_first", lambda results: {results.reference})
    text = section_of("training", replace(content.chapters["training"], searches=searches))
    said = text.index(
        "Dropout of 2 models were chosen by 16 trials of Bayesian optimisation (TPE) a model, within each"
    )
    folded = text.index("<details><summary>Searched settings of 1 more")
    assert said < text.index(">0, 0.5</td>") < folded < text.index(">0, 0.25</td>")
