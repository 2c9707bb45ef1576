"""Progress on stderr: a bar with rate and ETA on a terminal, one line per piece of work elsewhere."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from stores.progress import Progress, Silent

EVERY = 30.0  # seconds between two lines of work that goes on, where there is no terminal


def _width(stream: TextIO) -> int | None:
    """Return None where there is a terminal; a log has no width of its own."""
    return None if stream.isatty() or "COLUMNS" in os.environ else 120


def _say_no_more(broken: Console) -> None:
    """Who read this is gone, and the work goes on."""
    broken.quiet = True
    os.dup2(os.open(os.devnull, os.O_WRONLY), broken.file.fileno())


Console.on_broken_pipe = _say_no_more  # type: ignore[assignment, method-assign]  # rich exits, Prefect's own logging with it
console = Console(stderr=True, soft_wrap=True, width=_width(sys.stderr))
listing = Console(soft_wrap=True, width=_width(sys.stdout))  # what was asked for; on stderr if stdout holds JSON


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _rate(n: int, seconds: float) -> str:
    rate = n / max(seconds, 1e-9)
    return f"{rate:,.0f}/s" if rate >= 10 or not n else f"{rate:.2g}/s"


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        rate = f"{speed:,.0f} {task.fields['unit']}/s" if speed and speed >= 1 else ""
        left = task.time_remaining
        eta = f"{_clock(left)} left" if left and not task.finished else ""
        return Text(f"{rate}  {eta}", style="dim")


class Bars:
    """A Progress drawn with rich; work of nothing is not drawn."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def start(self, name: str, total: int, unit: str) -> None:
        if total:
            self._tasks[name] = self._bars.add_task(name, total=total, unit=unit)

    def advance(self, name: str, n: int = 1) -> None:
        if name in self._tasks:
            self._bars.advance(self._tasks[name], n)

    def finish(self, name: str) -> None:
        if (task := self._tasks.pop(name, None)) is None:
            return
        done = next(t.completed for t in self._bars.tasks if t.id == task)  # a training may stop early
        self._bars.update(task, total=done)
        self._bars.stop_task(task)

    def note(self, message: str) -> None:
        console.print(message, highlight=False, markup=False)


@dataclass
class _Work:
    """One piece of work that is under way; times in seconds, `told` is when a line on it was last printed."""

    total: int
    unit: str
    started: float
    told: float
    done: int = 0


class Lines:
    """A Progress for logs: a line about every `EVERY` seconds and one when a piece of work ends; none on nothing."""

    def __init__(self) -> None:
        self._work: dict[str, _Work] = {}

    def start(self, name: str, total: int, unit: str) -> None:
        if total:
            at = monotonic()
            self._work[name] = _Work(total=total, unit=unit, started=at, told=at)

    def advance(self, name: str, n: int = 1) -> None:
        if (work := self._work.get(name)) is None:
            return
        work.done += n
        at = monotonic()
        if at - work.told >= EVERY and 0 < work.done < work.total:
            work.told, seconds = at, at - work.started
            left = seconds * (work.total - work.done) / work.done
            count = f"{work.done:,} of {work.total:,} {work.unit}"
            self.note(f"{name}: {count}, {_rate(work.done, seconds)}, {_clock(left)} left")

    def finish(self, name: str) -> None:
        if (work := self._work.pop(name, None)) is not None:
            seconds = max(monotonic() - work.started, 1e-9)
            self.note(f"{name}: {work.done:,} {work.unit} in {seconds:.1f} s ({_rate(work.done, seconds)})")

    def note(self, message: str) -> None:
        console.print(message, highlight=False, markup=False)


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a Progress fit for where stderr goes."""
    if quiet:
        yield Silent()
    elif console.is_terminal:
        columns = (
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
        )
        with RichProgress(*columns, _Rate(), console=console) as bars:
            yield Bars(bars)
    else:
        yield Lines()
