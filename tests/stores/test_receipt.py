"""What a run's receipt says of itself: shares, rate and the verdict, by hand."""

from typing import Any

import pytest

from stores.compaction import compact
from stores.features import FeatureStore
from stores.receipt import RunReceipt
from stores.spec import Receipt


def receipt(samples: int = 100, seconds: float = 12.5, loop: float = 10.0, **stages: float) -> RunReceipt:
    return RunReceipt(samples=samples, seconds=seconds, loop=loop, stages=stages, decode_workers=2)


def test_shares_are_of_the_loop_a_thread_and_the_rate_of_the_whole_run() -> None:
    found = receipt(read=1.0, open=25.0, decode=15.0, embed=9.0, waiting=0.5)
    assert (found.busy_share, found.share("decode"), found.share("write")) == (0.9, 0.75, 0.0)
    assert found.rate == 8.0
    assert found.as_json()["shares"] == {
        "read": None, "open": None, "decode": 0.75, "embed": 0.9, "write": 0.0, "waiting": 0.05,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("took", "verdict"),
    [
        ({"embed": 8.5, "waiting": 1.5}, "embedding bound: the device is the bottleneck, as it should be"),
        (
            {"embed": 4.0, "decode": 19.0, "waiting": 5.5, "waiting_to_write": 0.5},
            "decode bound: raise --decode-workers",
        ),
        ({"embed": 4.0, "read": 19.0, "waiting": 5.5}, "read bound: raise --decode-workers (2)"),
        ({"embed": 4.0, "decode": 2.0, "waiting": 5.0, "waiting_to_write": 4.0}, "write bound: "),
        ({"embed": 2.0, "decode": 2.0, "waiting": 1.0}, "loop bound: "),
        ({"embed": 0.1, "waiting": 0.8, "loop": 0.9, "seconds": 1.0}, "too short to tell"),
        ({"samples": 0, "loop": 0.0, "seconds": 0.3, "read": 0.2}, "nothing to do"),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
def test_the_verdict_names_what_the_device_waits_for(took: dict[str, Any], verdict: str) -> None:
    assert receipt(**took).verdict.startswith(verdict)


def test_receipts_of_several_runs_are_added_up() -> None:
    total = RunReceipt.total([receipt(embed=1.0), receipt(samples=50, embed=2.0, write=3.0)])
    assert (total.samples, total.seconds, total.loop) == (150, 25.0, 20.0)
    assert total.stages == {"embed": 3.0, "write": 3.0}


def test_a_part_costs_its_rows_by_share_and_parts_without_stages_are_left_out(root, vectors, row) -> None:
    store = FeatureStore.create(root, vectors)
    told = Receipt(device="cpu", dtype="float32", seconds=2.0, stages={"embed": 1.0, "write": 0.5}, counts={"cut": 2})
    store.write_part({"a": row(0), "b": row(1)}, told)
    store.write_part({"c": row(2)}, Receipt(device="cpu", dtype="float32", seconds=8.0))
    assert store.cost(["a", "c", None]) == {
        "rows": 1,
        "seconds": 1.0,
        "stages": {"embed": 0.5, "write": 0.25},
        "counts": {"cut": 1.0},
    }
    assert store.cost(["c"]) == {"rows": 0, "seconds": 0, "stages": {}, "counts": {}}


def test_what_rows_cost_outlives_a_compaction(root, vectors, row) -> None:
    store = FeatureStore.create(root, vectors)
    for key, seconds in (("a", 2.0), ("b", 4.0)):
        stages = {"embed": seconds / 2, "write": 0.25}
        store.write_part({key: row(0)}, Receipt(device="cpu", dtype="float32", seconds=seconds, stages=stages))
    store.write_part({"old": row(2)}, Receipt(device="cpu", dtype="float32", seconds=8.0))
    before = store.cost()
    assert before == {"rows": 2, "seconds": 6.0, "stages": {"embed": 3.0, "write": 0.5}, "counts": {}}
    assert compact(store) == (2, 1)
    assert store.cost() == before


def test_a_part_is_told_how_long_its_values_took_to_write(root, vectors, row) -> None:
    store = FeatureStore.create(root, vectors)
    store.write_part({"a": row(0)}, Receipt(device="cpu", dtype="float32", seconds=1.0, stages={"embed": 1.0}))
    [seal] = store.seals()
    assert set(seal.receipt.stages) == {"embed", "write"}
