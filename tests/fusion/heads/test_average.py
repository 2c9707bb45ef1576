import numpy as np
import pytest

from fusion.heads._head import HeadConfig
from fusion.heads.average import Average


def test_it_is_the_mean_of_what_is_there() -> None:
    posteriors = {
        "text": np.array([[0.8, 0.2, 0.0], [0.5, 0.25, 0.25]], dtype=np.float32),
        "speech": np.array([[0.2, 0.2, 0.6], [1.0, 0.0, 0.0]], dtype=np.float32),
    }
    present = {"text": np.array([True, True]), "speech": np.array([True, False])}
    combined = Average(HeadConfig()).combine(posteriors, present)
    assert combined.weights is None
    assert combined.posteriors.dtype == np.float32
    assert combined.posteriors[0].tolist() == pytest.approx([0.5, 0.2, 0.3])
    assert combined.posteriors[1].tolist() == pytest.approx([0.5, 0.25, 0.25])
