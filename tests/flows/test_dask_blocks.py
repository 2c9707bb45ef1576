"""A real scheduler with real workers on loopback; one of them is killed in mid-run."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest
import soundfile
from dask.distributed import Client
from distributed.core import Status
from distributed.process import AsyncProcess

from extractors import run as loop
from extractors.extractor import Inputs, Runtime, decode_threads
from extractors.run import extract
from extractors.speech.acoustic import Acoustic, AcousticConfig
from flows.dask_blocks import block_mapper, cluster_here, connected, places
from flows.jobs import Options, extract_job
from stores.errors import ConfigError
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

CHECKOUT = Path(__file__).resolve().parents[2]
RUNTIME = Runtime(device="cpu", block_size=4)
pytestmark = pytest.mark.slow


@dataclass
class Cluster:
    """A scheduler at `address` and its worker processes, without nannies: what is killed stays dead."""

    address: str
    environment: dict[str, str]
    workers: list["subprocess.Popen[bytes]"]

    def start_worker(self, *arguments: str) -> None:
        self.workers.append(
            _dask(self.environment, "worker", self.address, "--nthreads", "1", "--no-nanny", *arguments)
        )


def _dask(environment: dict[str, str], *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
    return subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("dask")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DASK_TEMPORARY_DIRECTORY": str(folder)}
    told = folder / "scheduler.json"
    arguments = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(told))
    scheduler = _dask(environment, "scheduler", *arguments)
    running = Cluster("", environment, [])
    try:
        with Client(scheduler_file=str(told), timeout=60) as client:
            running.address = client.scheduler.address
        yield running
    finally:
        for process in (*running.workers, scheduler):
            process.kill()
            process.wait(timeout=30)


@pytest.fixture
def two_workers(cluster: Cluster) -> Cluster:
    """The cluster with (at least) two workers that live."""
    cluster.workers = [worker for worker in cluster.workers if worker.poll() is None]
    while len(cluster.workers) < 2:
        cluster.start_worker()
    with Client(cluster.address) as client:
        client.wait_for_workers(2, timeout=60)
    return cluster


@pytest.fixture
def clips(tmp_path: Path) -> list[Sample]:
    """Forty recordings, one of them damaged, two of them the same."""
    found = []
    for i in range(40):
        number = max(i, 1)
        time = np.arange(8000 + 160 * number) / 16000
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 10 * number) * time), 16000)
        found.append(Sample(id=f"c/{i}", corpus="c", audio=path))
    (tmp_path / "7.wav").write_bytes(b"no sound")
    return found


def acoustic(folder: Path) -> Acoustic:
    return Acoustic(AcousticConfig(), Inputs(root=Root(folder)))


def rows(extractor: Acoustic) -> dict[str, str]:
    """Return key -> row digest of all that is stored."""
    index = FeatureStore(extractor.inputs.root, extractor.identity).index()
    return {key: place.digest for key, place in index.items()}


def test_a_worker_killed_in_mid_run_changes_nothing(two_workers: Cluster, clips: list[Sample], tmp_path: Path) -> None:
    here, there = acoustic(tmp_path / "here"), acoustic(tmp_path / "there")
    expected = extract(here, clips, here.inputs.root, RUNTIME, report=Silent())
    victim = two_workers.workers[0]
    with block_mapper(two_workers.address, None, Silent()) as map_blocks:

        def killing(function: Callable[..., Any], blocks: Any) -> Iterator[Any]:
            for done, outcome in enumerate(map_blocks(function, blocks)):
                if done == 1:  # of ten blocks: the others wait or are at work on both workers
                    os.kill(victim.pid, signal.SIGKILL)
                yield outcome

        books = extract(there, clips, there.inputs.root, RUNTIME, report=Silent(), map_blocks=killing)
    assert victim.wait(timeout=30) == -signal.SIGKILL
    assert books.as_dict() == expected.as_dict()
    assert (books.extracted, books.quarantined, books.distinct) == (39, 1, 38)
    assert rows(there) == rows(here)
    assert books.receipt is not None
    assert books.receipt.samples == 40
    assert books.receipt.stages["decode"] > 0


def test_a_model_is_opened_once_a_worker(two_workers: Cluster, clips: list[Sample], tmp_path: Path) -> None:
    extractor = acoustic(tmp_path / "runs")
    with Client(two_workers.address) as client:
        before = client.run(loop._opened.cache_info)
        with block_mapper(two_workers.address, None, Silent()) as map_blocks:
            extract(extractor, clips, extractor.inputs.root, RUNTIME, report=Silent(), map_blocks=map_blocks)
        after = client.run(loop._opened.cache_info)
    opened = {worker: info.misses - before[worker].misses for worker, info in after.items()}
    used = sum(info.hits - before[worker].hits for worker, info in after.items())
    assert set(opened.values()) <= {0, 1}
    assert sum(opened.values()) >= 1
    assert used >= 10  # blocks


def test_only_so_many_blocks_are_sent_at_a_time(two_workers: Cluster) -> None:
    taken: list[int] = []

    def blocks() -> Iterator[int]:
        for i in range(50):
            taken.append(i)
            yield i

    with block_mapper(two_workers.address, None, Silent()) as map_blocks:
        for done, _ in enumerate(map_blocks(abs, blocks())):  # type: ignore[arg-type]
            assert len(taken) <= done + 4  # two a worker
    assert sorted(taken) == list(range(50))


def test_the_command_extracts_on_a_cluster_and_on_processes_of_its_own(
    two_workers: Cluster, result: Callable[..., Any], faces_study: Path, tmp_path: Path
) -> None:
    study = str(faces_study)
    counts = ("samples", "absent", "cached", "extracted", "quarantined", "distinct", "id")
    here = extract_job(study, Options(root=str(tmp_path / "here"), device="cpu", quiet=True))["features"]["image"]
    for name, where in (("there", ("--dask", two_workers.address)), ("local", ("--workers", "2"))):
        there = result("extract", study, "--device", "cpu", *where, root=tmp_path / name)["features"]["image"]
        assert {count: there[count] for count in counts} == {count: here[count] for count in counts}
        assert there["receipt"]["samples"] == 48
        decoders = {"there": decode_threads(), "local": max(1, decode_threads() // 2)}[name]
        assert there["receipt"]["decode_workers"] == decoders
        assert there["receipt"]["stages"]["embed"] > 0


def test_processes_share_the_cores_this_one_may_use_and_keep_the_settings_of_dask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    trim = dask.config.get("distributed.nanny.pre-spawn-environ")["MALLOC_TRIM_THRESHOLD_"]
    with connected(None, 2) as client:
        assert set(client.run(os.environ.get, "OMP_NUM_THREADS").values()) == {"3"}
        assert set(client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()) == {str(trim)}


def test_processes_of_this_machine_listen_on_loopback_only() -> None:
    with connected(None, 1) as client:
        workers = client.run(os.getpid).values()
        listening = [
            (pid, place.laddr.ip)
            for pid in (os.getpid(), *workers)
            for place in psutil.Process(pid).net_connections("inet")
            if place.status == psutil.CONN_LISTEN
        ]
    assert {pid for pid, _ in listening} == {os.getpid(), *workers}
    assert {ip for _, ip in listening} <= {"127.0.0.1", "::1"}


def test_blocks_go_to_workers_that_advertise_a_gpu(two_workers: Cluster, clips: list[Sample], tmp_path: Path) -> None:
    two_workers.start_worker("--resources", "GPU=1", "--name", "with-gpu")
    extractor = acoustic(tmp_path / "runs")
    try:
        with Client(two_workers.address) as client:
            client.wait_for_workers(3, timeout=60)
            assert places(client) == (1, True)
            with block_mapper(two_workers.address, None, Silent()) as map_blocks:
                extract(extractor, clips, extractor.inputs.root, RUNTIME, report=Silent(), map_blocks=map_blocks)
            workers = client.scheduler_info(n_workers=-1)["workers"]
            opened = client.run(loop._opened.cache_info)
            [gpu] = [address for address, worker in workers.items() if worker["name"] == "with-gpu"]
            assert opened[gpu].misses == 1
            assert opened[gpu].hits >= 10
    finally:
        two_workers.workers[-1].kill()


def test_a_block_that_kills_every_worker_is_given_up_with_a_message() -> None:
    with (
        block_mapper(None, 1, Silent()) as map_blocks,
        pytest.raises(ConnectionError, match="lost its worker too often"),
    ):
        list(map_blocks(os._exit, [1]))  # type: ignore[arg-type,list-item]


def test_a_worker_that_dask_cannot_close_at_once_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    join, joined = AsyncProcess.join, []

    async def stumble(process: AsyncProcess, timeout: float | None = None) -> None:
        joined.append(timeout)
        await join(process, timeout)
        raise AssertionError("can only join a started process")

    with cluster_here(1) as cluster:
        monkeypatch.setattr(AsyncProcess, "join", stumble)
    assert joined
    assert cluster.status == Status.closed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 2, "dask": "tcp://127.0.0.1:1"}, "give one of them"),
        ({"workers": 0}, "--workers should be at least 1, got 0"),
        ({"workers": 10**6}, "--workers should be 1024 at most, got 1,000,000"),
        ({"decode_workers": 10**9}, "--decode-workers should be 1024 at most"),
        ({"dask": "local:2"}, "--workers N"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Options(**options)
