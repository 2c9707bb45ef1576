"""Blocks of work on a Dask cluster: one task a block, one model a worker process."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from extractors.run import MapBlocks
from stores.errors import ConfigError


@contextmanager
def block_mapper(address: str | None) -> Iterator[MapBlocks | None]:
    """Yield how blocks are mapped: in this process, on a scheduler (`tcp://...`), or on `local:N` worker processes.

    Only descriptions and samples travel to a worker, never a model and never an array.
    """
    if address is None:
        yield None
        return
    from dask.distributed import Client, LocalCluster, as_completed

    def mapped(function: Callable[..., Any], blocks: Iterable[Any]) -> Iterator[Any]:
        futures = [client.submit(function, block, pure=False, retries=1) for block in blocks]
        for future in as_completed(futures):
            yield future.result()

    if address.startswith("local:"):
        number = address.removeprefix("local:")
        if not number.isdigit() or number == "0":
            raise ConfigError(f"--dask should be an address such as tcp://host:8786, or local:N, got {address!r}")
        local = LocalCluster(n_workers=int(number), threads_per_worker=1, dashboard_address=None)
        with local as cluster, Client(cluster) as client:
            yield mapped
    else:
        try:
            connected = Client(address)
        except (ValueError, OSError) as error:
            raise ConfigError(f"--dask {address!r}: {error}: give the address of a scheduler that runs") from None
        with connected as client:
            yield mapped
