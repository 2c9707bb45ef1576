"""Error rates and power of the tests on simulated studies: bounds, and the figures that the documentation prints."""

import re
from pathlib import Path

import pytest

from benchmarks import _group_designs
from benchmarks.false_positives import (
    CASES,
    GROUPED,
    Grouped,
    group_rates,
    line_of_design,
    rates,
    words,
    words_of_groups,
)

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"
ROUNDING = 0.0031  # of a share of 1,000 data sets: three of them may fall otherwise on another machine


def documented() -> dict[tuple[str, str], list[float | None]]:
    """Return the shares in the table of the document by (design, true gain)."""
    lines = re.findall(
        r"^\| (\d+ samples, .*|one split, (?:bootstrap|\d+ seeds) .*) \|$",
        DOCUMENT.read_text(encoding="utf-8"),
        flags=re.M,
    )
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {(design, gain): [float(x) / 100 if x else None for x in shares] for design, gain, *shares in cells}


NULLS = [case for case in CASES if not case.gain]
GAINS = [case for case in CASES if case.gain]


@pytest.mark.parametrize("case", NULLS, ids=words)
def test_between_equal_models_the_primary_test_errs_as_rarely_as_it_says_and_the_naive_one_does_not(case) -> None:  # type: ignore[no-untyped-def]
    found = rates(case)
    assert found.primary <= 0.06
    assert found.naive is not None
    assert found.naive > 0.15
    assert documented()[words(case), "0"] == pytest.approx([found.primary, found.naive, None], abs=ROUNDING)


@pytest.mark.parametrize("case", GAINS, ids=lambda case: f"{words(case)}, {case.gain}")
def test_power_is_what_the_document_says_and_nearly_what_the_report_foresees(case) -> None:  # type: ignore[no-untyped-def]
    found = rates(case)
    assert found.foreseen == pytest.approx(found.primary, abs=0.05)
    shown = documented()[words(case), f"{100 * case.gain:.0f}"]
    assert shown == pytest.approx([found.primary, None, found.foreseen], abs=ROUNDING)


@pytest.mark.parametrize("case", GROUPED, ids=lambda case: f"{words_of_groups(case)}, {case.gain}")
def test_the_bootstrap_over_groups_errs_and_finds_as_often_as_the_document_says(case: Grouped) -> None:
    found = group_rates(case)
    if case.seeds > 1 and not case.gain:
        assert found.primary <= 0.06
    if found.foreseen is not None:
        assert found.foreseen == pytest.approx(found.primary, abs=0.06)
    shown = documented()[words_of_groups(case), f"{100 * case.gain:.0f}"]
    assert shown == pytest.approx([found.primary, None, found.foreseen], abs=ROUNDING)


def test_the_document_shows_all_that_was_simulated_and_nothing_else() -> None:
    shown = {(words(case), f"{100 * case.gain:.0f}") for case in CASES}
    assert set(documented()) == shown | {(words_of_groups(case), f"{100 * case.gain:.0f}") for case in GROUPED}


def documented_designs() -> list[list[str]]:
    """Return the cells of the second table: groups, protocol, and what came out."""
    lines = [line.strip("| ").split(" | ") for line in DOCUMENT.read_text(encoding="utf-8").splitlines()]
    names = {shape.name for shape in _group_designs.SHAPES}
    return [cells for cells in lines if cells[0] in names]


def test_no_design_of_groups_errs_in_more_than_six_percent_and_all_are_in_the_document() -> None:
    shown = documented_designs()
    assert [tuple(row[:2]) for row in shown] == [(shape.name, protocol) for shape, protocol in _group_designs.designs()]
    for _, _, comparison, family, naive, gain, power in shown:
        assert float(naive) > 3
        assert float(gain) > 5
        if power != "no verdict":
            assert max(float(comparison), float(family)) <= 6.0
            assert float(power) > 10


def test_a_design_of_unequal_groups_errs_and_finds_as_often_as_the_document_says() -> None:
    shape = next(shape for shape in _group_designs.SHAPES if shape.name == "12 unequal groups")
    for protocol in ("20 repeats of 70/15/15", "one group out"):
        found = line_of_design(shape, protocol, _group_designs.rates(shape, protocol, corpora=8))
        row = next(row for row in documented_designs() if row[:2] == [shape.name, protocol])
        for own, told in zip(found.strip("| ").split(" | ")[2:], row[2:], strict=True):  # 200 studies of 1,500
            assert float(own) == pytest.approx(float(told), abs=max(3.0, 0.3 * float(told)))
