import math
from fractions import Fraction

import numpy as np
import pytest

from fusion.heads._head import Combined
from fusion.heads.confidence import Confidence, ConfidenceConfig
from stores.errors import ConfigError

EXAMPLE = [[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.5, 0.3, 0.2]]  # audit, part 4, example 6


def _combine(rows: list[list[float]], config: ConfidenceConfig | None = None, absent: tuple[int, ...] = ()) -> Combined:
    posteriors = {f"m{i}": np.array([row]) for i, row in enumerate(rows)}
    present = {f"m{i}": np.array([i not in absent]) for i in range(len(rows))}
    return Confidence(config or ConfidenceConfig()).combine(posteriors, present)


def _weights(rows: list[list[float]], config: ConfidenceConfig | None = None, absent: tuple[int, ...] = ()) -> object:
    weights = _combine(rows, config, absent).weights
    assert weights is not None
    return weights[0].tolist()


def _exactly(*fractions: str) -> object:
    return pytest.approx([float(Fraction(own)) for own in fractions], abs=1e-7)


def test_weights_and_posteriors_are_the_exact_ones_of_the_worked_example() -> None:
    combined = _combine(EXAMPLE)
    assert combined.weights is not None
    assert combined.weights[0].tolist() == _exactly("21/44", "2/11", "15/44")
    assert combined.posteriors[0].tolist() == _exactly("123/220", "119/440", "15/88")
    assert combined.posteriors.dtype == combined.weights.dtype == np.float32


def test_one_modality_has_all_the_weight() -> None:
    assert _weights(EXAMPLE[:1]) == [1]
    assert _weights(EXAMPLE, absent=(0, 2)) == [0, 1, 0]


def test_agreement_is_counted_among_what_is_there() -> None:
    # 0.7 and 0.4, of two that disagree
    assert _weights(EXAMPLE, absent=(2,)) == _exactly("7/11", "4/11", "0")
    # 0.7 (1 + 1) and 0.5 (1 + 1), of two that agree
    assert _weights(EXAMPLE, absent=(1,)) == _exactly("7/12", "0", "5/12")


def test_of_equal_classes_the_first_is_preferred() -> None:
    # both prefer class 0: 0.5 (1 + 1) and 0.6 (1 + 1)
    assert _weights([[0.5, 0.5], [0.6, 0.4]]) == _exactly("5/11", "6/11")
    # the first prefers class 0, the second class 1; both are as sure as they were
    assert _weights([[0.5, 0.5], [0.4, 0.6]]) == _exactly("5/11", "6/11")


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.45, ("7/12", "0", "5/12")),  # 1.05 and 0.75 of the example
        (0.5, ("1", "0", "0")),  # above, not at
        (0.8, ("21/44", "2/11", "15/44")),  # none is so sure: as if there was no threshold
    ],
)
def test_with_a_threshold_only_who_is_surer_has_a_say(threshold: float, expected: tuple[str, ...]) -> None:
    assert _weights(EXAMPLE, ConfidenceConfig(threshold=threshold)) == _exactly(*expected)


def test_entropy_is_another_measure_of_how_sure_a_posterior_is() -> None:
    rows = [[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]
    # 1, 1 - log 2 / log 4 = 1/2 and 0, all preferring class 0
    assert _weights(rows, ConfidenceConfig(measure="entropy")) == _exactly("2/3", "1/3", "0")
    rows[1] = [0.1, 0.9, 0.0, 0.0]
    sure = 1 + (0.1 * math.log(0.1) + 0.9 * math.log(0.9)) / math.log(4)
    raw = [1.5, sure, 0]  # the third, knowing nothing, still prefers the first of equals
    assert _weights(rows, ConfidenceConfig(measure="entropy")) == pytest.approx([own / sum(raw) for own in raw])


def test_who_all_know_nothing_weigh_the_same() -> None:
    config = ConfidenceConfig(measure="entropy", threshold=0.5)
    assert _weights([[0.5, 0.5]] * 3, config, absent=(1,)) == [0.5, 0, 0.5]


@pytest.mark.parametrize("setting", [{"measure": "margin"}, {"threshold": 1.0}, {"threshold": -0.1}])
def test_what_means_nothing_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        ConfidenceConfig(**setting)
