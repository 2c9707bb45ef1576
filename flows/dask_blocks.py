"""Blocks of work on a Dask cluster: one task a block, one model a worker process, a bounded number at a time.

Only descriptions and samples travel to a worker, never a model and never an array.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from dask.distributed import Client, Future, LocalCluster, wait
from distributed.core import Status
from distributed.scheduler import KilledWorker

from extractors._part import Outcome
from extractors.extractor import usable_cores
from extractors.run import Block, MapBlocks
from stores.errors import ConfigError
from stores.progress import Progress

RETRIES = 2  # of a block that failed; one that lost its worker is given to another by Dask itself
GPU = "GPU"  # the resource that `dask worker --resources "GPU=1"` advertises
_ENVIRONMENT = "distributed.nanny.pre-spawn-environ"
_AHEAD = 2  # blocks a process has or will get next
_PATIENCE_S = 30.0

Submit = Callable[[Callable[[Block], Outcome], Block], tuple[Future, Callable[[], Outcome]]]


@contextmanager
def connected(dask: str | None, workers: int | None) -> Iterator[Client]:
    """Yield a client of the scheduler at that address, once it has a worker, or of as many worker processes here.

    Raises ConfigError if there is no scheduler, or no worker comes within a minute.
    """
    if dask is None:
        with cluster_here(workers or 1) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(dask)
    except (ValueError, OSError) as error:
        raise ConfigError(f"--dask {dask!r}: {error}: give the address of a scheduler that runs") from None
    with client:
        wait_for_worker(client)
        yield client


@contextmanager
def cluster_here(workers: int) -> Iterator[LocalCluster]:
    """Yield a cluster of that many processes, which share the cores among them."""
    import dask

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it tells of every connection that is closed
    threads = max(1, usable_cores() // workers)
    environment = {f"{library}_NUM_THREADS": threads for library in ("OMP", "MKL", "OPENBLAS")}
    quiet: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with dask.config.set({_ENVIRONMENT: {**dask.config.get(_ENVIRONMENT), **environment}}):
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, **quiet)
    try:
        yield cluster
    finally:
        for _ in range(2):  # Dask stumbles over a worker it is just starting again: the outcome of the work stands
            with suppress(AssertionError, OSError):
                cluster.close()
                break
            cluster.status = Status.running  # else the second call waits forever for the first


def wait_for_worker(client: Client) -> None:
    """Return once there is a worker. Raises ConfigError if none comes within a minute."""
    try:
        client.wait_for_workers(1, timeout=60.0)
    except TimeoutError:
        address = client.scheduler.address  # one thread: a second would wait, as one block is embedded at a time
        raise ConfigError(f"no worker at the scheduler: start one, `dask worker {address} --nthreads 1`") from None


@contextmanager
def block_mapper(dask: str | None, workers: int | None, report: Progress) -> Iterator[MapBlocks]:
    """Yield how blocks are mapped over the workers of a scheduler, or else over processes of this machine."""
    with connected(dask, workers) as client:

        def submit(function: Callable[[Block], Outcome], block: Block) -> tuple[Future, Callable[[], Outcome]]:
            resources = {GPU: 1} if places(client)[1] else None
            future = client.submit(function, block, pure=False, retries=RETRIES, resources=resources)
            return future, future.result

        yield spread(client, submit, report)


def spread(client: Client, submit: Submit, report: Progress) -> MapBlocks:
    """Return a MapBlocks that keeps every worker of the client busy with what `submit` sends there."""

    def mapped(function: Callable[[Block], Outcome], blocks: Sequence[Block]) -> Iterator[Outcome]:
        waiting = iter(blocks)
        flying: dict[Future, Callable[[], Outcome]] = {}
        while True:
            free = max(1, _AHEAD * places(client)[0]) - len(flying)
            flying.update(submit(function, block) for block in islice(waiting, max(0, free)))
            if not flying:
                return
            for future in _done(client, list(flying), report):
                yield _outcome(flying.pop(future))

    return mapped


def places(client: Client) -> tuple[int, bool]:
    """Return how many blocks run at once, and whether each needs a GPU: so it is once any worker advertises one."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    gpus = sum(int(worker["resources"].get(GPU, 0)) for worker in workers)
    return (gpus, True) if gpus else (sum(worker["nthreads"] for worker in workers), False)


def _done(client: Client, flying: Sequence[Future], report: Progress) -> Sequence[Future]:
    told = False
    while True:
        try:
            with client.as_current():
                return list(wait(flying, timeout=_PATIENCE_S, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            if not told and not places(client)[0]:
                told = True
                report.note(f"no worker is left at {client.scheduler.address}: waiting for one")


def _outcome(result: Callable[[], Outcome]) -> Outcome:
    try:
        return result()
    except KilledWorker as error:
        raise ConnectionError(
            f"a block of samples lost its worker too often, the last at {error.last_worker.address}: it may need more "
            "memory than a worker has. What was sealed is kept; the same command goes on from there"
        ) from None
