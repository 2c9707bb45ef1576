"""Which models are set against which, fixed by models and settings and by no score, and what came out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from reports.errors import StatisticsError
from reports.evidence import CHANCE, Evidence, Model
from reports.heads import EARLY, LATE, OF_THE_PAPER, WEIGHING, WEIGHTED
from reports.measures import Measures
from reports.statistics._statistic import Measured, PairResult
from reports.statistics.holm import Holm
from reports.statistics.paired_t import PairedT
from stores.errors import ConfigError
from stores.plugins import nearest

ABOVE, BELOW, UNTOLD = "above", "below", "cannot tell"
BY_LABEL = "pairs were made by label"
UNFINISHED = "the lower one was not trained to the end"
STRATEGIES, FURTHER, OTHERS, DROPPED = "strategies", "further strategies", "other strategies", "one modality less"
OTHERS_DROPPED, EARLY_LATE, WEIGHTINGS = "other strategies, one modality less", "weighted, early and late", "weightings"
CHANCES, VARIANTS = "chance", "variants"
QUESTIONS = {
    STRATEGIES: "Is the reference above every single modality and above the weighted, early and late fusion?",
    FURTHER: "Is the reference above the further strategies?",
    OTHERS: "Are the other strategies above every single modality?",
    DROPPED: "Does the reference lose when a modality is taken away?",
    OTHERS_DROPPED: "Do the other strategies lose when a modality is taken away?",
    EARLY_LATE: "Is weighted fusion above early and late fusion?",
    WEIGHTINGS: "Which way of weighting the modalities is best?",
    CHANCES: "Is each model above guessing the most frequent class?",
    VARIANTS: "Is a model trained otherwise above the same model with the study's own training?",
}


@dataclass(frozen=True, kw_only=True)
class Family:
    """Comparisons that are corrected together; `pairs` are (a, b) model names, tested as a - b."""

    name: str
    question: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One pair on one metric. `verdict` is above, below or cannot tell (a v b); `reason` says why it cannot.

    `primary` is the protocol's own test, `holm_p` its p corrected over the family, `naive` the paired t as in
    the reference paper.
    """

    family: str
    metric: str
    a: str
    b: str
    primary: PairResult | None
    holm_p: float | None
    naive: PairResult | None
    verdict: str
    reason: str = ""


def choose_reference(models: Sequence[Model], wanted: str | None) -> Model:
    """Return the model everything is compared with: the one asked for, else weighted on most modalities.

    It is one of the study's own training, unless another is asked for.
    """
    real = {model.name: model for model in models if model.name != CHANCE}
    if wanted is None:
        rank = {head: -i for i, head in enumerate(OF_THE_PAPER)}
        return max(real.values(), key=lambda m: (not m.variant, len(m.modalities), rank.get(m.head, -len(rank))))
    if wanted in real:
        return real[wanted]
    raise ConfigError(
        f"[report] reference {wanted!r} was not run{nearest(wanted, list(real))}; there are: {', '.join(real)}"
    )


def plan_families(models: Sequence[Model], reference: Model) -> tuple[Family, ...]:
    """Return the comparisons this report makes; they follow from the models alone, never from a score.

    Models are compared with others trained alike; on the reference's modalities also with themselves trained otherwise.
    The first family is the reference against what the reference paper sets it against, however many further
    strategies were run, so that these cannot make its answer any harder.
    """
    full = set(reference.modalities)
    alike = [m for m in models if m.variant == reference.variant and m.name != CHANCE]
    single = [m for m in alike if len(m.modalities) == 1 and set(m.modalities) < full]
    rivals = [m for m in alike if set(m.modalities) == full and m.name != reference.name]
    alone = [m for m in alike if len(m.modalities) == 1]
    pairs = {
        STRATEGIES: _against(reference, (*single, *(m for m in rivals if m.head in OF_THE_PAPER))),
        FURTHER: _against(reference, [m for m in rivals if m.head not in OF_THE_PAPER]),
        OTHERS: tuple(pair for rival in rivals if rival.fused for pair in _against(rival, single)),
        DROPPED: _against(reference, _with_less(reference, alike)),
        OTHERS_DROPPED: tuple(pair for rival in rivals for pair in _against(rival, _with_less(rival, alike))),
        EARLY_LATE: _early_late(alike) if reference.head != WEIGHTED else (),
        WEIGHTINGS: tuple((a.name, b.name) for a, b in combinations(weighings(models, reference), 2)),
        CHANCES: tuple((m.name, CHANCE) for m in dict.fromkeys((*alone, reference))),
        VARIANTS: _otherwise([m for m in models if set(m.modalities) == full]),
    }
    return tuple(Family(name=name, question=QUESTIONS[name], pairs=own) for name, own in pairs.items() if own)


def weighings(models: Sequence[Model], reference: Model) -> list[Model]:
    """Return the models that weigh the modalities, on as many of them as there are, in the order of WEIGHING."""
    alike = [m for m in models if m.fused and m.variant == reference.variant and m.head in WEIGHING]
    full: set[str] = max((set(m.modalities) for m in alike), key=len, default=set())
    return sorted((m for m in alike if set(m.modalities) == full), key=lambda m: WEIGHING.index(m.head))


def _with_less(model: Model, alike: Iterable[Model]) -> list[Model]:
    return [m for m in alike if m.fused and m.head == model.head and set(m.modalities) < set(model.modalities)]


def _early_late(alike: Sequence[Model]) -> tuple[tuple[str, str], ...]:
    """Return the weighted model on most modalities against early and late fusion of the same."""
    own = max((m for m in alike if m.fused and m.head == WEIGHTED), key=lambda m: len(m.modalities), default=None)
    if own is None:
        return ()
    return _against(own, [m for m in alike if m.modalities == own.modalities and m.head in (EARLY, LATE)])


def _against(model: Model, others: Iterable[Model]) -> tuple[tuple[str, str], ...]:
    return tuple((model.name, other.name) for other in others)


def _otherwise(models: Sequence[Model]) -> tuple[tuple[str, str], ...]:
    """Return each model of a variant with the same head on the same modalities and no variant."""
    plain = {(m.head, m.modalities): m.name for m in models if not m.variant}
    return tuple((m.name, plain[m.head, m.modalities]) for m in models if m.variant and (m.head, m.modalities) in plain)


def compare_pair(measures: Measures, metric: str, a: str, b: str) -> tuple[PairResult | None, str]:
    """Return the primary test of a - b, of an unfinished lower one the difference alone, or None and why."""
    first, second = measures.table[a].get(metric), measures.table[b].get(metric)
    if first is None or second is None:
        return None, f"{metric} is undefined where a class is absent from a test part"
    try:
        result = measures.primary.compare(first, second, measures.design)
    except StatisticsError as error:
        return None, str(error)
    if (b if result.difference > 0 else a) in measures.unfinished:  # the other may only have learned faster
        return replace(result, low=None, high=None, p=None, note=UNFINISHED), ""
    return result, ""


def run_families(
    evidence: Evidence, measures: Measures, families: Sequence[Family], metrics: Sequence[str]
) -> tuple[Comparison, ...]:
    """Run every family on every metric, Holm within (family, metric)."""
    single = {model.name: not model.fused for model in evidence.models}
    done = []
    for family in families:
        for metric in metrics:
            tested = [compare_pair(measures, metric, a, b) for a, b in family.pairs]
            adjusted = Holm().adjust([result.p if result else None for result, _ in tested])
            for (a, b), (result, reason), holm_p in zip(family.pairs, tested, adjusted, strict=True):
                by_label = evidence.by_label and not (single[a] and single[b])
                verdict, why = judge(result, holm_p, measures.design.alpha, by_label=by_label)
                done.append(
                    Comparison(
                        family=family.name,
                        metric=metric,
                        a=a,
                        b=b,
                        primary=result,
                        holm_p=holm_p,
                        naive=_naive(measures, measures.table[a].get(metric), measures.table[b].get(metric)),
                        verdict=verdict,
                        reason=reason or why,
                    )
                )
    return tuple(done)


def judge(result: PairResult | None, holm_p: float | None, alpha: float, *, by_label: bool = False) -> tuple[str, str]:
    """Return the verdict on a - b and, where it cannot be told, why; nothing is where pairs were made `by_label`."""
    if by_label:
        return UNTOLD, BY_LABEL
    if result is None or holm_p is None or result.low is None or result.high is None:
        return UNTOLD, "" if result is None else result.note
    if holm_p < alpha and result.low * result.high > 0:
        return (ABOVE if result.difference > 0 else BELOW), ""
    if result.low * result.high <= 0:
        return UNTOLD, "the interval includes 0"
    if result.p and result.smallest_p is not None and result.smallest_p * holm_p / result.p >= alpha:
        return UNTOLD, "no p the test can give is small enough for Holm's correction"
    return UNTOLD, "not after Holm's correction"


def as_part(c: Comparison, alpha: float) -> Comparison:
    """Return a comparison with its verdict as one part of a claim that holds only if every part is above.

    A part that is above is told at alpha (Berger 1982, intersection-union): to support a false claim by chance, that
    of its parts which is not above must pass too. One part below contradicts the claim, so that stays after Holm.
    """
    if c.primary is None or c.primary.difference <= 0 or c.reason == BY_LABEL:
        return c
    verdict, reason = judge(c.primary, c.primary.p, alpha)
    return replace(c, verdict=verdict, reason=reason)


def cannot_tell(compared: Sequence[Comparison], alpha: float) -> float | None:
    """Return the smallest p the test can give if, corrected by Holm, it is below alpha in no family; else None."""
    families = [[c for c in compared if c.family == name] for name in dict.fromkeys(c.family for c in compared)]
    tested = [[c.primary for c in own if c.primary and c.primary.p is not None] for own in families]
    least = [(min(r.smallest_p or 0.0 for r in own), len(own)) for own in tested if own]
    blind = least and all(p * size >= alpha for p, size in least)
    return min(p for p, _ in least) if blind else None


def _naive(measures: Measures, a: Measured | None, b: Measured | None) -> PairResult | None:
    if a is None or b is None:
        return None
    try:
        return PairedT().compare(a, b, measures.design)
    except StatisticsError:
        return None
