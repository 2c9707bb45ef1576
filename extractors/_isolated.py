"""Call decoders that can hang, crash or take all memory in a child process, which can be killed.

`isolated(function, *args)` returns what `function(*args)` returns. The function is one of a module (it travels by its
name), its arguments are plain or frozen data, its result is arrays and what JSON holds (tuples come back as lists).
Its errors are raised here: MediaError and ImportError as they are, OSError as OSError, others as RuntimeError, with
text and `errno`. Besides, MediaError is raised with reason timeout, too_large (it takes more than MOST_MEMORY),
undecodable (it crashed) or out_of_memory (the system killed it).

A thread that calls has a child to itself, which is kept for the next call. It imports `av`, but no torch. It ends when
this process does, however that ends, and after a minute without work.
"""

import atexit
import gc
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from extractors._ahead import PATIENCE, given_up, time_limit, unclocked
from stores.errors import MediaError

MOST_MEMORY = 1 << 30  # bytes, above what a child has before it has decoded anything
_STACKS = 17 * 8 << 20  # which FFmpeg's threads, 16 at most, claim and do not fill
_IDLE_S, _GRACE_S, _FOR_EVER_S = 60.0, 5.0, 1e6
_TOLD = ("reason", "stage", "errno")
_FORM = {"array_shape", "array_dtype"}
_RAISED: dict[str | None, type[Exception]] = {"media": MediaError, "import": ImportError, "os": OSError}
_idle: list["_Child"] = []
os.register_at_fork(after_in_child=_idle.clear)  # two processes cannot talk with one child


class _Spent(MediaError):
    """The child is of no more use: what it decoded before may have filled its memory, or broken it."""


def isolated(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, called in a child process. Raises MediaError as the module says."""
    with suppress(IndexError, _Spent):
        return _idle.pop().call(function, args)
    return _Child().call(function, args)


class _Child:
    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        called = f"import {__name__} as ours; ours.serve()", str(theirs.fileno()), str(os.getpid())
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}  # no module of the folder we are in
        with theirs, unclocked():
            self._process = subprocess.Popen(  # noqa: S603  (this very module)
                [sys.executable, "-W", "ignore", "-c", *called],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
            theirs.close()
            try:
                self._pipe.recv_bytes()
            except EOFError:
                raise RuntimeError(f"no process to decode in: it ended at once with {self._ended()}") from None

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        limit_s, answer = time_limit(), None
        try:
            self._pipe.send((function, args, limit_s))
            if self._pipe.poll(min(PATIENCE * limit_s, _FOR_EVER_S)):
                answer = json.loads(self._pipe.recv_bytes(), object_hook=self._array)
        except (EOFError, ConnectionError):
            code = self._ended()
            if code == -signal.SIGXCPU:
                raise given_up(limit_s) from None
            told = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            reason = "out_of_memory" if code == -signal.SIGKILL else "undecodable"
            raise _Spent(f"its decoder ended with {told}", reason=reason) from None
        if answer is None:
            self.kill()
            raise given_up(limit_s)
        if answer.get("spent"):
            self.kill()
            raise _Spent(answer["text"], reason="too_large")
        _idle.append(self)
        if "text" in answer:
            raise _error(**answer)
        return answer["value"]

    def kill(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.wait()

    def _ended(self) -> int:
        """Return the exit code of a child that has closed its pipe, or minus the signal that ended it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self.kill()
        return int(self._process.returncode)

    def _array(self, found: dict[str, Any]) -> Any:
        """Return an array whose form was told and whose bytes come now; all else as it is."""
        if found.keys() != _FORM:
            return found
        array = np.empty(found["array_shape"], found["array_dtype"])
        self._pipe.recv_bytes_into(_bytes(array))
        return array


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().kill()


def serve() -> None:
    """Answer calls until the other end is closed, the parent has died, or nothing came for a while."""
    import av  # noqa: F401  (what is imported before is neither timed nor counted)

    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    for ending in (signal.SIGINT, signal.SIGTERM):  # what reaches all of a group: the parent ends its children
        signal.signal(ending, signal.SIG_IGN)
    Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    _limit(resource.RLIMIT_CORE, 0)
    if held := _held():
        _limit(resource.RLIMIT_DATA, held + MOST_MEMORY + _STACKS)
    gc.freeze()
    pipe.send_bytes(b"ready")
    with suppress(EOFError, ConnectionError):
        while pipe.poll(_IDLE_S):
            _limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)
            function, args, limit_s = pipe.recv()
            if limit_s < _FOR_EVER_S:
                _limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + limit_s))
            for message in _answer(function, args):
                pipe.send_bytes(message)
            gc.collect()  # what FFmpeg opened goes in cycles, with the stacks of its threads
            gc.freeze()  # what stays is not looked at again


def _answer(function: Callable[..., Any], args: tuple[Any, ...]) -> list[Any]:
    """Return the messages of an answer: JSON, then the bytes of each array in it."""
    arrays: list[Any] = []

    def form(array: Any) -> dict[str, Any]:
        arrays.append(_bytes(np.ascontiguousarray(array)))
        return {"array_shape": np.shape(array), "array_dtype": array.dtype.str}

    try:
        told = json.dumps({"value": function(*args)}, default=form)
    except MemoryError:  # FFmpeg's own is one too: hostile files claim what nobody has
        told = json.dumps({"spent": True, "text": f"takes more than {MOST_MEMORY >> 20} MB to decode"})
        arrays.clear()
    except Exception as error:
        kind = next((kind for kind, known in _RAISED.items() if isinstance(error, known)), None)
        told = json.dumps({"text": str(error), "kind": kind, **{name: getattr(error, name, None) for name in _TOLD}})
    return [told.encode(), *arrays]


def _error(text: str, kind: str | None, reason: str, stage: str, errno: int | None) -> Exception:
    if kind == "media":
        return MediaError(text, reason=reason, stage=stage)
    error = _RAISED.get(kind, RuntimeError)(text)
    if isinstance(error, OSError):
        error.errno = errno
    return error


def _bytes(array: np.ndarray) -> np.ndarray:
    """Return the bytes of a contiguous array, itself of any shape."""
    return array.reshape(-1).view(np.uint8)


def _held() -> int:
    """Return the bytes of data this process has, or 0 where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    return 0


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
