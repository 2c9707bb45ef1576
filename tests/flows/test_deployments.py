"""The three deployments on a real Prefect server with real workers, all on loopback; schedules, and killed workers."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import IO, Any

import psutil
import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Service:
    """A running server with a worker for each pool; `study` is a study file and `root` where it writes."""

    url: str
    environment: dict[str, str]
    study: Path
    root: Path
    log: IO[bytes]
    workers: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def work(self, pool: str) -> None:
        """Start a worker for a pool."""
        command = [PREFECT, "worker", "start", "--pool", pool, "--limit", "1"]
        self.workers[pool] = subprocess.Popen(
            command, env=self.environment, cwd=CHECKOUT, stdout=self.log, stderr=self.log
        )

    def kill(self, pool: str) -> None:
        """Kill the worker of a pool with all it started, as a power cut does, and start another."""
        worker = psutil.Process(self.workers[pool].pid)
        for process in [worker, *worker.children(recursive=True)]:
            process.kill()
        self.workers[pool].wait(timeout=30)
        self.work(pool)

    def prefect(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [PREFECT, "--no-prompt", *arguments],
            env=self.environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, deployment: str, *more: str, study: Path | None = None, check: bool = True) -> str:
        """Start a run of a deployment on the study and return what the command printed."""
        parameters = ["--param", f"study={study or self.study}", "--param", f"options={self.options}"]
        return self.prefect("deployment", "run", deployment, *parameters, *more, check=check)

    @property
    def options(self) -> str:
        return json.dumps({"root": str(self.root), "device": "cpu"})

    def post(self, path: str, *, method: str = "POST", **body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
        )
        while True:
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:  # its SQLite gives up a lock after 60
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503:  # its SQLite is busy: Prefect's own clients ask again too
                    raise
                time.sleep(0.5)

    def artifacts(self, key: str) -> list[dict[str, Any]]:
        """Return the artifacts of a key, oldest first."""
        found = self.post("artifacts/filter", artifacts={"key": {"any_": [key]}})
        return sorted(found, key=lambda artifact: artifact["created"])

    def books(self) -> dict[str, int]:
        """Return the books the latest extraction published for the images."""
        rows = json.loads(self.artifacts("extract-study-books")[-1]["data"])
        return {name: row for name, row in rows[0].items() if name != "feature"}

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Return the runs of a flow, oldest first."""
        found = self.post("flow_runs/filter", flows={"name": {"any_": [flow]}})
        return sorted(found, key=lambda run: run["expected_start_time"])

    def first(self, flow: str, **wanted: Any) -> dict[str, Any]:
        """Wait for a run of a flow with these values and return the first."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            for run in self.runs(flow):
                if wanted.items() <= run.items():
                    return run
            time.sleep(0.2)
        told = [(run["id"], run["state_name"]) for run in self.runs(flow) if run["state_name"] != "Scheduled"]
        raise AssertionError(f"no run of {flow} with {wanted}: {told}")

    def wait_for_heartbeat(self, run: str) -> None:
        """Wait until the server has heard that a run lives."""
        wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
        deadline = time.monotonic() + 120
        while not self.post("events/filter", filter=wanted)["total"]:
            assert time.monotonic() < deadline, f"{run} gave no sign of life"
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_healthy(url: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(240):
        assert server.poll() is None, "the Prefect server ended"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the Prefect server did not come up")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, make_faces: Callable[[Path], Path]) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("prefect")
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home / "home"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
        "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "3",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",  # a schedule of seconds makes many: SQLite would be busy
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.2",
        "PWD": str(CHECKOUT),
        "OMP_NUM_THREADS": "1",
    }
    log = (home / "log").open("wb")
    server = subprocess.Popen(
        [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        stdout=log,
        stderr=log,
    )
    workers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        _wait_healthy(url, server)
        study = make_faces(home / "corpus")
        service = Service(url=url, environment=environment, study=study, root=home / "runs", log=log, workers=workers)
        service.prefect("work-pool", "create", "gpu", "--type", "process")
        service.prefect("work-pool", "create", "cpu", "--type", "process")
        service.prefect("deploy", "--all")
        for deployment in service.post("deployments/filter"):
            for schedule in deployment["schedules"]:  # or whoever tests at 02:00 UTC also runs the demo
                place = f"deployments/{deployment['id']}/schedules/{schedule['id']}"
                service.post(place, method="PATCH", active=False)
        for pool in ("gpu", "cpu"):
            service.work(pool)
        yield service
    finally:
        for process in (*workers.values(), server):
            process.terminate()
        for process in (server, *workers.values()):
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:  # nothing outlives the tests, whatever it waits for
                process.kill()
                process.wait()
        log.close()


def test_three_deployments_complete_and_leave_their_artifacts(service: Service) -> None:
    service.start("extract-features/nightly", "--watch")
    assert service.books() == {"samples": 48, "absent": 0, "cached": 0, "extracted": 48, "quarantined": 0}
    service.start("run-study/weekly", "--watch")
    assert "3 trained" in service.artifacts("study-study-summary")[-1]["data"]
    service.start("write-report/on-demand", "--watch")
    link = service.artifacts("report-study-report")[-1]["data"]
    page = next(service.root.glob("reports/*/index.html"))
    assert page.as_uri() in link
    for flow in ("extract-features", "run-study", "write-report"):
        own = [run for run in service.runs(flow) if not run["auto_scheduled"]]  # the schedules were on for a moment
        assert [run["state_type"] for run in own] == ["COMPLETED"]


def test_the_next_extraction_does_exactly_what_is_new_or_changed(
    service: Service, draw_face: Callable[[Path, str, int], None]
) -> None:
    service.start("extract-features/nightly", "--watch")
    folder = service.study.parent / "faces"
    draw_face(folder / "joy_90.png", "joy", 90)
    draw_face(folder / "fear_91.png", "fear", 91)
    draw_face(folder / "anger_00.png", "anger", 92)
    (folder / "joy_01.png").unlink()
    service.start("extract-features/nightly", "--watch")
    assert service.books() == {"samples": 49, "absent": 0, "cached": 46, "extracted": 3, "quarantined": 0}


def test_blocks_of_a_flow_are_tasks_on_its_dask_cluster(service: Service, tmp_path: Path) -> None:
    pictures = len(list((service.study.parent / "faces").iterdir()))
    options = json.dumps({"root": str(tmp_path / "runs"), "device": "cpu", "workers": 2})
    parameters = ("--param", f"study={service.study}", "--param", f"options={options}")
    service.prefect("deployment", "run", "extract-features/nightly", *parameters, "--watch")
    done = {"samples": pictures, "absent": 0, "cached": 0, "extracted": pictures, "quarantined": 0}
    assert service.books() == done
    named = {"name": {"like_": "extract-block"}}
    assert [run["state_type"] for run in service.post("task_runs/filter", task_runs=named)] == ["COMPLETED"]
    summary = service.artifacts("extract-study-summary")[-1]["data"]
    assert "## What extraction took" in summary
    assert f"| image | {pictures} |" in summary


def test_a_run_still_going_delays_the_next(service: Service) -> None:
    before = {run["id"] for run in service.runs("extract-features")}
    service.start("extract-features/nightly")
    service.start("extract-features/nightly", "--watch")
    deadline = time.monotonic() + 120
    while True:
        first, second = (run for run in service.runs("extract-features") if run["id"] not in before)
        if first["end_time"] and second["end_time"]:
            break
        assert time.monotonic() < deadline, "the two runs did not end"
        time.sleep(1)
    early, late = sorted((first, second), key=lambda run: run["start_time"])
    assert late["start_time"] >= early["end_time"]
    assert {early["state_type"], late["state_type"]} == {"COMPLETED"}


def test_a_failed_run_leaves_an_artifact_that_says_what_failed(service: Service) -> None:
    study = service.study.with_name("typo.toml")
    study.write_text(service.study.read_text().replace("depth = 18", "dept = 18"), encoding="utf-8")
    service.start("extract-features/nightly", "--watch", study=study, check=False)
    told = service.artifacts("extract-typo-failure")[-1]["data"]
    assert "unknown key 'dept'" in told
    assert "did you mean 'depth'" in told


def test_a_schedule_makes_runs_that_complete_and_workers_killed_with_all_they_ran_hold_up_none(
    service: Service, tmp_path: Path
) -> None:
    automations, plan = (yaml.safe_load((CHECKOUT / name).read_text()) for name in ("automations.yaml", "prefect.yaml"))
    automations["automations"][0]["trigger"]["within"] = 10  # seconds, where three minutes are shipped
    options = {"root": str(tmp_path / "runs"), "device": "cpu"}
    plan["deployments"][0]["parameters"] = {"study": str(service.study), "options": options}
    plan["deployments"][0]["schedules"] = [{"interval": 5}]  # seconds
    for name, content in {"automations.yaml": automations, "prefect.yaml": plan}.items():
        (tmp_path / name).write_text(yaml.safe_dump(content))

    deploy = ("deploy", "--name", "nightly", "--prefect-file", str(tmp_path / "prefect.yaml"))
    deploying = Thread(target=service.prefect, args=deploy)
    deploying.start()
    service.prefect("automation", "create", "--from-file", str(tmp_path / "automations.yaml"))
    [automation] = service.post("automations/filter")
    # 10 s are short for a process to start in where others compute: nobody is watched but who is killed
    watch = partial(service.post, f"automations/{automation['id']}", method="PATCH")
    watch(enabled=False)
    deploying.join()
    running = service.first("extract-features", auto_scheduled=True, state_type="PENDING")["id"]
    watch(enabled=True)
    service.wait_for_heartbeat(running)
    service.kill("gpu")
    reporting = service.post("deployments/filter", deployments={"name": {"any_": ["on-demand"]}})[0]["id"]
    report = partial(service.post, f"deployments/{reporting}/create_flow_run", parameters={"study": str(service.study)})
    pending = report()["id"]
    service.first("write-report", id=pending, state_type="PENDING")
    service.kill("cpu")
    held_up = report()["id"]

    for flow, run in {"extract-features": running, "write-report": pending}.items():
        service.first(flow, id=run, state_type="CRASHED")
    watch(enabled=False)
    service.first("write-report", id=held_up, run_count=1)
    assert service.first("extract-features", auto_scheduled=True, state_type="COMPLETED")["id"] != running
