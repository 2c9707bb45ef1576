"""Soft late fusion: the mean of what the modalities think."""

from collections.abc import Mapping

import numpy as np

from fusion.heads._head import Combined, Combiner


class Average(Combiner):
    """`p = mean of p_m` over the modalities a sample has; one that is absent has no say.

    Source: the soft variant of the paper's late fusion (section 2.2.4) that rule D15 asks for beside the vote.
    """

    version = 1

    def combine(self, posteriors: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]) -> Combined:
        there = np.stack([present[m] for m in sorted(posteriors)], axis=1)[..., None]  # (n, modalities, 1)
        stacked = np.stack([posteriors[m] for m in sorted(posteriors)], axis=1)  # (n, modalities, K)
        total = np.where(there, stacked, 0).sum(axis=1, dtype=np.float64)
        mean: np.ndarray = total / np.maximum(there.sum(axis=1), 1)
        return Combined(posteriors=mean.astype(np.float32))
