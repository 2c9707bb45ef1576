"""Results in words and in printed figures; nothing is computed here."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reports.banners import Banner
from reports.comparisons import (
    ABOVE,
    BELOW,
    CHANCES,
    DROPPED,
    EARLY_LATE,
    FURTHER,
    OTHERS,
    OTHERS_DROPPED,
    STRATEGIES,
    UNTOLD,
    VARIANTS,
    WEIGHTINGS,
    Comparison,
)
from reports.evidence import CHANCE, Model
from reports.heads import UNIMODAL
from reports.results import Results
from stores.spelling import few

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
    "repeated": "repeated splits, whole groups dealt in turn, stratified",
    "k-fold": "k-fold cross-validation, stratified and by group",
    "leave-one-group-out": "leave one group out",
    "fixed": "the corpus' own split, several seeds",
}
TITLES = {
    STRATEGIES: "The reference against single modalities, early and late fusion",
    FURTHER: "The reference against further strategies",
    OTHERS: "Other strategies against single modalities",
    DROPPED: "The reference against itself with one modality less",
    OTHERS_DROPPED: "Other strategies against themselves with one modality less",
    EARLY_LATE: "Weighted fusion against early and late fusion",
    WEIGHTINGS: "Ways of weighting against each other",
    CHANCES: "Against guessing the most frequent class",
    VARIANTS: "Trained otherwise, against the study's own training",
}
VERDICTS = {ABOVE: "gain", BELOW: "loss", UNTOLD: UNTOLD}
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
    """Return an exact p value to three digits, never `p < x`."""
    return "undefined" if p is None else f"{p:#.3g}"


def number(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "−")


def listed(names: Iterable[str]) -> str:
    """Return `a, b and c`; `none` of nothing."""
    *head, last = [*names] or ["none"]
    return f"{', '.join(head)} and {last}" if head else last


def counted(n: int, noun: str) -> str:
    """Return `1 repeat`, `2 repeats`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def with_article(noun: str) -> str:
    """Return `an accuracy`, `a macro F1`."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plain(reason: str) -> str:
    """Return the text of an error as a clause of a sentence: what is needed, what there is, what to do."""
    found = re.fullmatch(r"(?:.+: )?expected (.+?), got ([^:;]+)(?:[:;] (.+))?", reason)
    if not found:
        return reason.rstrip(".")
    wanted, got, remedy = found.groups()
    return f"it needs {wanted}, and there is {got}" + (f" ({remedy})" if remedy else "")


def isolated(text: str) -> str:
    """Return a name from the data so that, inside a sentence, one written from right to left moves nothing else."""
    backwards = any(unicodedata.bidirectional(character) in ("R", "AL", "RLO", "RLE", "RLI") for character in text)
    return f"\u2068{text}\u2069" if backwards else text


def sentence(text: str) -> str:
    """Return `text` with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def label_of(model: Model, everything: Sequence[str]) -> str:
    """Return a model's short name: `text`, `weighted`, `weighted · speech + text`, `weighted smote` of a variant."""
    if model.name == CHANCE:
        return CHANCE
    if model.head == UNIMODAL and len(model.modalities) == 1:
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
    if comparison.family not in (DROPPED, OTHERS_DROPPED):
        return labels_of(results)[comparison.b]
    gone = set(results.model(comparison.a).modalities) - set(results.model(comparison.b).modalities)
    return f"itself without {listed(sorted(gone))}"


def verdict_of(comparison: Comparison) -> str:
    """Return the verdict of one comparison in words."""
    return VERDICTS[comparison.verdict]


def banner_lines(banners: Iterable[Banner]) -> list[str]:
    """Return the warnings as plain lines, for the terminal and methods.md."""
    return [f"{banner.title}: {banner.text}" for banner in banners]


def tested_of(facts: Mapping[str, Any]) -> str:
    """Return how often each group is tested, who never is, and how even the test parts are; "" if nobody counted."""
    if not (told := facts.get("tested")):
        return ""
    unit, times = listed(facts.get("groups") or ["sample"]), {int(k): n for k, n in told["by_times"].items()}
    often = sorted(k for k in times if k)
    span_of = f"{often[0]} to {often[-1]} times" if len(often) > 1 else counted(often[0], "time")
    never = f"; {counted(times[0], 'group')} never ({few(told['never'])})" if 0 in times else ""
    median, most = (f"{100 * off:.1f}" for off in told["off"])
    return (
        f"{counted(sum(times.values()) - times.get(0, 0), 'group')} (by {unit}) tested {span_of} each{never}; class "
        f"shares of a test part are off those of all samples by {median} points in the median repeat, {most} at most"
    )


def groups_of(facts: Mapping[str, Any]) -> str:
    """Return how many groups of each kind there are, blank ones and probable twins among them; "" if nobody counted.

    That none is in two parts is said of those the study splits by, where no names are probably one.
    """
    if (counts := facts.get("group_counts")) is None:
        return ""
    told, wanted = [], facts.get("groups") or ()
    for kind, own in counts.items():
        twins = listed(own["twins"]) if own["twins"] else "none"
        blank = f"{own['blank']:,} samples without"
        told.append(f"{counted(own['groups'], kind)} ({blank}; probable twins: {twins})")
    if shared := facts["in_two_parts"]:
        told.append(f"{shared} by {listed(wanted)} in two parts")
    elif wanted and not any(counts[kind]["twins"] for kind in wanted):
        told.append(f"no {listed(wanted)} is in two parts")
    return "; ".join(told) or "the corpus names no groups"


def shape_of(results: Results) -> str:
    """Return the design in one sentence."""
    method, protocol = results.method, results.facts["protocol"]
    dealt = f" of {protocol['rounds']} x {protocol['folds']} folds" if method.protocol == "k-fold" else ""
    encoders = f" (heads; encoders: {method.encoder_size:.0f} others)" if method.encoder_size else ""
    return (
        f"{sentence(PROTOCOLS[method.protocol])}: {counted(method.repeats, 'repeat')}{dealt}, "
        f"{method.train_size:.0f} training{encoders} and {method.test_size:.0f} test samples each"
    )
