"""Progress for logs: what a person who follows a log reads of long work, and of none."""

import logging
import os
from collections.abc import Iterator
from typing import IO

import pytest
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

import flows.progress
from flows.progress import Lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that `flows.progress` reads, as a list of one."""
    now = [0.0]
    monkeypatch.setattr(flows.progress, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines that are printed."""
    lines: list[str] = []
    monkeypatch.setattr(flows.progress.console, "print", lambda line, **_: lines.append(line))
    return lines


def test_long_work_says_every_half_minute_how_far_it_is_how_fast_and_how_long_still(
    clock: list[float], said: list[str]
) -> None:
    lines = Lines()
    lines.start("search", 1000, "trials")
    for second in range(1, 66):
        clock[0] = second
        lines.advance("search", 4)
    lines.finish("search")
    assert said == [
        "search: 120 of 1,000 trials, 4/s, 3:40 left",
        "search: 240 of 1,000 trials, 4/s, 3:10 left",
        "search: 260 trials in 65.0 s (4/s)",
    ]


def test_work_of_nothing_says_nothing(clock: list[float], said: list[str]) -> None:
    lines = Lines()
    lines.start("fusion heads", 0, "runs")
    lines.advance("fusion heads", 0)
    lines.finish("fusion heads")
    assert said == []


def test_slow_work_has_a_rate_too(clock: list[float], said: list[str]) -> None:
    lines = Lines()
    lines.start("robustness", 6, "runs")
    lines.advance("robustness", 6)
    clock[0] = 20.0
    lines.finish("robustness")
    assert said == ["robustness: 6 runs in 20.0 s (0.3/s)"]


@pytest.fixture
def unread() -> Iterator[IO[str]]:
    """Return a file whose reader is gone, as the log of a worker that was killed."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as file:
        yield file


def test_work_goes_on_when_nobody_reads_of_it_any_more(unread: IO[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.progress, "console", Console(file=unread))
    lines, done = Lines(), 0
    for name in ("extract", "train"):
        lines.start(name, 2, "samples")
        lines.advance(name, 2)
        lines.finish(name)
        done += 1
    print("said", file=unread, flush=True)
    assert done == 2


def test_work_goes_on_when_nobody_reads_prefects_log_any_more(unread: IO[str]) -> None:
    handler = PrefectConsoleHandler(stream=unread)
    for message in ("Beginning flow run", "Finished"):
        handler.emit(logging.LogRecord("flow", logging.INFO, __file__, 1, message, None, None))
