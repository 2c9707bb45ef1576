"""Results in words and in printed figures; nothing is computed here."""

from collections.abc import Iterable, Sequence

from reports.banners import Banner
from reports.comparisons import ABOVE, BELOW, CHANCES, DROPPED, OTHERS, STRATEGIES, UNTOLD, VARIANTS, Comparison
from reports.emotions import RECOVERED
from reports.evidence import CHANCE, Model
from reports.results import Results

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "weighted_precision": "weighted precision",
    "weighted_recall": "weighted recall",
    "weighted_f1": "weighted F1",
    "auc_macro_ovr": "macro AUC",
    "auc_micro_ovr": "micro AUC",
    "auc_weighted_ovr": "weighted AUC",
}
PROTOCOLS = {
    "repeated": "repeated random splits, stratified and by group",
    "k-fold": "k-fold cross-validation, stratified and by group",
    "leave-one-group-out": "leave one group out",
    "fixed": "the corpus' own split, several seeds",
}
TITLES = {
    STRATEGIES: "The reference against single modalities and other strategies",
    OTHERS: "Other strategies against single modalities",
    DROPPED: "The reference against itself with one modality less",
    CHANCES: "Against guessing the most frequent class",
    VARIANTS: "Trained otherwise, against the study's own training",
}
NONE = "–"


def percent(value: float | None) -> str:
    """Return a share in percent, one decimal."""
    return NONE if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """Return a difference in percentage points, signed, one decimal."""
    return NONE if value is None else f"{100 * value:+.1f}".replace("-", "−")


def span(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Return an interval."""
    show = points if signed else percent
    return "no interval" if low is None or high is None else f"{show(low)} to {show(high)}"


def exact(p: float | None) -> str:
    """Return an exact p value, never `p < x`."""
    if p is None:
        return "undefined"
    return f"{p:.3g}"


def number(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "−")


def listed(names: Iterable[str]) -> str:
    """Return `a, b and c`."""
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last


def sentence(text: str) -> str:
    """Return `text` with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def label_of(model: Model, everything: Sequence[str]) -> str:
    """Return a model's short name: `text`, `weighted`, `weighted · speech + text`, `weighted smote` of a variant."""
    if model.name == CHANCE:
        return CHANCE
    if model.head == "unimodal" and len(model.modalities) == 1:
        label = model.modalities[0]
    elif len(model.modalities) == len(everything) > 1:
        label = model.head
    else:
        label = f"{model.head} · {' + '.join(model.modalities)}"
    return f"{label} {model.variant}".strip()


def labels_of(results: Results) -> dict[str, str]:
    """Return the short name of every model by its full one."""
    everything = max((model.modalities for model in results.models), key=len)
    return {model.name: label_of(model, everything) for model in results.models}


def rival_of(results: Results, comparison: Comparison) -> str:
    """Return the short name of what a model is compared with: `text`, `concat`, `itself without text`."""
    if comparison.family != DROPPED:
        return labels_of(results)[comparison.b]
    gone = set(results.model(comparison.a).modalities) - set(results.model(comparison.b).modalities)
    return f"itself without {listed(sorted(gone))}"


def verdict_of(comparison: Comparison) -> str:
    """Return the verdict of one comparison in words."""
    return {ABOVE: "gain", BELOW: "loss", UNTOLD: UNTOLD}[comparison.verdict]


def summary(results: Results) -> list[str]:
    """Return the answer in a few sentences, from the comparisons stated beforehand."""
    names = labels_of(results)
    sentences = [_headline(results, names)]
    strategies = results.compared(STRATEGIES)
    single = [c for c in strategies if not results.model(c.b).fused]
    rivals = [c for c in strategies if results.model(c.b).fused]
    for comparisons in (single, rivals, results.compared(DROPPED)):
        if comparisons:
            sentences.append(_against(results, comparisons))
    sentences += _variants(results) + _emotions(results) + _planted(results)
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


def _emotions(results: Results) -> list[str]:
    if not results.winners:
        return []
    told = [f"{w.modality} reads {w.label} best" for w in results.winners if w.told]
    untold = [w.label for w in results.winners if not w.told]
    if not told:
        return ["Which modality alone reads which emotion best cannot be told."]
    return [f"Alone, {listed(told)}." + (f" For {listed(untold)} it cannot be told." if untold else "")]


def _planted(results: Results) -> list[str]:
    if not results.planted:
        return []
    found = sum(effect.verdict == RECOVERED for effect in results.planted)
    return [f"Of {len(results.planted)} effects planted in the corpus, {found} were recovered."]


def banner_lines(banners: Iterable[Banner]) -> list[str]:
    """Return the warnings as plain lines, for the terminal and methods.md."""
    return [f"{banner.title}: {banner.text}" for banner in banners]


def shape_of(results: Results) -> str:
    """Return the design in one sentence."""
    method, protocol = results.method, results.facts["protocol"]
    dealt = f" of {protocol['rounds']} x {protocol['folds']} folds" if method.protocol == "k-fold" else ""
    return (
        f"{sentence(PROTOCOLS[method.protocol])}: {method.repeats} repeats{dealt}, "
        f"{method.train_size:.0f} training and {method.test_size:.0f} test samples each"
    )
