"""Progress on stderr: a bar with rate and ETA on a terminal, one line per piece of work elsewhere."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from stores.progress import Progress, Silent

_WIDTH = None if sys.stderr.isatty() or "COLUMNS" in os.environ else 120  # a log has no width of its own
console = Console(stderr=True, soft_wrap=True, width=_WIDTH)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        rate = f"{speed:,.0f} {task.fields['unit']}/s" if speed and speed >= 1 else ""
        left = task.time_remaining
        eta = f"{int(left) // 60}:{int(left) % 60:02d} left" if left and not task.finished else ""
        return Text(f"{rate}  {eta}", style="dim")


class Bars:
    """A Progress drawn with rich."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def start(self, name: str, total: int, unit: str) -> None:
        self._tasks[name] = self._bars.add_task(name, total=total, unit=unit)

    def advance(self, name: str, n: int = 1) -> None:
        self._bars.advance(self._tasks[name], n)

    def finish(self, name: str) -> None:
        task = self._tasks.pop(name)
        done = next(t.completed for t in self._bars.tasks if t.id == task)  # a training may stop early
        self._bars.update(task, total=done)
        self._bars.stop_task(task)

    def note(self, message: str) -> None:
        console.print(message, highlight=False, markup=False)


class Lines:
    """A Progress for logs: one line when a piece of work ends."""

    def __init__(self) -> None:
        self._work: dict[str, tuple[float, int, str]] = {}

    def start(self, name: str, total: int, unit: str) -> None:
        self._work[name] = (monotonic(), total, unit)

    def advance(self, name: str, n: int = 1) -> None:
        pass

    def finish(self, name: str) -> None:
        started, total, unit = self._work.pop(name)
        seconds = max(monotonic() - started, 1e-9)
        console.print(f"{name}: {total:,} {unit} in {seconds:.1f} s ({total / seconds:,.0f}/s)", highlight=False)

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
