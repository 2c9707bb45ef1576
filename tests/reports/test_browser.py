"""The page in a browser: what it asks for, how wide it is, what sorts, and what is printed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.chromium import Chromium

PROGRAM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="no Chromium on PATH: install one to look at pages")
HEADS = "[...document.querySelectorAll('#scores table')[0].tHead.rows[0].cells]"
FIRST = "[...document.querySelectorAll('#scores table')[0].tBodies[0].rows].map(r => r.cells[2].textContent)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium(PROGRAM) as opened:
        yield opened


@pytest.fixture(scope="module")
def index(report_of: Any) -> Path:
    return report_of().folder / "index.html"  # type: ignore[no-any-return]


def test_the_page_asks_for_nothing_and_complains_about_nothing(browser: Chromium, index: Path) -> None:
    browser.requests.clear()
    browser.console.clear()
    browser.look(index, width=1280)
    assert browser.value("document.querySelectorAll('main section').length") > 5
    assert browser.requests == [index.as_uri()]
    assert browser.console == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_is_as_wide_as_the_window_and_scrolls_only_inside_its_tables(
    browser: Chromium, index: Path, width: int
) -> None:
    browser.look(index, width=width)
    assert browser.value("document.documentElement.scrollWidth") == width


def test_the_answer_and_the_figure_of_gains_are_on_the_first_screen(browser: Chromium, index: Path) -> None:
    browser.look(index, width=1280)
    assert browser.value("document.querySelector('.answer').getBoundingClientRect().bottom") < 800
    assert browser.value("document.querySelector('#figure-gains svg').getBoundingClientRect().bottom") < 800


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(253, 253, 252)"), ("dark", "rgb(20, 24, 29)")])
def test_the_page_follows_the_colours_the_reader_prefers(
    browser: Chromium, index: Path, scheme: str, paper: str
) -> None:
    browser.look(index, width=1280, scheme=scheme)
    assert browser.value("getComputedStyle(document.body).backgroundColor") == paper


def test_a_heading_sorts_its_column_and_says_so(browser: Chromium, index: Path) -> None:
    browser.look(index, width=1280)
    browser.value(f"{HEADS}[2].querySelector('button').click()")
    rising = [float(text) for text in browser.value(FIRST)]
    assert rising == sorted(rising)
    assert browser.value(f"{HEADS}[2].getAttribute('aria-sort')") == "ascending"
    browser.value(f"{HEADS}[2].querySelector('button').click()")
    assert [float(text) for text in browser.value(FIRST)] == rising[::-1]
    assert browser.value(f"{HEADS}.filter(head => head.hasAttribute('aria-sort')).length") == 1


def test_on_paper_the_page_is_light_and_nothing_is_cut_off(browser: Chromium, index: Path) -> None:
    browser.look(index, width=718, scheme="dark", medium="print")  # A4 without its margins, in CSS px
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 252)"
    wide = (
        "[...document.querySelectorAll('table, svg')].filter(it => it.getBoundingClientRect().right > innerWidth + 1)"
    )
    assert browser.value(f"{wide}.map(it => it.closest('section').id + ' ' + it.tagName)") == []
    assert browser.print().startswith(b"%PDF")
