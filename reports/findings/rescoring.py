"""The reference against the other strategies once more, on some of the test samples: what do verdicts hang on?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.case import Case
from reports.comparisons import STRATEGIES, Comparison, run_families
from reports.findings.leaks import too_little
from reports.measures import Measures, measure
from reports.words import VERDICTS


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
    if reason := too_little(case.evidence, keep):
        return replace(found, reason=reason)
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


def _measure(case: Case, keep: Sequence[np.ndarray]) -> Measures:
    """Return the measures of the reference and of what it is set against."""
    names = {case.reference.name, *(name for c in case.compared(STRATEGIES) for name in (c.a, c.b))}
    alpha, draws = case.measures.design.alpha, case.measures.draws
    return measure(case.evidence.only(keep, names), alpha=alpha, draws=draws, seed=case.config.seed)


def in_words(found: Rescored, labels: Mapping[str, str]) -> str:
    """Return what becomes of the verdicts, as one line."""
    if found.reason:
        return f"cannot be told: {found.reason}"
    if not found.compared:
        return "there is no comparison"
    told = [f"{labels[flip.rival]}: {VERDICTS[flip.before]} becomes {VERDICTS[flip.after]}" for flip in found.flips]
    changed = "; ".join(told) or f"none of {found.compared} changes"
    return f"{changed} ({found.untested} cannot be tested on what is left)" if found.untested else changed
