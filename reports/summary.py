"""The answer in a few sentences."""

from collections.abc import Sequence

from reports.chapters.emotions import RECOVERED, ByEmotion, Emotions
from reports.comparisons import ABOVE, BELOW, DROPPED, STRATEGIES, UNTOLD, VARIANTS, Comparison
from reports.evidence import CHANCE
from reports.results import Results
from reports.words import NAMES, labels_of, listed, percent, points, rival_of, sentence, span


def summary(results: Results) -> list[str]:
    """Return the answer in a few sentences, from the comparisons stated beforehand."""
    names, found = labels_of(results), results.value(Emotions)
    sentences = [_headline(results, names)]
    strategies = results.compared(STRATEGIES)
    single = [c for c in strategies if not results.model(c.b).fused]
    rivals = [c for c in strategies if results.model(c.b).fused]
    for comparisons in (single, rivals, results.compared(DROPPED)):
        if comparisons:
            sentences.append(_against(results, comparisons))
    sentences += _variants(results) + (_emotions(found) + _planted(found) if found else [])
    return sentences


def _headline(results: Results, names: dict[str, str]) -> str:
    metric = results.method.primary_metric
    best, chance = results.score(results.reference, metric), results.score(CHANCE, metric)
    used = sum(count.used for count in results.classes)
    return (
        f"{sentence(names[results.reference])} reaches a {NAMES[metric]} of {percent(best.estimate)} % "
        f"({span(best.low, best.high)}) on {len(results.classes)} emotions and {used:,} samples; "
        f"guessing the most frequent class reaches {percent(chance.estimate)} %."
    )


def _against(results: Results, comparisons: Sequence[Comparison]) -> str:
    parts = []
    for verdict, phrase in ((ABOVE, "is above"), (BELOW, "is below"), (UNTOLD, "cannot be told from")):
        chosen = [c for c in comparisons if c.verdict == verdict]
        if any(c.primary for c in chosen):
            gains = (f"{rival_of(results, c)} ({points(c.primary.difference)} pp)" for c in chosen if c.primary)
            parts.append(f"{phrase} {listed(gains)}")
    parts = parts or [f"cannot be compared with {listed(rival_of(results, c) for c in comparisons)}"]
    reasons = {c.reason for c in comparisons if c.verdict == UNTOLD} if len(parts) == 1 else set()
    why = f": {reasons.pop()}" if len(reasons) == 1 else ""
    return f"{sentence(labels_of(results)[results.reference])} {'; it '.join(parts)}{why}."


def _variants(results: Results) -> list[str]:
    compared = results.compared(VARIANTS)
    told = [c for c in compared if c.verdict != UNTOLD and c.primary]
    if not told:
        return ["No model trained otherwise can be told from itself with the study's own training."] if compared else []
    names = labels_of(results)
    gains = listed(f"{names[c.a]} ({points(c.primary.difference)} pp)" for c in told if c.primary)
    return [f"Of {len(compared)} models trained otherwise, these differ from the study's own training: {gains}."]


def _emotions(found: ByEmotion) -> list[str]:
    if not found.winners:
        return []
    told = [f"{w.modality} reads {w.label} best" for w in found.winners if w.told]
    untold = [w.label for w in found.winners if not w.told]
    if not told:
        return ["Which modality alone reads which emotion best cannot be told."]
    return [f"Alone, {listed(told)}." + (f" For {listed(untold)} it cannot be told." if untold else "")]


def _planted(found: ByEmotion) -> list[str]:
    if not found.planted:
        return []
    recovered = sum(effect.verdict == RECOVERED for effect in found.planted)
    return [f"Of {len(found.planted)} effects planted in the corpus, {recovered} were recovered."]
