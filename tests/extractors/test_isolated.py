"""Calls in a child process: what comes back, what becomes of children that hang, crash or take all memory."""

import ctypes
import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from extractors import _isolated
from extractors._ahead import ahead
from extractors._isolated import isolated
from stores.errors import MediaError


@pytest.fixture(autouse=True)
def no_child_of_others() -> Iterator[None]:
    _isolated._end()
    yield
    _isolated._end()


def reason_of(function: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(MediaError) as caught:
        isolated(function, *args)
    return caught.value.reason


def test_what_comes_back_is_what_the_function_returns() -> None:
    found = isolated(np.arange, 6, 12, 2)
    assert (found.dtype, found.tolist(), found.flags.writeable) == (np.dtype(np.int64), [6, 8, 10], True)
    assert isolated(np.zeros, (2, 0, 3), "float16").shape == (2, 0, 3)
    turned = isolated(np.transpose, np.arange(6, dtype=np.float32).reshape(2, 3))  # not contiguous
    assert turned.tolist() == [[0, 3], [1, 4], [2, 5]]
    sign, grown = isolated(np.linalg.slogdet, np.eye(2) * 2)
    assert (float(sign), round(float(grown), 6)) == (1.0, 1.386294)
    assert isolated(operator.concat, ["a", None], [{"b": 1.5}]) == ["a", None, {"b": 1.5}]


def test_a_child_is_kept_for_the_next_call() -> None:
    assert isolated(os.getpid) == isolated(os.getpid) != os.getpid()


def test_errors_are_raised_here_with_text_and_errno() -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        isolated(os.stat, "/no/such/file")
    assert (caught.value.errno, isinstance(caught.value, MediaError)) == (2, False)
    with pytest.raises(RuntimeError, match="invalid literal for int"):
        isolated(int, "x")
    with pytest.raises(ImportError, match="no_such_package"):
        isolated(__import__, "no_such_package")
    child = isolated(os.getpid)
    with pytest.raises(RuntimeError):
        isolated(int, "y")
    assert isolated(os.getpid) == child  # an error is an answer: the child goes on


@pytest.mark.parametrize("used", [False, True])
def test_a_crash_costs_one_call(used: bool) -> None:
    if used:
        isolated(abs, 1)
    assert reason_of(ctypes.string_at, 0) == "undecodable"
    assert isolated(abs, -1) == 1


def test_a_child_that_the_system_killed_meanwhile_is_replaced() -> None:
    os.kill(isolated(os.getpid), signal.SIGKILL)
    assert isolated(abs, -1) == 1
    assert reason_of(signal.raise_signal, signal.SIGKILL) == "out_of_memory"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_blames_no_sample(ending: signal.Signals) -> None:
    assert isolated(os.kill, isolated(os.getpid), ending) is None


def test_a_call_gets_so_much_memory_and_no_more() -> None:
    assert reason_of(np.ones, 3 * _isolated.MOST_MEMORY // 2, "uint8") == "too_large"
    assert isolated(np.ones, 100 << 20, "uint8").nbytes == 100 << 20


def test_what_computes_or_waits_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors._ahead.LIMIT_S", 0.05)
    child = isolated(os.getpid)
    assert reason_of(time.sleep, 1000) == "timeout"
    assert not psutil.pid_exists(child)
    monkeypatch.setattr("extractors._ahead.LIMIT_S", 0.4)
    child = isolated(os.getpid)
    assert reason_of(sum, range(1 << 40)) == "timeout"  # without ever letting another thread run
    assert not psutil.pid_exists(child)


def test_the_limit_is_that_of_the_run() -> None:
    def sleep(seconds: float) -> Any:
        try:
            return isolated(time.sleep, seconds)
        except MediaError as error:
            return error.reason

    given = ahead(sleep, [0.01, 1000, 0.02], threads=1, depth=3, limit_s=0.1, late=lambda _: "timeout")
    assert list(given) == [(0.01, None), (1000, "timeout"), (0.02, None)]


def test_no_child_outlives_a_killed_parent() -> None:
    program = "import os, time; from extractors._isolated import isolated\nprint(isolated(os.getpid), flush=True)\n"
    program += "isolated(time.sleep, 1000)"
    root = str(Path(_isolated.__file__).parent.parent)
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs([child], timeout=60)
    assert not alive


def test_a_daemonic_process_such_as_a_worker_of_dask_has_children_too() -> None:
    worker = multiprocessing.get_context("spawn").Process(target=isolated, args=(abs, -1), daemon=True)
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0
