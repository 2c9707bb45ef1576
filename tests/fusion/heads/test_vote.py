import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.heads._head import HeadConfig
from fusion.heads.vote import Vote


def _vote(posteriors: dict[str, np.ndarray]) -> np.ndarray:
    here = {m: np.ones(len(rows), dtype=bool) for m, rows in posteriors.items()}
    return Vote(HeadConfig()).combine(posteriors, here).posteriors


def test_who_is_absent_does_not_vote() -> None:
    rows = _sure([0, 1, 1], [0.9, 0.5, 0.6])
    here = {"m0": np.array([True]), "m1": np.array([False]), "m2": np.array([True])}
    (row,) = Vote(HeadConfig()).combine(rows, here).posteriors
    assert row.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])  # a tie of two, decided by the surer


def _sure(votes: list[int], confidence: list[float]) -> dict[str, np.ndarray]:
    """One sample; voter m gives its class the confidence and shares the rest out among three others."""
    rows = {}
    for m, (vote, c) in enumerate(zip(votes, confidence, strict=True)):
        row = np.full(4, (1 - c) / 3, dtype=np.float32)
        row[vote] = c
        rows[f"m{m}"] = row[None]
    return rows


@pytest.mark.parametrize(
    ("votes", "confidence", "winner", "share"),
    [
        ([0, 1, 0], [0.5, 0.9, 0.5], 0, 2 / 3),  # audit, part 4, example 6
        ([0, 1, 2], [0.5, 0.6, 0.9], 2, 2 / 4),  # audit, part 4, example 6
        ([2, 2, 2], [0.4, 0.4, 0.4], 2, 1.0),
        ([3, 1], [0.7, 0.6], 3, 2 / 3),
        ([3, 1], [0.6, 0.6], 3, 2 / 3),  # equally confident: the first modality by name
        ([0, 0, 1, 1, 2], [0.5, 0.6, 0.4, 0.7, 0.99], 1, 3 / 6),  # only the tied classes decide
    ],
)
def test_most_votes_win_and_a_tie_goes_to_the_most_confident_of_the_tied(
    votes: list[int], confidence: list[float], winner: int, share: float
) -> None:
    (row,) = _vote(_sure(votes, confidence))
    assert row.argmax() == winner
    assert row[winner] == pytest.approx(share)
    assert row.sum() == pytest.approx(1)


@given(st.integers(1, 5), st.integers(0, 2**31))
def test_the_posterior_is_a_distribution_with_one_largest_entry_whatever_the_order(modalities: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).dirichlet(np.ones(3), size=(modalities, 8)).astype(np.float32)
    given_posteriors = {f"m{m}": row for m, row in enumerate(drawn)}
    shares = _vote(given_posteriors)
    assert shares.shape == (8, 3)
    assert shares.dtype == np.float32
    assert np.allclose(shares.sum(axis=1), 1)
    assert (shares >= 0).all()
    assert ((shares == shares.max(axis=1, keepdims=True)).sum(axis=1) == 1).all()
    assert np.array_equal(shares, _vote(dict(reversed(given_posteriors.items()))))
