import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from fusion.combining import HOTTEST, fit_temperature, fit_temperatures, soften

RNG = np.random.default_rng(5)
LOGITS = RNG.normal(size=(2000, 4)) * 2
HONEST = softmax(LOGITS, axis=1).astype(np.float32)
LABELS = np.array([RNG.choice(4, p=row / row.sum()) for row in HONEST.astype(np.float64)])  # drawn from them


@pytest.mark.parametrize("made", [0.4, 1.0, 3.0])
def test_it_undoes_how_over_or_under_confident_a_voter_is(made: float) -> None:
    claimed = softmax(LOGITS * made, axis=1).astype(np.float32)
    temperature = fit_temperature(claimed, LABELS)
    assert temperature == pytest.approx(made, rel=0.08)
    assert fit_temperature(HONEST, LABELS) == pytest.approx(temperature / made, rel=1e-3)


@pytest.mark.parametrize("made", [0.4, 1.0, 3.0])
def test_no_temperature_of_a_fine_grid_has_a_smaller_loss(made: float) -> None:
    claimed = softmax(LOGITS[:200] * made, axis=1).astype(np.float32)
    labels = LABELS[:200]

    def loss(temperature: float) -> float:
        powers = claimed.astype(np.float64) ** (1 / temperature)
        return float(log_loss(labels, powers / powers.sum(axis=1, keepdims=True), labels=range(4)))

    found = fit_temperature(claimed, labels)
    grid = np.geomspace(1 / HOTTEST, HOTTEST, 301)
    losses = [loss(temperature) for temperature in grid]
    assert loss(found) <= min(losses) + 1e-9
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.03)


@given(st.integers(0, 2**31), st.floats(1 / HOTTEST, HOTTEST))
def test_a_temperature_leaves_a_distribution_and_the_preferred_class(seed: int, temperature: float) -> None:
    posteriors = np.random.default_rng(seed).dirichlet(np.full(3, 0.3), size=20).astype(np.float32)
    softened = soften(posteriors, temperature)
    assert softened.dtype == np.float32
    assert (softened >= 0).all()
    np.testing.assert_allclose(softened.sum(axis=1), 1, atol=1e-5)
    rows = np.arange(20)
    assert (softened[rows, posteriors.argmax(axis=1)] == softened.max(axis=1)).all()


def test_a_temperature_of_one_changes_nothing_and_a_class_that_was_ruled_out_breaks_nothing() -> None:
    posteriors = np.array([[0.7, 0.3, 0.0], [1.0, 0.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(soften(posteriors, 1.0), posteriors, atol=1e-7)
    assert 1 < fit_temperature(posteriors, np.array([2, 1])) <= HOTTEST
    assert soften(posteriors, 2.0)[0, :2] == pytest.approx(np.sqrt([0.7, 0.3]) / np.sqrt([0.7, 0.3]).sum())


def test_who_is_always_right_or_wrong_stops_at_a_bound_and_who_was_never_asked_is_left_alone() -> None:
    sure = np.array([[0.6, 0.4]], dtype=np.float32)
    assert fit_temperature(sure, np.array([0])) == pytest.approx(1 / HOTTEST, rel=1e-3)
    assert fit_temperature(sure, np.array([1])) == pytest.approx(HOTTEST, rel=1e-3)
    assert fit_temperature(np.empty((0, 2), dtype=np.float32), np.empty(0, dtype=np.int64)) == 1.0


def test_each_modality_has_its_own_temperature_fitted_where_it_is_there() -> None:
    there = np.arange(2000) % 2 == 0
    bold = softmax(LOGITS * 3, axis=1)
    lost = np.where(there[:, None], bold, np.array([0.97, 0.01, 0.01, 0.01]))
    found = fit_temperatures(
        {"speech": lost, "text": HONEST}, {"speech": there, "text": np.ones(2000, dtype=bool)}, LABELS
    )
    assert found == {
        "speech": fit_temperature(bold[there], LABELS[there]),
        "text": fit_temperature(HONEST, LABELS),
    }
    assert found["speech"] == pytest.approx(3, rel=0.1)
