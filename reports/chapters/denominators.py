"""Who the scores are about: the same samples for every model, who was left out, and what hangs on that."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.comparisons import STRATEGIES
from reports.findings.leaks import FEWEST_SAMPLES
from reports.findings.rescoring import Rescored, in_words, rescore
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
        counts, parts = case.sample_counts, case.evidence.held_out
        known, lacks = "lacks" in counts[0], _who_lacks(case)
        masks = case.evidence.facts.get("missing") == "mask"
        keep = [np.array([name not in lacks for name in part.sample_ids.tolist()]) for part in parts]
        lacking = {name for part, own in zip(parts, keep, strict=True) for name in part.sample_ids[~own].tolist()}
        addable = _addable(counts, len(case.evidence.facts["modalities"])) if known else 0
        return Denominator(
            models=len(case.evidence.models),
            samples=len({name for part in parts for name in part.sample_ids.tolist()}),
            tests=tuple(len(part.sample_ids) for part in parts),
            shares=_shares(counts, case.evidence.classes),
            policy="mask" if masks else "complete",
            score=case.measures.table[case.reference.name][case.primary_metric].estimate,
            partial=len(lacking) if masks and known else None,
            complete=rescore(case, keep) if masks and lacking else None,
            addable=addable if not masks and known else None,
            bounds=() if masks or not addable else _bounds(case, addable),
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


def _who_lacks(case: Case) -> set[str]:
    """Return the samples that are known to lack a modality."""
    samples = case.store.samples()
    there = "lacks" in samples.column_names
    return set(samples.filter(pc.is_valid(samples["lacks"]))["sample_id"].to_pylist()) if there else set()


def _addable(counts: Sequence[Mapping[str, Any]], modalities: int) -> int:
    """Return how many are left out for want of a modality, and have another one."""
    out = [row for row in counts if row["lacks"] and (row["excluded"] or "").startswith(WANTING)]
    return sum(row["n"] for row in out if len(row["lacks"].split("+")) < modalities)


def _shares(counts: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> tuple[Share, ...]:
    """Return the used and then those left out, by reason, the most frequent first."""
    labels: dict[str, Counter[str | None]] = {"": Counter()}
    for row in counts:
        labels.setdefault(row["excluded"] or "", Counter())[row["label"]] += row["n"]
    reasons = sorted(labels, key=lambda reason: (reason != "", -labels[reason].total(), reason))
    return tuple(_share(reason, labels[reason], labels[""], classes) for reason in reasons)


def _share(reason: str, own: Counter[str | None], used_by_label: Counter[str | None], classes: Sequence[str]) -> Share:
    counts, used = (np.array([by[name] for name in classes]) for by in (own, used_by_label))
    found = Share(reason=reason, samples=own.total(), counts=tuple(counts.tolist()))
    if not reason or not counts.sum() or not used.sum():
        return found
    apart = counts / counts.sum() - used / used.sum()
    k = int(np.abs(apart).argmax())
    return replace(found, furthest=classes[k], apart=float(apart[k]))


def _bounds(case: Case, addable: int) -> tuple[Bound, ...]:
    """Return, for every other strategy, between what the gain in accuracy lies if `addable` were scored.

    They would come to test parts as often as the others. After Manski 2003, Partial Identification, chapter 1.
    """
    used = sum(row["n"] for row in case.sample_counts if not row["excluded"])
    share, table = addable / (addable + used), case.measures.table
    found = []
    for c in case.compared(STRATEGIES):
        gain = table[c.a]["accuracy"].estimate - table[c.b]["accuracy"].estimate
        alike = (1 - share) * gain
        found.append(Bound(rival=c.b, gain=gain, low=alike - share, alike=alike, high=alike + share))
    return tuple(found)
