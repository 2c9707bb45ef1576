"""What a corpus says was planted in it, held against what a study found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.comparisons import ABOVE, OTHERS, STRATEGIES, UNTOLD, Comparison, compare_pair, judge
from reports.evidence import Evidence
from reports.findings.gains import Winner
from reports.measures import Measures
from reports.statistics.holm import Holm

RECOVERED, MISSED = "recovered", "missed"
_CHECKED = ("weighted", "concat")  # the fusions that planted effects are looked for in


@dataclass(frozen=True, kw_only=True)
class Planted:
    """An effect the corpus says it holds, and whether this study found it."""

    effect: str
    verdict: str
    why: str


def planted_in(facts: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return the emotions each modality was made to tell, none for one that tells nothing; {} if nobody planted any."""
    planted: Mapping[str, Sequence[str]] = facts["corpus"].get("notes", {}).get("planted") or {}
    return planted


def check_planted(
    evidence: Evidence, winners: Sequence[Winner], comparisons: Sequence[Comparison]
) -> tuple[Planted, ...]:
    """Hold what was found against the effects the corpus says were planted in the modalities of this study.

    () if it says nothing. That fusing helps is one of them where two or more modalities tell something.
    """
    planted = {m: labels for m, labels in planted_in(evidence.facts).items() if labels and m in _modalities(evidence)}
    by_label = {winner.label: winner for winner in winners}
    rows = [
        _recovered(modality, by_label[label])
        for modality, labels in sorted(planted.items())
        for label in labels
        if label in by_label
    ]
    return (*rows, *_above_every_modality(evidence, comparisons)) if rows and len(planted) > 1 else tuple(rows)


def _modalities(evidence: Evidence) -> tuple[str, ...]:
    return tuple(sorted({m for model in evidence.models for m in model.modalities}))


def _recovered(modality: str, winner: Winner) -> Planted:
    right = winner.modality == modality
    why = f"{winner.modality} recalls it best" + ("" if winner.told else f", but it cannot be told: {winner.reason}")
    verdict = RECOVERED if right and winner.told else MISSED
    return Planted(effect=f"{modality} alone reads {winner.label} best", verdict=verdict, why=why)


def _above_every_modality(evidence: Evidence, comparisons: Sequence[Comparison]) -> list[Planted]:
    head_of = {model.name: model for model in evidence.models}
    pairs: dict[str, list[Comparison]] = {}
    for c in comparisons:
        if c.metric == comparisons[0].metric and c.family in (STRATEGIES, OTHERS) and not head_of[c.b].fused:
            pairs.setdefault(c.a, []).append(c)
    rows = []
    for name, own in pairs.items():
        if head_of[name].head not in _CHECKED:
            continue
        not_above = [c.b for c in own if c.verdict != ABOVE]
        why = f"{UNTOLD} from {', '.join(not_above)}" if not_above else "every difference is above 0 after Holm"
        verdict = MISSED if not_above else RECOVERED
        effect = f"{head_of[name].head} fusion is above every single modality"
        rows.append(Planted(effect=effect, verdict=verdict, why=why))
    return rows


def check_silent(evidence: Evidence, measures: Measures, metric: str) -> tuple[Planted, ...]:
    """Say of each modality that was made to tell nothing whether a fusion is found to gain by it all the same.

    The null is recovered unless the fusion of all modalities is above the same head without this one, or above the
    single modality that is left; Holm over all these comparisons.
    """
    models = {(model.head, model.modalities): model.name for model in evidence.models if not model.variant}
    everything = _modalities(evidence)
    cases = []
    for modality in (m for m, labels in sorted(planted_in(evidence.facts).items()) if not labels and m in everything):
        left = tuple(m for m in everything if m != modality)
        for head in _CHECKED:
            pair = models.get((head, everything)), models.get((head if len(left) > 1 else "unimodal", left))
            if pair[0] and pair[1]:
                cases.append((modality, head, compare_pair(measures, metric, pair[0], pair[1])))
    adjusted = Holm().adjust([result.p if result else None for _, _, (result, _) in cases])
    return tuple(
        _null(modality, head, judge(result, p, measures.design.alpha), refused)
        for (modality, head, (result, refused)), p in zip(cases, adjusted, strict=True)
    )


def _null(modality: str, head: str, judged: tuple[str, str], refused: str) -> Planted:
    verdict, reason = judged
    gains = verdict == ABOVE
    why = "the gain is above 0 after Holm" if gains else refused or reason or "it is found to harm"
    effect = f"{modality}, which tells nothing, is not found to help {head} fusion"
    return Planted(effect=effect, verdict=MISSED if gains else RECOVERED, why=why)
