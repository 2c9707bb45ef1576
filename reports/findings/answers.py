"""Verdicts on what was asked, from comparisons that no score chose."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reports.case import Case
from reports.comparisons import (
    ABOVE,
    BELOW,
    BY_LABEL,
    DROPPED,
    EARLY_LATE,
    OTHERS,
    OTHERS_DROPPED,
    STRATEGIES,
    UNTOLD,
    WEIGHTINGS,
    Comparison,
    as_part,
    weighings,
)
from reports.findings.interaction import Contrast, Interaction
from reports.heads import EARLY, LATE, WEIGHING, WEIGHTED
from reports.metrics import PAPER_METRICS
from reports.words import label_of, listed, points

SUPPORTED, CONTRADICTED, CANNOT = "supported", "contradicted", "cannot be told"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One difference an answer looks at, `about` what; those that do not decide are shown beside."""

    about: str
    decides: bool
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    holm_p: float | None
    n: int | None
    unit: str
    verdict: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A verdict in words, why, the figures behind it, and notes on what decides nothing."""

    verdict: str
    why: str
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all that decides could be tested."""
        deciding = [line.holm_p for line in self.lines if line.decides]
        return bool(deciding) and None not in deciding


class Judge:
    """Looks at the comparisons of a study and calls its models by their short names."""

    def __init__(self, case: Case) -> None:
        self.case = case
        everything = max((model.modalities for model in case.evidence.models), key=len)
        self.names = {model.name: label_of(model, everything) for model in case.evidence.models}
        self.models = {model.name: model for model in case.evidence.models}

    def answers(self, interaction: Interaction) -> dict[str, Finding]:
        """Return the answer to every question; pairs that were made by label answer none."""
        found = {
            "H1": self.fused_above_single(),
            "H2": self.weighted_above_early_and_late(),
            "H3": self.depends_on_emotion(interaction),
            "RQ2": self.best_weighting(),
        }
        if not self.case.evidence.by_label:
            return found
        return {name: replace(own, verdict=CANNOT, why=BY_LABEL, notes=()) for name, own in found.items()}

    def fused_above_single(self) -> Finding:
        """Answer H1 for the reference; other strategies and pairs are noted."""
        reference = self.case.reference
        if not reference.fused:
            return not_run("a fusion of modalities", "name heads beside unimodal")
        own = [c for c in self.case.compared(STRATEGIES) if not self.models[c.b].fused]
        lacking = set(reference.modalities) - {self.models[c.b].modalities[0] for c in own}
        if lacking:
            return not_run(f"unimodal on {listed(sorted(lacking))}", "add [heads.unimodal] and its subsets")
        others = self.case.compared(OTHERS)
        less = [*self.case.compared(DROPPED), *self.case.compared(OTHERS_DROPPED)]
        notes = list(self._standings([*others, *less]))
        if not less:
            notes.append("No strategy was run with one modality less.")
        return self._all_above(own, [*others, *less], notes)

    def weighted_above_early_and_late(self) -> Finding:
        """Answer H2, and RQ3 by the other metrics."""
        wanted = (EARLY, LATE)
        found = {
            self.models[c.b].head: c
            for family in (EARLY_LATE, STRATEGIES)
            for c in self.case.compared(family)
            if self.models[c.a].head == WEIGHTED and self.models[c.b].head in wanted
        }
        if lacking := [head for head in wanted if head not in found]:
            weighted = any(m.fused and m.head == WEIGHTED for m in self.models.values())
            return heads_not_run(lacking if weighted else [WEIGHTED])
        own = list(found.values())
        pairs = {(c.family, c.a, c.b) for c in own}
        rest = [
            c
            for c in self.case.comparisons
            if (c.family, c.a, c.b) in pairs and c.metric in PAPER_METRICS and c.metric != self.case.primary_metric
        ]
        return self._all_above(own, sorted(rest, key=lambda c: PAPER_METRICS.index(c.metric)), ())

    def best_weighting(self) -> Finding:
        """Answer RQ2: the one way of weighting that is above all others, if there is one."""
        models = weighings(self.case.evidence.models, self.case.reference)
        lacking = [head for head in WEIGHING if head not in {m.head for m in models}]
        if len(models) < 2:
            return heads_not_run(lacking)
        notes = (f"Not run: {listed(lacking)}.",) if lacking else ()
        compared = self.case.compared(WEIGHTINGS)
        lines = tuple(self._line(c, decides=True) for c in compared)
        table, metric = self.case.measures.table, self.case.primary_metric
        best = max(models, key=lambda m: table[m.name][metric].estimate if metric in table[m.name] else 0.0).name
        rivals = [(c.b if c.a == best else c.a, c) for c in compared if best in (c.a, c.b)]
        untold = [name for name, c in rivals if c.verdict == UNTOLD]
        if untold:
            why = f"{self.names[best]} scores highest, but is not told from {listed(self.names[u] for u in untold)}"
            return Finding(verdict=CANNOT, why=why, lines=lines, notes=notes)
        why = f"{self.names[best]} is above {listed(self.names[name] for name, _ in rivals)}"
        return Finding(verdict=SUPPORTED, why=why, lines=lines, notes=notes)

    def depends_on_emotion(self, interaction: Interaction) -> Finding:
        """Answer H3 by the three contrasts that decide, unless a cell is told against what was predicted."""
        if interaction.refused:
            return Finding(verdict=CANNOT, why=interaction.refused)
        lines = tuple(_contrast_line(c) for c in interaction.contrasts)
        verdict, why = _by_contrasts(interaction)
        against = [f"{c.modality} for {c.label} ({c.verdict} 0)" for c in interaction.cells if c.against]
        notes = [f"Told against what was predicted: {listed(against)}."] if against else []
        if against and verdict == SUPPORTED:
            verdict, why = CANNOT, f"{why}, but told against what was predicted: {listed(against)}"
        if interaction.samples is not None:
            notes.append(f"Looked at on the {interaction.samples} test samples that have every modality.")
        return Finding(verdict=verdict, why=why, lines=lines, notes=tuple(notes))

    def _all_above(self, own: Sequence[Comparison], beside: Iterable[Comparison], notes: Iterable[str]) -> Finding:
        """Return supported if each of `own` is above at alpha, contradicted if any is below after Holm."""
        own = [as_part(c, self.case.measures.design.alpha) for c in own]
        verdict, why = self._judged(own)
        lines = [self._line(c, decides=True) for c in own] + [self._line(c, decides=False) for c in beside]
        return Finding(verdict=verdict, why=why, lines=tuple(lines), notes=tuple(notes))

    def _judged(self, own: Sequence[Comparison]) -> tuple[str, str]:
        name, rivals = self.names[own[0].a], {v: [c for c in own if c.verdict == v] for v in (BELOW, UNTOLD)}
        if rivals[BELOW]:
            return CONTRADICTED, f"{name} is below {self._gains(rivals[BELOW])}"
        if not rivals[UNTOLD]:
            return SUPPORTED, f"{name} is above {self._gains(own)}"
        reasons = listed(dict.fromkeys(c.reason or "no test was possible" for c in rivals[UNTOLD]))
        return CANNOT, f"{name} is not told to be above {listed(self._rival(c) for c in rivals[UNTOLD])}: {reasons}"

    def _rival(self, c: Comparison) -> str:
        """Return what a model is compared with: `text`, `concat`, `itself without text`."""
        a, b = self.models[c.a], self.models[c.b]
        gone = sorted(set(a.modalities) - set(b.modalities))
        return f"itself without {listed(gone)}" if (a.head, a.variant) == (b.head, b.variant) else self.names[c.b]

    def _gains(self, compared: Sequence[Comparison]) -> str:
        return listed(f"{self.names[c.b]} ({points(c.primary.difference)} pp)" for c in compared if c.primary)

    def _standings(self, compared: Sequence[Comparison]) -> Iterable[str]:
        """Say of every model what it is above and below, and what it is not told from."""
        words = {ABOVE: "above", BELOW: "below", UNTOLD: "not told from"}
        for name in dict.fromkeys(c.a for c in compared):
            parts = []
            for verdict, word in words.items():
                own = [self._rival(c) for c in compared if c.a == name and c.verdict == verdict]
                parts += [f"{word} {listed(own)}"] if own else []
            yield f"{self.names[name]}: {'; '.join(parts)}."

    def _line(self, c: Comparison, *, decides: bool) -> Line:
        result = c.primary
        return Line(
            about=f"{self.names[c.a]} − {self._rival(c)}",
            decides=decides,
            metric=c.metric,
            difference=result.difference if result else None,
            low=result.low if result else None,
            high=result.high if result else None,
            p=result.p if result else None,
            holm_p=c.holm_p,
            n=result.n if result else None,
            unit=result.unit if result else "",
            verdict=c.verdict,
            reason=c.reason,
        )


def _by_contrasts(interaction: Interaction) -> tuple[str, str]:
    """Return the verdict on H3 by its contrasts, and why; a part of what was predicted never gives one on all of it."""
    deciding = [c for c in interaction.contrasts if c.decides]
    above, below = ([c.of for c in deciding if c.verdict == verdict] for verdict in (ABOVE, BELOW))
    untold = [f"{c.of} ({c.reason})" for c in deciding if c.verdict == UNTOLD]
    parts = [("above 0", above), ("below 0", below), ("not told", untold)]
    told = "; ".join(f"{what}: {listed(own)}" for what, own in parts if own)
    if interaction.absent:
        return CANNOT, f"{listed(interaction.absent)} could not be looked at; of the rest, {told}"
    if below and not above:
        return CONTRADICTED, f"below 0: {listed(below)}"
    if len(above) == len(deciding):
        return SUPPORTED, "all three contrasts are above 0"
    return CANNOT, f"not all three are above 0; {told}"


def _contrast_line(c: Contrast) -> Line:
    figures = {name: getattr(c.result, name, None) for name in ("difference", "low", "high", "p", "n")}
    return Line(
        about=c.of,
        decides=c.decides,
        metric="",
        **figures,
        holm_p=c.holm_p,
        unit=c.result.unit if c.result else "",
        verdict=c.verdict,
        reason=c.reason,
    )


def not_run(what: str, how: str, verb: str = "was") -> Finding:
    """Return that an answer lacks models, and how to run them."""
    return Finding(verdict=CANNOT, why=f"{what} {verb} not run: {how} in the study file and run it again")


def heads_not_run(heads: Sequence[str]) -> Finding:
    """Return that an answer lacks these heads, or enough of them."""
    verb = "were" if len(heads) > 1 else "was"
    return not_run(listed(heads), f"add {listed(f'[heads.{head}]' for head in heads)}", verb)
