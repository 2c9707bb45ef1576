"""Who the scores are about: the same samples for every model, who was left out, and what hangs on that."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.findings.rescoring import FEWEST_SAMPLES, Rescored, in_words, rescore
from reports.results import Results
from reports.words import NONE, labels_of, percent, points

WANTING = ("absent", "quarantined")  # how the reason of a sample begins that a modality keeps out


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many samples are in a share of the corpus, by emotion: `counts` (K,), of those that have a label.

    `reason` is empty for those that are used. `furthest` is the emotion whose share differs most from that among the
    used, by `apart` (a share, signed); None where nobody has a label.
    """

    reason: str
    samples: int
    counts: tuple[int, ...]
    furthest: str | None = None
    apart: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The gain of the reference in accuracy over `rival`, and what it could be with the excluded ones scored.

    `low` and `high` are the worst and the best case; `alike` is if the models did equally on them.
    """

    rival: str
    gain: float
    low: float
    alike: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Denominator:
    """All `models` were scored on the same samples: `tests` (J,) by repeat, `samples` different ones.

    Under `mask`, `complete` is the reference on test samples that have every modality, `partial` counts the others;
    None if the study does not say who lacks what. Otherwise `addable` samples would take part under `mask`.
    """

    models: int
    samples: int
    tests: tuple[int, ...]
    shares: tuple[Share, ...]
    policy: str
    score: float | None
    partial: int | None = None
    complete: Rescored | None = None
    addable: int | None = None
    bounds: tuple[Bound, ...] = ()


class Denominators(Chapter[Denominator]):
    """The same denominator for all, exclusions by emotion, and the other policy for missing modalities."""

    title = "Same denominator"

    def compute(self, case: Case) -> Denominator:
        rows, parts = case.store.samples().to_pylist(), case.evidence.held_out
        known = "lacks" in rows[0]
        lacks = {row["sample_id"]: set(row["lacks"].split("+")) for row in rows if known and row["lacks"]}
        masks = case.evidence.facts.get("missing") == "mask"
        keep = [np.array([name not in lacks for name in part.sample_ids.tolist()]) for part in parts]
        lacking = {name for part, own in zip(parts, keep, strict=True) for name in part.sample_ids[~own].tolist()}
        addable = len(_addable(rows, lacks, len(case.evidence.facts["modalities"])))
        return Denominator(
            models=len(case.evidence.models),
            samples=len({name for part in parts for name in part.sample_ids.tolist()}),
            tests=tuple(len(part.sample_ids) for part in parts),
            shares=_shares(rows, case.evidence.classes),
            policy="mask" if masks else "complete",
            score=case.measures.table[case.reference.name][case.primary_metric].estimate,
            partial=len(lacking) if masks and known else None,
            complete=rescore(case, keep) if masks and lacking else None,
            addable=addable if not masks and known else None,
            bounds=() if masks or not addable else _bounds(case, addable, sum(not row["excluded"] for row in rows)),
        )

    def tables(self, value: Denominator, results: Results) -> Mapping[str, Rows]:
        left_out = [
            {"left_out_because": own.reason, "samples": own.samples}
            | dict(zip(results.labels, own.counts, strict=True))
            for own in value.shares
        ]
        return {"exclusions": left_out, "bounds": [vars(bound) for bound in value.bounds]}

    def context(self, value: Denominator, results: Results) -> Mapping[str, Any]:
        return {
            "complete_verdicts": value.complete and in_words(value.complete, labels_of(results)),
            "rows": [(own, _cells(own.counts), _furthest(own)) for own in value.shares],
            "fewest": FEWEST_SAMPLES,
            "unsure": [labels_of(results)[bound.rival] for bound in value.bounds if bound.low * bound.high <= 0],
        }


def _cells(counts: Sequence[int]) -> list[str]:
    whole = sum(counts)
    return [f"{count} ({percent(count / whole if whole else None)})" for count in counts]


def _furthest(own: Share) -> str:
    if own.furthest is None:
        return "no label" if own.reason else NONE
    return "cannot be told" if sum(own.counts) < FEWEST_SAMPLES else f"{own.furthest} {points(own.apart)} points"


def _addable(rows: Sequence[Mapping[str, Any]], lacks: Mapping[str, set[str]], modalities: int) -> list[str]:
    """Return who is left out for want of a modality, and has another one."""
    out = [row["sample_id"] for row in rows if (row["excluded"] or "").startswith(WANTING)]
    return [name for name in out if 0 < len(lacks.get(name, ())) < modalities]


def _shares(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> tuple[Share, ...]:
    """Return the used and then those left out, by reason, the most frequent first."""
    labels: dict[str, list[str | None]] = {"": []}
    for row in rows:
        labels.setdefault(row["excluded"] or "", []).append(row["label"])
    reasons = sorted(labels, key=lambda reason: (reason != "", -len(labels[reason]), reason))
    used = _counts(labels[""], classes)
    return tuple(_share(reason, labels[reason], used, classes) for reason in reasons)


def _counts(labels: Sequence[str | None], classes: Sequence[str]) -> np.ndarray:
    counted = Counter(labels)
    return np.array([counted[name] for name in classes])


def _share(reason: str, labels: Sequence[str | None], used: np.ndarray, classes: Sequence[str]) -> Share:
    counts = _counts(labels, classes)
    found = Share(reason=reason, samples=len(labels), counts=tuple(counts.tolist()))
    if not reason or not counts.sum() or not used.sum():
        return found
    apart = counts / counts.sum() - used / used.sum()
    k = int(np.abs(apart).argmax())
    return replace(found, furthest=classes[k], apart=float(apart[k]))


def _bounds(case: Case, addable: int, used: int) -> tuple[Bound, ...]:
    """Return, for every rival of the first family, between what the gain in accuracy lies if `addable` were scored.

    They would come to test parts as often as the others. After Manski 2003, Partial Identification, chapter 1.
    """
    share, table = addable / (addable + used), case.measures.table
    found = []
    for a, b in case.families[0].pairs if case.families else ():
        gain = table[a]["accuracy"].estimate - table[b]["accuracy"].estimate
        alike = (1 - share) * gain
        found.append(Bound(rival=b, gain=gain, low=alike - share, alike=alike, high=alike + share))
    return tuple(found)
