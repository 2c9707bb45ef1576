from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.combining import combine_parts, fit_temperature, soften
from fusion.heads._head import Combined, Combiner, Head, HeadConfig
from fusion.splits import Split
from stores.block import FeatureBlock
from stores.plugins import find_plugin, plugin_names

FOUND = {name: find_plugin("fusion.heads", name, Head) for name in plugin_names("fusion.heads")}
COMBINERS = {name: kind for name, kind in FOUND.items() if issubclass(kind, Combiner)}
MODALITIES = ("image", "speech", "text")
every_combiner = pytest.mark.parametrize("name", COMBINERS)
seeds = st.integers(0, 2**31)

Posteriors = dict[str, np.ndarray]


def _combiner(name: str) -> Combiner:
    return COMBINERS[name](COMBINERS[name].config_type())


def _drawn(seed: int, samples: int = 12, classes: int = 3) -> tuple[Posteriors, Posteriors]:
    """Posteriors of three modalities, and which sample has which: the first has all, the last but one none."""
    rng = np.random.default_rng(seed)
    posteriors = {m: rng.dirichlet(np.full(classes, 0.5), size=samples).astype(np.float32) for m in MODALITIES}
    present = {m: rng.random(samples) < 0.6 for m in MODALITIES}
    for own in present.values():
        own[0], own[-2] = True, False
    return posteriors, present


@every_combiner
@given(seed=seeds)
def test_what_is_combined_is_a_distribution_and_so_are_weights(name: str, seed: int) -> None:
    posteriors, present = _drawn(seed)
    combined = _combiner(name).combine(posteriors, present)
    there = np.stack([present[m] for m in MODALITIES], axis=1)
    seen = there.any(axis=1)
    assert combined.posteriors.dtype == np.float32
    assert np.isfinite(combined.posteriors).all()
    assert (combined.posteriors[seen] >= 0).all()
    np.testing.assert_allclose(combined.posteriors[seen].sum(axis=1), 1, atol=1e-5)
    if combined.weights is not None:
        assert combined.weights.dtype == np.float32
        assert (combined.weights >= 0).all()
        assert (combined.weights[~there] == 0).all()
        np.testing.assert_allclose(combined.weights.sum(axis=1), seen, atol=1e-5)


@every_combiner
@given(seed=seeds)
def test_what_an_absent_modality_would_have_said_changes_nothing(name: str, seed: int) -> None:
    posteriors, present = _drawn(seed)
    other, _ = _drawn(seed + 1)
    changed = {m: np.where(present[m][:, None], posteriors[m], other[m]) for m in MODALITIES}
    combiner = _combiner(name)
    seen = np.any(list(present.values()), axis=0)
    before, after = (combiner.combine(own, present).posteriors[seen] for own in (posteriors, changed))
    assert np.array_equal(before, after)


@every_combiner
@given(seed=seeds)
def test_a_sample_of_one_modality_keeps_its_decision(name: str, seed: int) -> None:
    posteriors, present = _drawn(seed)
    alone = np.sum(list(present.values()), axis=0) == 1
    combined = _combiner(name).combine(posteriors, present).posteriors
    for m in MODALITIES:
        own = alone & present[m]
        assert np.array_equal(combined[own].argmax(axis=1), posteriors[m][own].argmax(axis=1))


@every_combiner
@given(seed=seeds)
def test_the_order_of_modalities_decides_nothing(name: str, seed: int) -> None:
    posteriors, present = _drawn(seed)
    combiner = _combiner(name)
    forwards = combiner.combine(posteriors, present)
    backwards = combiner.combine(dict(reversed(posteriors.items())), dict(reversed(present.items())))
    assert np.array_equal(forwards.posteriors, backwards.posteriors)
    if forwards.weights is not None and backwards.weights is not None:
        assert np.array_equal(forwards.weights, backwards.weights)


@every_combiner
def test_a_sample_with_nothing_to_hear_gets_the_prior_of_the_training_part(
    name: str, block: FeatureBlock, splits: list[Split]
) -> None:
    split = splits[0]
    votes, present = {}, {}
    for i, part in enumerate(("val", "test")):
        votes[part], present[part] = _drawn(i, samples=len(getattr(split, part)))
    found = combine_parts(_combiner(name), block, split, votes, present)
    counts = np.bincount(block.labels[split.train], minlength=3)
    for part in ("val", "test"):
        silent = ~np.any(list(present[part].values()), axis=0)
        assert silent[-2]
        expected = np.broadcast_to(counts / counts.sum(), (silent.sum(), 3))
        np.testing.assert_allclose(found[part].posteriors[silent], expected, rtol=1e-6)
        assert found[part].posteriors.dtype == np.float32


class _Echo(Combiner):
    """Says what the first modality says, and remembers all it was told."""

    version = 1

    def __init__(self, calibrated: bool) -> None:
        super().__init__(HeadConfig())
        self.calibrated = calibrated  # type: ignore[misc]
        self.told: list[Mapping[str, np.ndarray]] = []

    def combine(self, posteriors: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]) -> Combined:
        self.told.append(posteriors)
        return Combined(posteriors=posteriors["image"])


def test_votes_are_calibrated_on_the_validation_part_if_the_combiner_asks(
    block: FeatureBlock, splits: list[Split]
) -> None:
    split = splits[1]
    votes, present = {}, {}
    for i, part in enumerate(("val", "test")):
        votes[part], present[part] = _drawn(i, samples=len(getattr(split, part)))
    labels = block.labels[split.val]
    plain, calibrated = _Echo(False), _Echo(True)
    for combiner in (plain, calibrated):
        combine_parts(combiner, block, split, votes, present)
    for at, part in enumerate(("val", "test")):
        for m in MODALITIES:
            own = present["val"][m]
            temperature = fit_temperature(votes["val"][m][own], labels[own])
            assert abs(temperature - 1) > 0.05
            assert np.array_equal(plain.told[at][m], votes[part][m])
            assert np.array_equal(calibrated.told[at][m], soften(votes[part][m], temperature))
