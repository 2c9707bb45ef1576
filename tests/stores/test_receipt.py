"""What a run's receipt says of itself: shares, rate and the verdict, by hand."""

from typing import Any

import pytest

from stores.receipt import RunReceipt


def receipt(samples: int = 100, seconds: float = 12.5, loop: float = 10.0, **stages: float) -> RunReceipt:
    return RunReceipt(samples=samples, seconds=seconds, loop=loop, stages=stages, decode_workers=2)


def test_shares_are_of_the_loop_and_the_rate_of_the_whole_run() -> None:
    found = receipt(read=1.0, decode=15.0, embed=9.0, waiting=0.5)
    assert (found.busy_share, found.share("decode"), found.share("write")) == (0.9, 1.5, 0.0)
    assert found.rate == 8.0
    assert found.as_json()["shares"] == {
        "read": 0.1, "open": 0.0, "decode": 1.5, "embed": 0.9, "write": 0.0, "waiting": 0.05,
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
