"""Two models on one test set: what is right on which sample, by seed or once, and where there is no such set."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from reports.evidence import Evidence, HeldOut
from reports.findings.one_test_set import OneTestSet, find_one_test_set

CLASSES = ("joy", "anger")


def _evidence(protocol: str, right: Mapping[str, list[str]]) -> Evidence:
    """Evidence on classes 0, 1, 0, 1 ... in which a model is right where its string has a 1; one string a repeat."""
    n = len(right["a"][0])
    labels = np.arange(n) % 2
    parts = tuple(
        HeldOut(
            repeat=r,
            sample_ids=np.array([f"c/{i if protocol == 'fixed' else r * n + i}" for i in range(n)]),
            labels=labels,
            groups=np.array([f"s{i % 3}" for i in range(n)]),
            trained_on=np.array([5, 5]),
        )
        for r in range(len(right["a"]))
    )
    chosen = {
        name: tuple(np.where(np.array(list(bits)) == "1", labels, 1 - labels) for bits in own)
        for name, own in right.items()
    }
    facts: dict[str, Any] = {"classes": CLASSES, "protocol": {"kind": protocol}}
    posteriors = {name: tuple(np.eye(2)[it] for it in own) for name, own in chosen.items()}
    return Evidence(
        facts=facts, models=(), held_out=parts, posteriors=posteriors, weights={}, runs=pa.table({"run_id": []})
    )


def test_a_fixed_split_has_one_table_a_seed_and_their_median_and_range() -> None:
    found = find_one_test_set(
        _evidence("fixed", {"a": ["111110", "111111", "110000"], "b": ["000011", "111111", "001111"]}), alpha=0.05
    )
    assert found is not None
    result = found.compare("a", "b")
    assert [(t.only_a, t.only_b, t.n) for t in result.tables] == [(4, 1, 6), (0, 0, 6), (2, 4, 6)]
    assert (result.gain.median, result.gain.low, result.gain.high) == pytest.approx((0, -2 / 6, 3 / 6))
    p = [mcnemar([[0, b], [c, 0]], exact=True).pvalue for b, c in ((4, 1), (2, 4))]
    assert (result.p.median, result.p.low, result.p.high) == pytest.approx((sorted([*p, 1.0])[1], min(p), 1.0))
    assert result.tables[0].assumptions[0].outcome == "violated: 6 samples come from 3 groups"


def test_with_one_group_out_every_sample_counts_once() -> None:
    found = find_one_test_set(
        _evidence("leave-one-group-out", {"a": ["1111", "1101"], "b": ["1000", "1011"]}), alpha=0.05
    )
    assert found is not None
    (table,) = found.compare("a", "b").tables
    assert (table.both_right, table.only_a, table.only_b, table.both_wrong, table.n) == (3, 4, 1, 0, 8)
    assert found.compare("a", "b").gain.low == found.compare("a", "b").gain.high == table.difference == 3 / 8


@pytest.mark.parametrize("protocol", ["repeated", "k-fold"])
def test_repeats_that_draw_their_own_test_part_have_no_one_test_set(protocol: str) -> None:
    found: OneTestSet | None = find_one_test_set(_evidence(protocol, {"a": ["11"], "b": ["10"]}), alpha=0.05)
    assert found is None
