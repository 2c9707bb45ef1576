"""Near-duplicates among rows: planted copies are found, and rows that only lie close by class are not."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import beta

from reports.findings import near_duplicates as radar
from reports.findings.near_duplicates import ALPHA, NEIGHBOURS, find_near


def draw(seed: int, n: int = 300, filled: int = 12, width: int = 64) -> np.ndarray:
    """Return (n, width) float16 rows that fill `filled` directions."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, filled)) @ rng.normal(size=(filled, width)) + 3.0
    return rows.astype(np.float16)


def collapsed(seed: int, n: int = 400) -> np.ndarray:
    """Return rows of an encoder that has all but forgotten everything except five classes."""
    rng = np.random.default_rng(seed)
    means = 20 * rng.normal(size=(5, 64))
    return (means[np.arange(n) % 5] + draw(seed, n)).astype(np.float16)


def pairs_of(rows: np.ndarray, groups: np.ndarray | None = None) -> set[tuple[int, int]]:
    own = np.arange(len(rows)) if groups is None else groups
    return {(int(a), int(b)) for a, b in find_near(rows, own, rows, own).pairs}


def with_copies(rows: np.ndarray, noise: float) -> np.ndarray:
    """Append copies of the first four rows, with noise of a share of the deviation of every column."""
    added = np.random.default_rng(9).normal(size=(4, rows.shape[1])) * rows.astype(np.float64).std(axis=0) * noise
    return np.concatenate([rows, (rows[:4] + added).astype(np.float16)])


@pytest.mark.parametrize("rows", [draw(1), collapsed(2)], ids=["spread", "collapsed by class"])
def test_noisy_copies_are_found_from_both_sides_and_nothing_else_is(rows: np.ndarray) -> None:
    n = len(rows)
    expected = {(i, n + i) for i in range(4)}
    assert pairs_of(rows) == set()
    assert pairs_of(with_copies(rows, 0.02)) == expected | {(b, a) for a, b in expected}


def test_rows_of_many_clean_corpora_raise_an_alarm_as_rarely_as_promised() -> None:
    alarms = sum(bool(pairs_of(draw(seed, n=150, filled=8))) for seed in range(60))
    assert alarms <= 8  # 60 x 5 % are 3; more than 8 would come of chance once in 200 times


def test_of_rows_that_scatter_unlike_one_another_more_are_near_than_the_nominal_rate_and_few_surely() -> None:
    alarms = sure = 0
    for seed in range(10):
        scatter = np.random.default_rng(seed).lognormal(sigma=1.2, size=300)[:, None]
        means = 20 * np.random.default_rng(seed + 100).normal(size=(5, 64))[np.arange(300) % 5]
        rows = (means + scatter * (draw(seed).astype(np.float64) - 3)).astype(np.float16)
        near = find_near(rows, np.arange(300), rows, np.arange(300))
        alarms, sure = alarms + bool(len(near.pairs)), sure + bool(near.sure.any())
    assert alarms > 5  # "nominal" on the page and in the module is no more than the truth
    assert sure <= 3


def test_several_copies_of_one_recording_do_not_hide_each_other() -> None:
    rows = draw(3)
    added = np.random.default_rng(4).normal(scale=0.01, size=(4, rows.shape[1]))
    found = pairs_of(np.concatenate([rows, (rows[:1] + added).astype(np.float16)]))
    assert found == {(a, b) for a in (0, 300, 301, 302, 303) for b in (0, 300, 301, 302, 303) if a != b}


def test_a_corpus_that_is_there_twice_is_seen_to_be() -> None:
    rows = draw(5, n=120)
    noisy = (rows + np.random.default_rng(6).normal(scale=0.01, size=rows.shape)).astype(np.float16)
    assert len(pairs_of(np.concatenate([rows, noisy]))) == 240


def test_rows_of_one_group_are_not_compared() -> None:
    rows = with_copies(draw(1), 0.02)
    groups = np.arange(len(rows))
    groups[300:302] = groups[:2]
    assert {min(pair) for pair in pairs_of(rows, groups)} == {2, 3}


def test_a_cosine_below_the_floor_is_never_near_however_lonely_the_two_are() -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(200, 512))
    partner = 0.8 * rows[0] + 0.6 * rng.normal(size=512)
    assert pairs_of(np.concatenate([rows, partner[None]]).astype(np.float16)) == set()


def test_neighbours_are_those_of_brute_force_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, groups = draw(8, n=90), np.arange(90) // 3
    unit = radar._unit(rows, rows.mean(axis=0, dtype=np.float64).astype(np.float32))
    exact = cdist(unit, unit)
    exact[groups[:, None] == groups] = np.inf
    for block in (1, 1000, 1 << 24):
        monkeypatch.setattr(radar, "_BLOCK", block)
        distances, found = radar._neighbours(unit, groups, unit, groups)
        assert np.array_equal(found, np.argsort(exact, axis=1)[:, :NEIGHBOURS])
        assert np.allclose(distances, np.sort(exact, axis=1)[:, :NEIGHBOURS], atol=1e-6)


@pytest.mark.parametrize("filled", [4, 8])
def test_the_dimension_is_that_of_the_sphere_the_rows_lie_on(filled: int) -> None:
    rows = draw(10, n=3000, filled=filled, width=filled).astype(np.float64)
    round_rows = np.random.default_rng(11).normal(size=rows.shape).astype(np.float32)
    near = find_near(round_rows, np.arange(3000), round_rows, np.arange(3000))
    assert near.dimension == pytest.approx(filled - 1, rel=0.12)


def test_the_limit_is_the_quantile_of_the_ratio_to_the_nearest_among_ten() -> None:
    rows = draw(12)
    near = find_near(rows, np.arange(300), rows, np.arange(300))
    assert near.dimension is not None
    assert near.ratio is not None
    chance = beta(1, NEIGHBOURS - 1).cdf(near.ratio**near.dimension)  # of the least of nine uniform numbers
    assert chance == pytest.approx(ALPHA / 300, rel=1e-9)


def test_too_few_rows_and_rows_without_strangers_are_not_judged() -> None:
    few = find_near(draw(1, n=20), np.arange(20), draw(1, n=20), np.arange(20))
    assert (few.ratio, few.reason, few.pairs.shape) == (None, "only 20 different rows, of 30 asked for", (0, 2))
    rows, groups = draw(1, n=40), np.arange(40) // 35
    assert "have 10 rows of other groups" in find_near(rows, groups, rows, groups).reason


def test_rows_that_are_all_alike_are_not_judged() -> None:
    rows = np.ones((40, 8), np.float16)
    near = find_near(rows, np.arange(40), rows, np.arange(40))
    assert near.ratio is None
    assert len(near.pairs) == 0
