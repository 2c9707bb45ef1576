"""The reference against the other strategies once more, on some of the test samples: what do verdicts hang on?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.case import Case
from reports.comparisons import STRATEGIES, Comparison, run_families
from reports.evidence import Evidence
from reports.measures import Measures, pool
from reports.metrics import confusion, counted_score, margins
from reports.statistics._statistic import Measured
from reports.statistics.clustered_bootstrap import FEWEST_GROUPS, ClusteredBootstrap, group_weights
from reports.words import VERDICTS

FEWEST_SAMPLES = 30  # test samples, each counted once, below which a score says nothing


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A verdict on reference against `rival` that is another on the samples that are left."""

    rival: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """The reference and its verdicts on `samples` test samples, each counted once, of `tests` in all repeats.

    All is on the primary metric; `score` is None, with a `reason`, where nothing can be told. `compared` counts the
    comparisons of the family, `untested` those that are refused on what is left.
    """

    samples: int
    tests: int
    score: float | None = None
    flips: tuple[Flip, ...] = ()
    compared: int = 0
    untested: int = 0
    reason: str = ""


def rescore(case: Case, keep: Sequence[np.ndarray]) -> Rescored:
    """Score the reference and test it against STRATEGIES on the test samples in `keep`, (n,) bool a repeat."""
    parts = case.evidence.held_out
    left = {name for part, own in zip(parts, keep, strict=True) for name in part.sample_ids[own].tolist()}
    found = Rescored(samples=len(left), tests=sum(int(own.sum()) for own in keep))
    if len(left) < FEWEST_SAMPLES:
        return replace(found, reason=f"only {len(left)} test samples are left, of {FEWEST_SAMPLES} asked for")
    if empty := [part.repeat for part, own in zip(parts, keep, strict=True) if not own.any()]:
        return replace(found, reason=f"no test sample is left in {len(empty)} of {len(parts)} repeats")
    if gone := _classes_gone(case.evidence, keep):
        return replace(found, reason=f"no test sample of {', '.join(gone)} is left")
    measures = _measure(case, keep)
    families = [family for family in case.families if family.name == STRATEGIES]
    now = run_families(case.evidence, measures, families, (case.primary_metric,))
    return replace(
        found,
        score=measures.table[case.reference.name][case.primary_metric].estimate,
        flips=_flips(case.compared(STRATEGIES), now),
        compared=len(now),
        untested=sum(own.primary is None for own in now),
    )


def _flips(then: Sequence[Comparison], now: Sequence[Comparison]) -> tuple[Flip, ...]:
    pairs = zip(then, now, strict=True)
    return tuple(Flip(rival=a.b, before=a.verdict, after=b.verdict) for a, b in pairs if a.verdict != b.verdict)


def _classes_gone(evidence: Evidence, keep: Sequence[np.ndarray]) -> list[str]:
    """Return the classes some repeat has test samples of, and none of those that are kept."""
    parts = evidence.held_out
    there = {k for part in parts for k in np.unique(part.labels).tolist()}
    left = {k for part, own in zip(parts, keep, strict=True) for k in np.unique(part.labels[own]).tolist()}
    return [evidence.classes[k] for k in sorted(there - left)]


def _measure(case: Case, keep: Sequence[np.ndarray]) -> Measures:
    """Return the measures of the reference and of what it is set against, on the primary metric alone."""
    names = {case.reference.name, *(name for c in case.compared(STRATEGIES) for name in (c.a, c.b))}
    evidence, metric = case.evidence.only(keep, names), case.primary_metric
    table = {name: {metric: _by_repeat(evidence, name, metric)} for name in evidence.posteriors}
    primary, share = case.measures.primary, sum(map(np.sum, keep)) / sum(map(len, keep))
    if isinstance(primary, ClusteredBootstrap):
        primary = ClusteredBootstrap.over(evidence.group_index[1])
        draws = case.measures.draws if primary.n_groups >= FEWEST_GROUPS else 0
        weights = group_weights(primary.n_groups, draws, case.config.seed)
        table = {name: pool(evidence, name, scores, weights) for name, scores in table.items()}
    design = replace(case.measures.design, ratio=case.measures.design.ratio * float(share))
    return replace(case.measures, table=table, confusions={}, design=design, primary=primary, lacking={})


def _by_repeat(evidence: Evidence, model: str, metric: str) -> Measured:
    pairs = zip(evidence.held_out, evidence.posteriors[model], strict=True)
    matrices = np.stack([confusion(part.labels, posteriors) for part, posteriors in pairs])
    return Measured(repeats=counted_score(metric, margins(matrices)))


def in_words(found: Rescored, labels: Mapping[str, str]) -> str:
    """Return what becomes of the verdicts, as one line."""
    if found.reason:
        return f"cannot be told: {found.reason}"
    if not found.compared:
        return "there is no comparison"
    told = [f"{labels[flip.rival]}: {VERDICTS[flip.before]} becomes {VERDICTS[flip.after]}" for flip in found.flips]
    changed = "; ".join(told) or f"none of {found.compared} changes"
    return f"{changed} ({found.untested} cannot be tested on what is left)" if found.untested else changed
