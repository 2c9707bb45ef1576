"""Every score of every model, measured once: by repeat, and pooled with bootstrap draws in a clustered design."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.evidence import Evidence, HeldOut
from reports.findings.epochs import MANY, unfinished
from reports.metrics import BY_CLASS, RANKED, class_scores, confusion, counted_scores, ranked_scores
from reports.statistics._statistic import Design, Measured, PairTest
from reports.statistics.clustered_bootstrap import FEWEST_GROUPS, ClusteredBootstrap, draws_for, group_weights
from reports.statistics.corrected_repeated_kfold_t import CorrectedRepeatedKFoldT
from reports.statistics.corrected_resampled_t import CorrectedResampledT

_CELLS = 1 << 20  # counts of draws held at once
RESAMPLED = ("repeated", "k-fold")  # protocols whose repeats train on overlapping parts drawn from all samples


def recall_of(label: str) -> str:
    """Return the name a class recall is measured under; no metric is called so."""
    return f"recall of {label}"


@dataclass(frozen=True, kw_only=True)
class Measures:
    """`table[model][score]`, the confusion matrices summed over repeats, and how the repeats came about.

    A score that is undefined in some test part (an AUC where a class is absent) is not in the table. `draws` of groups
    were made, 0 where none are. `unfinished` are the models of which too many runs were not trained to the end.
    """

    table: Mapping[str, Mapping[str, Measured]]
    confusions: Mapping[str, np.ndarray]
    design: Design
    primary: PairTest
    lacking: Mapping[str, tuple[int, ...]]
    draws: int = 0
    unfinished: frozenset[str] = frozenset()


def measure(evidence: Evidence, *, alpha: float, draws: int, seed: int, family: int = 1) -> Measures:
    """Measure every model; the protocol decides on the primary test and on what is resampled.

    Repeated splits: the corrected resampled t. Folds: its k-fold form. Leave-one-group-out, fixed split: groups are
    resampled, `draws` times at least, and as often as lets a p fall below alpha over the largest `family` of
    comparisons that are corrected together, where that can be done.
    """
    parts, classes, fixed = evidence.held_out, evidence.classes, evidence.protocol == "fixed"
    ratio = sum(len(part.labels) for part in parts) / sum(part.fitted for part in parts)
    matrices = {
        name: np.stack([confusion(part.labels, p) for part, p in zip(parts, posteriors, strict=True)])
        for name, posteriors in evidence.posteriors.items()
    }
    absent = {
        label: tuple(part.repeat for part in parts if not (part.labels == k).any()) for k, label in enumerate(classes)
    }
    table = {name: _by_repeat(evidence, name, matrix) for name, matrix in matrices.items()}
    primary: PairTest = CorrectedRepeatedKFoldT() if evidence.protocol == "k-fold" else CorrectedResampledT()
    drawn = 0
    if evidence.protocol not in RESAMPLED:
        primary = ClusteredBootstrap.over(evidence.group_index[1])
        drawn = draws_for(alpha, family, primary.effective, draws) if primary.n_groups >= FEWEST_GROUPS else 0
        weights = group_weights(primary.n_groups, drawn, seed)
        table = {name: pool(evidence, name, scores, weights) for name, scores in table.items()}
    return Measures(
        table=table,
        confusions={name: matrix.sum(axis=0) for name, matrix in matrices.items()},
        design=Design(overlap=not fixed, ratio=ratio, shared=_shared(parts), alpha=alpha, refused=evidence.refused),
        primary=primary,
        lacking={label: repeats for label, repeats in absent.items() if repeats},
        draws=drawn,
        unfinished=frozenset(name for name, runs in unfinished(evidence).items() if runs > MANY * len(parts)),
    )


def interval_of(measures: Measures, model: str, score: str) -> tuple[float | None, float | None]:
    """Return the interval of one score, cut at 0 and 1; (None, None) where it is undefined or refused."""
    return measures.primary.limits(measures.table[model].get(score), measures.design)


def _shared(parts: Sequence[HeldOut]) -> float:
    """Return the share of its test samples that a repeat has in common with another one, over all pairs of repeats."""
    _, times = np.unique(np.concatenate([part.sample_ids for part in parts]), return_counts=True)
    return float((times * (times - 1)).sum() / times.sum() / max(1, len(parts) - 1))


def _by_repeat(evidence: Evidence, model: str, matrices: np.ndarray) -> dict[str, Measured]:
    scores = {name: Measured(repeats=values) for name, values in counted_scores(matrices).items()}
    ranked = [
        ranked_scores(part.labels, posteriors)
        for part, posteriors in zip(evidence.held_out, evidence.posteriors[model], strict=True)
    ]
    for name in RANKED:
        values = [scores_of[name] for scores_of in ranked]
        if None not in values:
            scores[name] = Measured(repeats=np.array(values, dtype=np.float64))
    recalls = class_scores(matrices)["recall"]
    for k, label in enumerate(evidence.classes):
        defined = recalls[np.isfinite(recalls[:, k]), k]
        if len(defined):
            scores[recall_of(label)] = Measured(repeats=defined)
    return scores


def pool(evidence: Evidence, model: str, by_repeat: Mapping[str, Measured], weights: np.ndarray) -> dict[str, Measured]:
    """Add the score of all test parts together; a sample tested in several repeats counts once a round.

    A draw without a class that is there has no mean over classes: that of the others is another score.
    """
    counts = _counts_by_group(evidence, model)
    rounds, groups, classes, _ = counts.shape
    flat, there = counts.transpose(1, 0, 2, 3).reshape(groups, -1), counts.sum(axis=(1, 3)) > 0
    point, blocks = _all_scores(evidence, counts.sum(axis=1)), []
    for own in np.array_split(weights, -(-weights.shape[0] * flat.shape[1] // _CELLS) or 1):
        drawn = (own @ flat).reshape(-1, rounds, classes, classes)
        whole = ((drawn.sum(axis=3) > 0) | ~there).all(axis=2)
        scores = _all_scores(evidence, drawn)
        blocks.append(scores | {name: np.where(whole, scores[name], np.nan) for name in BY_CLASS})
    pooled = {
        name: Measured(
            repeats=by_repeat[name].repeats,
            pooled=float(point[name].mean()),
            draws=np.concatenate([block[name].mean(axis=1) for block in blocks]),
        )
        for name in point
        if name in by_repeat and np.isfinite(point[name]).all()
    }
    return {name: pooled.get(name, measured) for name, measured in by_repeat.items()}


def _all_scores(evidence: Evidence, matrices: np.ndarray) -> dict[str, np.ndarray]:
    recalls = class_scores(matrices)["recall"]
    return counted_scores(matrices) | {recall_of(c): recalls[..., k] for k, c in enumerate(evidence.classes)}


def rounds_of(parts: Sequence[HeldOut]) -> np.ndarray:
    """Return how often each test sample was tested before, over all parts in a row: (N,) int64."""
    sample_ids = pd.Series(np.concatenate([part.sample_ids for part in parts]))
    turns: np.ndarray = sample_ids.groupby(sample_ids).cumcount().to_numpy()
    return turns


def _counts_by_group(evidence: Evidence, model: str) -> np.ndarray:
    """Return (rounds, groups, K, K) float64 confusion counts; round r holds the r-th test of every sample."""
    turn, (names, group) = rounds_of(evidence.held_out), evidence.group_index
    counts = np.zeros((turn.max() + 1, len(names), len(evidence.classes), len(evidence.classes)))
    np.add.at(counts, (turn, group, evidence.labels, evidence.predicted(model)), 1.0)
    return counts
