"""Decoding ahead: order, bounds, and what happens to a decoder that hangs."""

import subprocess
import sys
import time
from collections.abc import Iterator
from threading import Event, Lock, active_count
from typing import Any

import numpy as np
import pytest

from extractors._ahead import ahead

FOR_EVER = 1e6  # s


@pytest.fixture
def hang() -> Iterator[Event]:
    """What a hanging decoder waits for; it is let go after the test."""
    event = Event()
    yield event
    event.set()


def run(function: Any, items: Any, *, threads: int = 2, depth: int = 4, limit_s: float = FOR_EVER) -> Any:
    return ahead(function, items, threads=threads, depth=depth, limit_s=limit_s, late=lambda item: f"late {item}")


def test_results_come_in_order_whatever_takes_longer() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0.0)
        return item * item

    assert list(run(slow_first, range(20))) == [(i, i * i) for i in range(20)]
    assert list(run(slow_first, [])) == []
    assert list(run(slow_first, [3], depth=1, threads=1)) == [(3, 9)]


def test_no_more_than_the_depth_is_taken_from_the_source() -> None:
    taken = []

    def source() -> Iterator[int]:
        for i in range(50):
            taken.append(i)
            yield i

    for done, (item, _) in enumerate(run(lambda item: item, source(), depth=5)):
        assert item == done
        assert len(taken) <= done + 5


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_than_so_many_bytes_are_decoded_and_waiting(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr("extractors._ahead.MOST_BYTES", 200)
    decoded: list[int] = []

    def array(item: int) -> np.ndarray:
        decoded.append(item)
        return np.zeros(100, np.uint8)

    for taken, (item, result) in enumerate(run(array, range(30), threads=threads, depth=20), start=1):
        assert (item, result.nbytes) == (taken - 1, 100)
        time.sleep(0.002)  # long enough to run ahead if nothing held them back
        assert len(decoded) <= taken + 2 + threads
    assert decoded != []


def test_items_are_worked_on_side_by_side() -> None:
    lock, meeting, inside = Lock(), Event(), []

    def meets(item: int) -> bool:
        with lock:
            inside.append(item)
            if len(inside) == 2:
                meeting.set()
        return meeting.wait(30)

    assert [found for _, found in run(meets, range(2))] == [True, True]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_item_that_hangs_is_given_up_and_nothing_else_is_lost(hang: Event, threads: int) -> None:
    def stuck(item: int) -> int:
        if item in (0, 3, 4, 7):
            hang.wait()
        return item

    found = dict(run(stuck, range(8), threads=threads, limit_s=0.06))
    assert found == {0: "late 0", 1: 1, 2: 2, 3: "late 3", 4: "late 4", 5: 5, 6: 6, 7: "late 7"}


def test_what_an_abandoned_thread_brings_late_is_thrown_away() -> None:
    let_go = Event()

    def stuck(item: int) -> str:
        if item == 0:
            let_go.wait()
        return f"result {item}"

    found = []
    for pair in run(stuck, range(4), threads=1, depth=1, limit_s=0.06):
        found.append(pair)
        let_go.set()
    assert found == [(0, "late 0"), (1, "result 1"), (2, "result 2"), (3, "result 3")]


def test_an_item_waits_its_turn_without_its_time_running() -> None:
    def slow(item: int) -> int:
        time.sleep(0.3)
        return item

    assert [result for _, result in run(slow, range(6), threads=1, depth=6, limit_s=1.5)] == list(range(6))


def test_an_error_is_raised_at_its_place_and_the_threads_end() -> None:
    def failing(item: int) -> int:
        if item == 2:
            raise MemoryError("the machine")
        return item

    before, items = active_count(), run(failing, range(9))
    assert [next(items), next(items)] == [(0, 0), (1, 1)]
    with pytest.raises(MemoryError, match="the machine"):
        next(items)
    assert active_count() <= before


def test_threads_end_when_nobody_asks_for_more() -> None:
    before = active_count()
    items = run(lambda item: item, range(100))
    next(items)
    items.close()
    assert active_count() <= before


def test_a_process_ends_although_a_decoder_hangs() -> None:
    program = """
import threading
from extractors._ahead import ahead
stuck = lambda item: threading.Event().wait() if item == 1 else item
for pair in ahead(stuck, range(3), threads=2, depth=3, limit_s=0.06, late=lambda item: "late"):
    print(*pair)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split("\n") == ["0 0", "1 late", "2 2", ""]
