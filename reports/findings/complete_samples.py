"""A study that masks absent modalities, on the test samples that lack none: who lacks what can differ by emotion."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from reports.case import Case
from reports.errors import StatisticsError
from reports.evidence import Evidence
from reports.measures import measure


def on_complete_samples(case: Case, models: Collection[str]) -> tuple[Case, int | None]:
    """Return the case with `models` measured on test samples that lack no modality of the reference, and their number.

    Comparisons stay those of all samples. The case itself and None where no sample lacks any. Raises StatisticsError
    if the study does not say who lacks what, or a repeat has no such sample.
    """
    if case.evidence.facts.get("missing") != "mask":
        return case, None
    samples, needed = case.store.samples(), set(case.reference.modalities)
    if "lacks" not in samples.column_names:
        raise StatisticsError("expected samples with what they lack, got an older study: run `affuse study` again")
    rows = samples.select(["sample_id", "lacks"]).to_pylist()
    lacking = {row["sample_id"] for row in rows if row["lacks"] and needed & set(row["lacks"].split("+"))}
    parts = case.evidence.held_out
    keep = [np.array([name not in lacking for name in part.sample_ids.tolist()], dtype=bool) for part in parts]
    if empty := [part.repeat for part, own in zip(parts, keep, strict=True) if not own.any()]:
        raise StatisticsError(f"expected test samples that have every modality in each repeat, got none in {empty}")
    evidence, before = _kept(case.evidence, keep, models), case.measures
    measures = measure(evidence, alpha=before.design.alpha, draws=before.draws, seed=case.config.seed)
    left = {name for part in evidence.held_out for name in part.sample_ids.tolist()}
    return replace(case, evidence=evidence, measures=measures, _found={}), len(left)


def _kept(evidence: Evidence, keep: list[np.ndarray], models: Collection[str]) -> Evidence:
    return replace(
        evidence,
        held_out=tuple(
            replace(part, sample_ids=part.sample_ids[own], labels=part.labels[own], groups=part.groups[own])
            for part, own in zip(evidence.held_out, keep, strict=True)
        ),
        posteriors={
            name: tuple(rows[own] for rows, own in zip(evidence.posteriors[name], keep, strict=True))
            for name in sorted(models)
        },
        weights={
            name: tuple(rows[own] for rows, own in zip(weights, keep, strict=True))
            for name, weights in evidence.weights.items()
        },
    )
