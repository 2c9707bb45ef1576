"""What test parts share with training parts, and what the scores are without it; how often test parts were opened."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.case import Case
from reports.chapters._chapter import Chapter, Rows
from reports.findings.leaks import on_tests, others, words_of
from reports.findings.near_duplicates import EQUAL, GROUP, IDENTICAL, NEAR, SEEN, SEEN_GROUP, UNSURE
from reports.findings.rescoring import Rescored, in_words, rescore
from reports.findings.searches import opened
from reports.results import Results
from reports.words import labels_of

EXAMPLES = 5  # samples named of each finding
REASONS = (IDENTICAL, SEEN, EQUAL, NEAR, UNSURE, GROUP, SEEN_GROUP)


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How rows of a modality were compared: they fill `dimension` dimensions, and near is up to `ratio` of the way.

    Medians over `stores`, one an encoder; `looked` counts those that could be judged, `reason` says why one could not.
    """

    modality: str
    stores: int
    looked: int
    dimension: float | None
    ratio: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """A test sample and the training sample it is most like; `similarity` is None for groups."""

    sample: str
    nearest: str
    similarity: float | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Test samples that training has too, in a modality or a kind of group; the closest reason of each counts.

    `samples` counts them once, `tests` in every repeat, `share` is that of all tests; `without` is all but them.
    """

    kind: str
    reason: str
    samples: int
    tests: int
    share: float
    without: Rescored
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """What was found; `looked` is False for a study of before there was a radar.

    `score` is the reference's on everything; `together` is without all findings that leave enough to score, None if
    there are fewer than two.
    """

    looked: bool
    score: float | None = None
    sights: tuple[Sight, ...] = ()
    kinds: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    together: Rescored | None = None


class Leakage(Chapter[Leaks]):
    """Near-duplicates, groups in two parts, and the odometer."""

    title = "What training and test parts share"

    def compute(self, case: Case) -> Leaks:
        case, radar = case.whole or case, case.store.radar()
        if radar is None:
            return Leaks(looked=False)
        told = json.loads(radar.schema.metadata[b"affuse"])
        rows = on_tests(radar.to_pandas(), case.evidence)
        flagged = {
            (kind, reason): own
            for kind in (*told["modalities"], *told["kinds"])
            for reason in REASONS
            if len(own := rows[(rows["kind"] == kind) & (rows["reason"] == reason)])
        }
        findings = tuple(_finding(case, *what, own) for what, own in flagged.items())
        told_apart = [flagged[own.kind, own.reason] for own in findings if not own.without.reason]
        return Leaks(
            looked=True,
            score=case.measures.table[case.reference.name][case.primary_metric].estimate,
            sights=tuple(Sight(modality=name, **sight) for name, sight in told["modalities"].items()),
            kinds=tuple(told["kinds"]),
            findings=findings,
            together=rescore(case, others(case.evidence, pd.concat(told_apart))) if len(told_apart) > 1 else None,
        )

    def tables(self, value: Leaks, results: Results) -> Mapping[str, Rows]:
        return {
            "leakage": [
                {
                    "kind": own.kind,
                    "reason": own.reason,
                    "samples": own.samples,
                    "tests": own.tests,
                    "share": own.share,
                    "score": value.score,
                    "score_without": own.without.score,
                    "verdicts": in_words(own.without, {model.name: model.name for model in results.models}),
                }
                for own in value.findings
            ]
        }

    def context(self, value: Leaks, results: Results) -> Mapping[str, Any]:
        names = labels_of(results)
        return {
            "found": [(own, words_of(own.kind, own.reason), in_words(own.without, names)) for own in value.findings],
            "all_together": value.together and in_words(value.together, names),
            "clean": _clean(value),
            "by_design": [words_of(own.kind, own.reason) for own in value.findings if own.share > 0.5],
            "opened": opened(results.openings),
        }


def _clean(value: Leaks) -> list[str]:
    """Return the modalities and kinds of groups nothing was found in, those that could not be judged aside."""
    dirty = {own.kind for own in value.findings}
    judged = [sight.modality for sight in value.sights if sight.looked == sight.stores]
    return [kind for kind in (*judged, *value.kinds) if kind not in dirty]


def _finding(case: Case, kind: str, reason: str, rows: pd.DataFrame) -> Finding:
    nearest_first = rows.sort_values(["similarity", "sample_id", "repeat"], ascending=[False, True, True])
    shown = nearest_first.drop_duplicates("sample_id").head(EXAMPLES).to_dict("records")
    return Finding(
        kind=kind,
        reason=reason,
        samples=int(rows["sample_id"].nunique()),
        tests=len(rows),
        share=len(rows) / sum(len(part.sample_ids) for part in case.evidence.held_out),
        without=rescore(case, others(case.evidence, rows)),
        examples=tuple(_example(row) for row in shown),
    )


def _example(row: Mapping[Any, Any]) -> Example:
    similarity = None if pd.isna(row["similarity"]) else float(row["similarity"])
    return Example(sample=row["sample_id"], nearest=row["nearest"], similarity=similarity)
