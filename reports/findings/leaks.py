"""Which test samples training has seen, in whole or nearly, and whether verdicts can rest on the others.

Identical text alone does not count, nor groups that say what is said, unless the study splits by them: short utterances
recur and acted corpora are read from lists of sentences. All other kinds of groups do: they say who or which recording.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from reports.evidence import Evidence
from reports.findings.near_duplicates import EQUAL, GROUP, IDENTICAL, NEAR, SEEN, SEEN_GROUP, UNSURE

FEWEST_SAMPLES = 30  # test samples, each counted once, below which a score says nothing
NOTABLE = 0.01  # of all tests; above it readers are warned and verdicts rest on the others
MOST = 0.5  # of all tests; above it what is left is not what the study was planned on


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What training has seen is `share` of all tests: `parts` of them in each way, none if that is not notable.

    Some is shared `by_design`, and in no `share`. `refused` says why there is no verdict on the others.
    """

    share: float
    parts: tuple[tuple[str, float], ...]
    by_design: tuple[tuple[str, float], ...]
    refused: str


def judged_on(evidence: Evidence, radar: pa.Table | None) -> tuple[Evidence, Seen | None]:
    """Return the evidence that verdicts rest on, and what was seen; None if nobody has looked.

    That is all, if little was surely seen, or the others, without those it is unsure of; if these are too few, all, on
    which no two models are compared.
    """
    if radar is None:
        return evidence, None
    rows, told = on_tests(radar.to_pandas(), evidence), json.loads(radar.schema.metadata[b"affuse"])
    harmless = set(told.get("said", ())) - set(evidence.facts.get("groups") or ())
    groups = rows["reason"].isin((GROUP, SEEN_GROUP))
    counts = np.where(groups, ~rows["kind"].isin(harmless), rows["kind"] != "text").astype(bool)
    sure, keep = rows["reason"] != UNSURE, others(evidence, rows[counts])
    seen, share = (1 - float(np.concatenate(part).mean()) for part in (others(evidence, rows[counts & sure]), keep))
    tests = sum(map(len, keep))
    by_design = _parts(rows[~counts & sure], tests)
    if seen <= NOTABLE:
        return evidence, Seen(share=seen, parts=(), by_design=by_design, refused="")
    why, refused = "" if share > MOST else too_little(evidence, keep), ""
    if why or share > MOST:
        refused = f"training has seen {100 * share:.1f} % of the test samples{why and f', and without them {why}'}"
    found = Seen(share=share, parts=_parts(rows[counts], tests), by_design=by_design, refused=refused)
    return replace(evidence, refused=refused) if refused else evidence.only(keep, evidence.posteriors), found


def _parts(rows: pd.DataFrame, tests: int) -> tuple[tuple[str, float], ...]:
    """Return the share of all tests of each finding, in words, the largest first."""
    found = [(words_of(*map(str, what)), len(own) / tests) for what, own in rows.groupby(["kind", "reason"])]
    return tuple(sorted(found, key=lambda one: -one[1]))


def too_little(evidence: Evidence, keep: Sequence[np.ndarray]) -> str:
    """Return why nothing can be told on the test samples in `keep`, (n,) bool a repeat; "" if something can."""
    parts, left = evidence.held_out, evidence.only(keep, ()).held_out
    names = {name for part in left for name in part.sample_ids.tolist()}
    there, kept = ({int(k) for part in own for k in np.unique(part.labels)} for own in (parts, left))
    if len(names) < FEWEST_SAMPLES:
        return f"only {len(names)} test samples are left, of {FEWEST_SAMPLES} asked for"
    if empty := sum(not len(part.labels) for part in left):
        return f"no test sample is left in {empty} of {len(parts)} repeats"
    gone = [evidence.classes[k] for k in sorted(there - kept)]
    return f"no test sample of {', '.join(gone)} is left" if gone else ""


def words_of(kind: str, reason: str) -> str:
    """Return what a finding is, in words; `kind` is a modality or a kind of group."""
    item = "text" if kind == "text" else f"{kind} recording"
    return {
        IDENTICAL: f"the same {item}, {'word for word' if kind == 'text' else 'byte for byte'}",
        SEEN: f"the same {item} as in the training of its encoder",
        EQUAL: f"another {item} with the same row of features",
        NEAR: f"a row of features that is possibly near that of another {item}",
        UNSURE: f"a row of features that is possibly near that of another {item}, or lies where rows are dense",
        GROUP: f"a {kind} that training has too",
        SEEN_GROUP: f"a {kind} that the training of an encoder has too",
    }[reason]


def on_tests(rows: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """Return the rows of a radar on the test samples of a report, with `part` and `position` among its test parts."""
    found = []
    for number, part in enumerate(evidence.held_out):
        own = rows[rows["repeat"] == part.repeat]
        position = pd.Index(part.sample_ids).get_indexer(pd.Index(own["sample_id"].astype(str)))
        found.append(own.assign(part=number, position=position)[position >= 0])
    return pd.concat(found)


def others(evidence: Evidence, rows: pd.DataFrame) -> list[np.ndarray]:
    """Return (n,) bool a repeat: the test samples that are not in `rows`."""
    keep = [np.ones(len(part.sample_ids), dtype=bool) for part in evidence.held_out]
    for number, own in rows.groupby("part"):
        keep[int(str(number))][own["position"].to_numpy()] = False
    return keep
