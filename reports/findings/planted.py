"""What a corpus says was planted in it, held against what a study found."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.comparisons import ABOVE, OTHERS, STRATEGIES, Comparison, compare_pair, judge
from reports.evidence import Evidence
from reports.findings.gains import Winner, single_models
from reports.heads import PLANTED_IN, UNIMODAL
from reports.measures import Measures
from reports.statistics._statistic import PairResult
from reports.statistics.holm import Holm
from reports.words import listed, points, span

RECOVERED, MISSED, NOT_LOOKED_FOR = "recovered", "missed", "not looked for"


@dataclass(frozen=True, kw_only=True)
class Planted:
    """An effect the corpus says it holds, or that it does not, and whether this study found that.

    It is not looked for where the models were not run or no test was possible.
    """

    effect: str
    verdict: str
    why: str


def planted_in(facts: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return the emotions each modality was made to tell, none for one that tells nothing.

    {} if nobody planted any, or the corpus is not synthetic: pairing planted recordings anew plants something else.
    """
    corpus = facts["corpus"]
    planted: Mapping[str, Sequence[str]] = corpus.get("notes", {}).get("planted") or {}
    return planted if corpus["pairing"] == "synthetic" else {}


def check_planted(
    evidence: Evidence, winners: Sequence[Winner], comparisons: Sequence[Comparison]
) -> tuple[Planted, ...]:
    """Hold what was found against the effects the corpus says were planted in the modalities of this study.

    () if it says nothing. That fusing helps is one of them where two or more modalities tell something.
    """
    planted = {m: labels for m, labels in planted_in(evidence.facts).items() if labels and m in _modalities(evidence)}
    by_label, run = {winner.label: winner for winner in winners}, {m.modalities[0] for m in single_models(evidence)}
    rows = [
        _alone(modality, by_label[label], run)
        for modality, labels in sorted(planted.items())
        for label in labels
        if label in by_label
    ]
    return (*rows, *_above_every_modality(evidence, comparisons)) if rows and len(planted) > 1 else tuple(rows)


def _modalities(evidence: Evidence) -> tuple[str, ...]:
    return tuple(sorted({m for model in evidence.models for m in model.modalities}))


def _alone(modality: str, winner: Winner, run: Collection[str]) -> Planted:
    effect = f"{modality} alone reads {winner.label} best"
    if winner.p is None or modality not in run:
        why = winner.reason if modality in run else f"{UNIMODAL} was not run on {modality}"
        return Planted(effect=effect, verdict=NOT_LOOKED_FOR, why=why)
    why = f"{winner.modality} recalls it best" + ("" if winner.told else f", but it cannot be told: {winner.reason}")
    return Planted(effect=effect, verdict=RECOVERED if winner.told and winner.modality == modality else MISSED, why=why)


def _above_every_modality(evidence: Evidence, comparisons: Sequence[Comparison]) -> list[Planted]:
    head_of = {model.name: model for model in evidence.models}
    pairs: dict[str, list[Comparison]] = {}
    for c in comparisons:
        if c.metric == comparisons[0].metric and c.family in (STRATEGIES, OTHERS) and not head_of[c.b].fused:
            pairs.setdefault(c.a, []).append(c)
    rows = []
    for name, own in pairs.items():
        if head_of[name].head not in PLANTED_IN:
            continue
        effect = f"{head_of[name].head} fusion is above every single modality"
        rows.append(Planted(effect=effect, **_all_above(own)))
    return rows


def _all_above(own: Sequence[Comparison]) -> dict[str, str]:
    """Return verdict and why; one that is told not to be above is enough to miss it, whatever else is refused."""
    not_above = [c.b for c in own if c.verdict != ABOVE and c.holm_p is not None]
    refused = [c for c in own if c.holm_p is None]
    if not_above:
        return {"verdict": MISSED, "why": f"not told to be above {listed(not_above)}"}
    if refused:
        why = f"no test against {listed(c.b for c in refused)}: {listed(dict.fromkeys(c.reason for c in refused))}"
        return {"verdict": NOT_LOOKED_FOR, "why": why}
    return {"verdict": RECOVERED, "why": "every difference is above 0 after Holm"}


def check_silent(evidence: Evidence, measures: Measures, metric: str) -> tuple[Planted, ...]:
    """Say of each modality that was made to tell nothing whether a fusion is found to gain by it all the same.

    The null is recovered, as far as the interval tells, unless the fusion of all modalities is above the same head
    without this one, or above the single modality that is left; Holm over all these comparisons.
    """
    models = {(model.head, model.modalities): model.name for model in evidence.models if not model.variant}
    everything = _modalities(evidence)
    cases = []
    for modality in (m for m, labels in sorted(planted_in(evidence.facts).items()) if not labels and m in everything):
        left = tuple(m for m in everything if m != modality)
        for head in PLANTED_IN:
            pair = models.get((head, everything)), models.get((head if len(left) > 1 else UNIMODAL, left))
            if pair[0] and pair[1]:
                cases.append((modality, head, compare_pair(measures, metric, pair[0], pair[1])))
    adjusted = Holm().adjust([result.p if result else None for _, _, (result, _) in cases])
    alpha = measures.design.alpha
    return tuple(
        _null(f"{modality}, which tells nothing, is not found to help {head} fusion", result, refused, p, alpha)
        for (modality, head, (result, refused)), p in zip(cases, adjusted, strict=True)
    )


def _null(effect: str, result: PairResult | None, refused: str, holm_p: float | None, alpha: float) -> Planted:
    if result is None or holm_p is None:
        return Planted(effect=effect, verdict=NOT_LOOKED_FOR, why=refused or (result.note if result else ""))
    verdict, reason = judge(result, holm_p, alpha)
    gain = f"gain {points(result.difference)} pp, uncorrected interval {span(result.low, result.high, signed=True)}"
    if verdict == ABOVE:
        return Planted(effect=effect, verdict=MISSED, why=f"{gain}: above 0 after Holm")
    return Planted(effect=effect, verdict=RECOVERED, why=f"{gain}: {reason or 'it is found to harm'}")
