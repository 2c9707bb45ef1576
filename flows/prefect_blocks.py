"""Blocks of work as Prefect tasks on a Dask cluster: the same blocks as without Prefect, seen in its UI one by one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import dask
from dask.distributed import Future
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect_dask.task_runners import DaskTaskRunner

from extractors._part import Outcome
from extractors.run import Block, MapBlocks
from flows.dask_blocks import GPU, RETRIES, cluster_here, places, spread, wait_for_worker
from flows.jobs import Options
from stores.progress import Progress


@task(name="extract-block", cache_policy=NO_CACHE, persist_result=False, retries=RETRIES, retry_delay_seconds=5)
def extract_block_task(work: Callable[[], Outcome]) -> Outcome:
    """Extract and seal one block on a worker."""
    return work()


@contextmanager
def prefect_mapper(options: Options, report: Progress) -> Iterator[MapBlocks]:
    """Yield how blocks are mapped inside a flow: as in `block_mapper`, but each block is a task of the flow's run."""
    here = cluster_here(options.workers or 1) if options.dask is None else nullcontext()
    with here as cluster, DaskTaskRunner(cluster=cluster, address=options.dask) as runner:
        wait_for_worker(runner.client)

        def submit(function: Callable[[Block], Outcome], block: Block) -> tuple[Future, Callable[[], Outcome]]:
            with dask.annotate(resources={GPU: 1}) if places(runner.client)[1] else nullcontext():
                future = runner.submit(extract_block_task, {"work": partial(function, block)})  # looked into by nobody
            return future.wrapped_future, future.result

        yield spread(runner.client, submit, report)
