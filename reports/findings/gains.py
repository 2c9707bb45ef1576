"""Which modality alone recalls which emotion best, and how much is lost of it without a modality."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.comparisons import ABOVE, BY_LABEL, UNTOLD, compare_pair, judge
from reports.evidence import Evidence, Model
from reports.heads import UNIMODAL
from reports.measures import Measures, recall_of
from reports.statistics._statistic import PairResult
from reports.statistics.holm import Holm


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
        verdict, reason = judge(result, holm_p, measures.design.alpha)
        if evidence.pairing == "composed":
            verdict, reason = UNTOLD, BY_LABEL
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
