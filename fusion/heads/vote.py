"""Late fusion: the majority of the unimodal decisions."""

from collections.abc import Mapping

import numpy as np

from fusion.heads._head import Combined, Combiner


class Vote(Combiner):
    """Each modality votes for its most probable class (the first of equals); most votes win.

    A tie for the most votes goes to the most confident voter among the tied (rule D15; of equally confident voters, to
    the first modality by name). The stored posterior is the share of votes, where on a tie the deciding voter votes
    twice: a distribution whose largest entry is always the winner. 1-1 gives (2/3, 1/3), 2-1 gives (2/3, 1/3), 3-0
    gives 1; it is coarse, so ROC-AUC and log loss of a vote say little. A modality that is absent does not vote.
    Source: reference paper, section 2.2.4 (late fusion); tie rule by the audit (A26).
    """

    version = 1

    def combine(self, posteriors: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]) -> Combined:
        stacked = np.stack([posteriors[m] for m in sorted(posteriors)])  # (modalities, n, K)
        there = np.stack([present[m] for m in sorted(posteriors)])  # (modalities, n)
        voted = stacked.argmax(axis=2)
        counts: np.ndarray = (np.eye(stacked.shape[2])[voted] * there[:, :, None]).sum(axis=0)  # (n, K)
        tied = counts == counts.max(axis=1, keepdims=True)
        samples = np.arange(len(counts))
        confidence = np.where(there & tied[samples, voted], stacked.max(axis=2), -1.0)
        deciding = voted[confidence.argmax(axis=0), samples]
        counts[samples, deciding] += tied.sum(axis=1) > 1
        shares: np.ndarray = (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
        return Combined(posteriors=shares)
