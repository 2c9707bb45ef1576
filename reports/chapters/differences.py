"""Two models at a time: the comparisons that models and settings fix."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from reports.case import Case
from reports.chapters._assumed import Alike, assumed
from reports.chapters._chapter import Chapter, Rows
from reports.comparisons import (
    ABOVE,
    BELOW,
    CHANCES,
    EARLY_LATE,
    OTHERS,
    OTHERS_DROPPED,
    UNTOLD,
    WEIGHTINGS,
    Comparison,
    Family,
)
from reports.errors import StatisticsError
from reports.findings.one_test_set import NO_ONE_SET, OneTestSet, SampleBySample, find_one_test_set
from reports.measures import RESAMPLED
from reports.results import Results
from reports.statistics._statistic import PairResult
from reports.statistics.bayesian_correlated_t import BayesianCorrelatedT, PosteriorResult
from reports.statistics.wilcoxon import Wilcoxon
from reports.words import TITLES, exact, labels_of, listed, points, rival_of

KEY = ("family", "metric", "a", "b")
FOLDED = (OTHERS, OTHERS_DROPPED, EARLY_LATE, WEIGHTINGS, CHANCES)
NAMED = 3  # as many comparisons are named, more are counted
SHORT = {ABOVE: "a gain", BELOW: "a loss", UNTOLD: "cannot be told"}


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What is said of a - b beside the primary test, on the primary metric.

    `posterior` is None where repeats are not those of resampling, `samples` where there is no one test set, and both
    and `wilcoxon` where the comparison is refused.
    """

    family: str
    metric: str
    a: str
    b: str
    posterior: PosteriorResult | None
    wilcoxon: PairResult | None
    samples: SampleBySample | None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Every comparison on the primary metric; the primary tests themselves are in the core of the results.

    `rope` is half the width of the region of practical equivalence, a share; `no_test_set` is why McNemar is absent.
    """

    rope: float
    no_test_set: str
    beside: tuple[Beside, ...]

    def of(self, family: str) -> list[Beside]:
        """Return those of one family, in its order."""
        return [it for it in self.beside if it.family == family]


class Differences(Chapter[Compared]):
    """Every family of comparisons, with Holm's correction, and what other tests make of it."""

    title = "Differences"

    def compute(self, case: Case) -> Compared:
        one_set = find_one_test_set(case.evidence, case.config.alpha)
        return Compared(
            rope=case.config.rope,
            no_test_set="" if one_set else NO_ONE_SET,
            beside=tuple(_beside(case, one_set, c) for family in case.families for c in case.compared(family.name)),
        )

    def tables(self, value: Compared, results: Results) -> Mapping[str, Rows]:
        found = {
            "comparisons": [_key(c) | _verdict(c) | _flat(c.primary, "primary") for c in results.comparisons],
            "equivalence": [_key(it) | _flat(it.posterior) for it in value.beside if it.posterior],
            "wilcoxon": [_key(it) | _flat(it.wilcoxon) for it in value.beside if it.wilcoxon],
            "mcnemar": [
                _key(it) | {"seed": seed} | _flat(table)
                for it in value.beside
                for seed, table in enumerate(it.samples.tables if it.samples else ())
            ],
            "assumptions": [
                _key(c) | vars(it) for c in results.comparisons if c.primary for it in c.primary.assumptions
            ],
        }
        return {name: rows for name, rows in found.items() if rows}

    def context(self, value: Compared, results: Results) -> Mapping[str, Any]:
        return {
            "titles": TITLES,
            "families": [(f, in_short(results, f) if f.name in FOLDED else "") for f in shown_families(results)],
            "clustered": results.method.draws is not None,
            "exact": exact,
            "points": points,
            "assumed": _assumed(value, results),
        }


def shown_families(results: Results) -> list[Family]:
    """Return the families, without the ways of weighting where the others hold every pair of them."""
    pairs = {frozenset(pair) for f in results.families if f.name != WEIGHTINGS for pair in f.pairs}
    return [f for f in results.families if f.name != WEIGHTINGS or not {*map(frozenset, f.pairs)} <= pairs]


def in_short(results: Results, family: Family) -> str:
    """Return what a family came to, in a line: what most of it is, and where that is not so."""
    own, names = results.compared(family.name), labels_of(results)
    by_verdict: dict[str, list[str]] = {}
    for c in own:
        by_verdict.setdefault(SHORT[c.verdict], []).append(f"{names[c.a]} − {rival_of(results, c)}")
    said = [
        f"{len(found)} of {len(own)} {verdict}" + (f" ({', '.join(found)})" if len(found) <= NAMED < len(own) else "")
        for verdict, found in by_verdict.items()
    ]
    return listed(said)


def _beside(case: Case, one_set: OneTestSet | None, c: Comparison) -> Beside:
    posterior = wilcoxon = None
    if (a := case.measures.table[c.a].get(c.metric)) and (b := case.measures.table[c.b].get(c.metric)):
        try:
            wilcoxon = Wilcoxon().compare(a, b, case.measures.design)
            if case.evidence.protocol in RESAMPLED:
                posterior = BayesianCorrelatedT(case.config.rope).compare(a, b, case.measures.design)
        except StatisticsError:  # the reason stands in the comparison: it is the primary test's too
            pass
    return Beside(
        family=c.family,
        metric=c.metric,
        a=c.a,
        b=c.b,
        posterior=posterior,
        wilcoxon=wilcoxon,
        samples=one_set.compare(c.a, c.b) if one_set else None,
    )


def _assumed(value: Compared, results: Results) -> dict[str, list[Alike]]:
    """Return what each kind of test takes for granted, over the comparisons of all families."""
    names = labels_of(results)
    compared = [c for family in results.families for c in results.compared(family.name)]
    pairs = [f"{names[c.a]} − {rival_of(results, c)}" for c in compared]
    tables = [
        (f"{pair}, seed {seed}" if len(it.samples.tables) > 1 else pair, table)
        for pair, it in zip(pairs, value.beside, strict=True)
        if it.samples
        for seed, table in enumerate(it.samples.tables)
    ]
    return {
        "primary": assumed(zip(pairs, (c.primary for c in compared), strict=True)),
        "wilcoxon": assumed(zip(pairs, (it.wilcoxon for it in value.beside), strict=True)),
        "samples": assumed(tables),
    }


def _key(it: Comparison | Beside) -> dict[str, Any]:
    return {name: getattr(it, name) for name in KEY}


def _verdict(c: Comparison) -> dict[str, Any]:
    return {"verdict": c.verdict, "reason": c.reason, "holm_p": c.holm_p, "naive_p": c.naive.p if c.naive else None}


def _flat(result: Any, prefix: str = "") -> dict[str, Any]:
    """Return the fields of a result as columns; a refused primary test has them empty."""
    names = [field.name for field in fields(result or PairResult) if field.name != "assumptions"]
    return {f"{prefix}_{name}" if prefix else name: getattr(result, name) if result else None for name in names}
