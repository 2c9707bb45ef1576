"""Which modality alone recalls which emotion best, what is lost without one, and what the corpus says it planted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.comparisons import ABOVE, OTHERS, STRATEGIES, Comparison, as_part, compare_pair, judge
from reports.evidence import Evidence, Model
from reports.heads import PLANTED_IN, UNIMODAL
from reports.measures import Measures, recall_of
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


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The modality that alone recalls an emotion best, against the nearest other one.

    `p` is the largest p against any other modality, `holm_p` corrected over the emotions; None where one of the tests
    is refused, for `reason`. Single modalities are judged on a composed corpus too: each sees its own recordings.
    """

    label: str
    modality: str
    recall: float
    runner_up: str
    margin: PairResult | None
    p: float | None
    holm_p: float | None
    told: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Lead:
    """How much more of an emotion a modality alone recalls than the best other one, `over`; below 0 if it is behind."""

    modality: str
    label: str
    over: str
    result: PairResult | None


@dataclass(frozen=True, kw_only=True)
class DropOne:
    """How much recall of an emotion the reference has over the same head, or the modality left, without one modality.

    `holm_p` is corrected over modalities and emotions; `verdict` is above, below or cannot tell, `reason` says why.
    """

    modality: str
    label: str
    without: str
    result: PairResult | None
    holm_p: float | None
    verdict: str
    reason: str = ""


def single_models(evidence: Evidence) -> list[Model]:
    """Return the models of the study's own training that see one modality."""
    return [model for model in evidence.models if len(model.modalities) == 1 and not model.variant]


def find_winners(evidence: Evidence, measures: Measures) -> tuple[Winner, ...]:
    """Say for every emotion which single modality recalls it best, and whether that can be told."""
    single = single_models(evidence)
    labels = (
        [label for label in evidence.classes if recall_of(label) in measures.table[single[0].name]] if single else []
    )
    if len(single) < 2:
        return ()
    found = [_winner(measures, single, label) for label in labels]
    adjusted = Holm().adjust([winner.p for winner in found])
    return tuple(_told(winner, p, measures.design.alpha) for winner, p in zip(found, adjusted, strict=True))


def _winner(measures: Measures, single: Sequence[Model], label: str) -> Winner:
    score = recall_of(label)
    order = sorted(single, key=lambda model: -measures.table[model.name][score].estimate)
    best, others = order[0], order[1:]
    tested = [compare_pair(measures, score, best.name, other.name) for other in others]
    p = [result.p for result, _ in tested if result and result.p is not None]
    refused = [why or (result.note if result else "") for result, why in tested if not result or result.p is None]
    return Winner(
        label=label,
        modality=best.modalities[0],
        recall=measures.table[best.name][score].estimate,
        runner_up=others[0].modalities[0],
        margin=tested[0][0],
        p=max(p) if len(p) == len(tested) else None,
        holm_p=None,
        told=False,
        reason=refused[0] if refused else "",
    )


def _told(winner: Winner, holm_p: float | None, alpha: float) -> Winner:
    verdict, reason = judge(winner.margin, holm_p, alpha)
    return replace(winner, holm_p=holm_p, told=verdict == ABOVE, reason=winner.reason or reason)


def find_leads(evidence: Evidence, measures: Measures) -> tuple[Lead, ...]:
    """Set every modality, alone, against the best other one, emotion by emotion."""
    single, leads = single_models(evidence), []
    for label in evidence.classes if len(single) > 1 else ():
        score = recall_of(label)
        if not all(score in measures.table[model.name] for model in single):
            continue
        for model in single:
            others = (other for other in single if other is not model)
            over = max(others, key=lambda other: measures.table[other.name][score].estimate)
            result, _ = compare_pair(measures, score, model.name, over.name)
            leads.append(Lead(modality=model.modalities[0], label=label, over=over.modalities[0], result=result))
    return tuple(leads)


def models_without(evidence: Evidence, reference: Model) -> dict[str, Model]:
    """Return, by modality, the same head without it, or the single modality that is left; none that was not run."""
    found = {}
    for modality in reference.modalities if reference.fused else ():
        left = tuple(m for m in reference.modalities if m != modality)
        head = reference.head if len(left) > 1 else UNIMODAL
        for model in evidence.models:
            if (model.modalities, model.head, model.variant) == (left, head, reference.variant):
                found[modality] = model
    return found


def drop_one(evidence: Evidence, measures: Measures, reference: Model) -> tuple[DropOne, ...]:
    """Compare the reference with what is left of it without each modality, emotion by emotion."""
    left = models_without(evidence, reference)
    cells = [(modality, label) for modality in left for label in evidence.classes]
    tested = [compare_pair(measures, recall_of(c), reference.name, left[m].name) for m, c in cells]
    adjusted = Holm().adjust([result.p if result else None for result, _ in tested])
    rows = []
    for (modality, label), (result, refused), holm_p in zip(cells, tested, adjusted, strict=True):
        verdict, reason = judge(result, holm_p, measures.design.alpha, by_label=evidence.by_label)
        rows.append(
            DropOne(
                modality=modality,
                label=label,
                without=left[modality].name,
                result=result,
                holm_p=holm_p,
                verdict=verdict,
                reason=refused or reason,
            )
        )
    return tuple(rows)


def planted_in(facts: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return the emotions each modality was made to tell, none for one that tells nothing.

    {} if nobody planted any, or the corpus is not synthetic: pairing planted recordings anew plants something else.
    """
    corpus = facts["corpus"]
    planted: Mapping[str, Sequence[str]] = corpus.get("notes", {}).get("planted") or {}
    return planted if corpus["pairing"] == "synthetic" else {}


def check_planted(
    evidence: Evidence, winners: Sequence[Winner], comparisons: Sequence[Comparison], alpha: float
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
    return (*rows, *_above_every_modality(evidence, comparisons, alpha)) if rows and len(planted) > 1 else tuple(rows)


def _modalities(evidence: Evidence) -> tuple[str, ...]:
    return tuple(sorted({m for model in evidence.models for m in model.modalities}))


def _alone(modality: str, winner: Winner, run: Collection[str]) -> Planted:
    effect = f"{modality} alone reads {winner.label} best"
    if winner.p is None or modality not in run:
        why = winner.reason if modality in run else f"{UNIMODAL} was not run on {modality}"
        return Planted(effect=effect, verdict=NOT_LOOKED_FOR, why=why)
    why = f"{winner.modality} recalls it best" + ("" if winner.told else f", but it cannot be told: {winner.reason}")
    return Planted(effect=effect, verdict=RECOVERED if winner.told and winner.modality == modality else MISSED, why=why)


def _above_every_modality(evidence: Evidence, comparisons: Sequence[Comparison], alpha: float) -> list[Planted]:
    head_of = {model.name: model for model in evidence.models}
    pairs: dict[str, list[Comparison]] = {}
    for c in comparisons:
        if c.metric == comparisons[0].metric and c.family in (STRATEGIES, OTHERS) and not head_of[c.b].fused:
            pairs.setdefault(c.a, []).append(as_part(c, alpha))
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
    return {"verdict": RECOVERED, "why": "every difference is above 0, each at alpha"}


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
