"""Faults with Celery workers: every step completes, each result is accepted once, and nothing is done without a reason.

Each trial is one workflow that is under way when the fault happens. It is checked against a ledger of what the workers
did. The ledger is written by an in-process plug-in, which the service and the workers load.
"""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.database.postgres import TestServer, create_database, fresh_folder
from support.processes.celery_workers import RedisServer, Worker, free_port, start_worker
from support.processes.shorter_waits import CALL_S
from support.processes.stepwell_process import StepwellProcess, start, until
from support.providers.ledger import LEDGER, Entry, install_plugin, read_ledger
from support.service.live_service import SECRET, token

TRIALS = 6  # workflows for each fault
AWAY_S = CALL_S + 2
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
END_S = 240.0
WORK_S = 0.4

pytestmark = pytest.mark.extended


@dataclass
class Site:
    """A service, its workers, a broker and a result backend, all of them processes."""

    environ: dict[str, str]
    folder: Path
    broker: RedisServer
    backend: RedisServer
    service: StepwellProcess | None = None
    workers: list[Worker] = field(default_factory=list)
    is_checked: bool = True  # False: a test has failed here

    @property
    def ledger(self) -> Path:
        return Path(self.environ[LEDGER])

    def start_service(self) -> None:
        self.service = start("serve", self.folder / "data", self.environ, logs=self.folder)
        self.service.wait_ready(60)

    def start_worker(self, app: str | None = None) -> Worker:
        worker = start_worker(self.folder, self.environ, "--concurrency", "4", app=app)
        self.workers.append(worker)
        worker.wait_ready()
        return worker

    def restart_ended_workers(self) -> None:
        """Do what a restart policy does: Celery may end a worker that loses its broker while it acknowledges."""
        for worker in [each for each in self.workers if each.process.poll() is not None]:
            self.workers.remove(worker)
            self.start_worker()

    def client(self) -> httpx.Client:
        assert self.service is not None
        headers = {"Authorization": f"Bearer {token()}"}
        return httpx.Client(base_url=self.service.url, headers=headers, timeout=30)

    def begin(self, number: int = TRIALS, **config: Any) -> list[str]:
        """Start workflows of two steps. Returns their ids."""
        step = {
            "task_type": "GENERATION",
            "provider_config": {"provider_type": "CUSTOM"},
            "max_retries": 20,
            "config": {"prompt": "a note", "work_s": WORK_S, **config},
        }
        steps = [step | {"id": "first"}, step | {"id": "second", "depends_on": ["first"]}]
        body = {
            "name": "trial",
            "origin_instance": "tests",
            "steps": steps,
            "config": {"retry": {"base_s": 0.2, "max_s": 1}},
        }
        with self.client() as client:
            responses = [client.post("/api/v1/workflows/", params={"start": True}, json=body) for _ in range(number)]
        assert [response.status_code for response in responses] == [201] * number, responses[0].text
        self.is_checked = False
        return [response.json()["id"] for response in responses]

    def read(self, ids: list[str]) -> list[dict[str, Any]]:
        with self.client() as client:
            return [client.get(f"/api/v1/workflows/{each}").json() for each in ids]

    def wait_at_work(self, ids: list[str]) -> None:
        """Wait until workers have begun some of the workflows, and not all have ended."""
        until(lambda: {each.workflow_id for each in read_ledger(self.ledger)} & set(ids), 60, self.logs)

    def wait_ended(self, ids: list[str]) -> list[dict[str, Any]]:
        deadline = time.monotonic() + END_S
        open_ids, ended = list(ids), dict[str, dict[str, Any]]()
        while open_ids:
            self.restart_ended_workers()
            with suppress(httpx.TransportError):
                for workflow in self.read(open_ids):
                    if workflow["status"] in ENDED:
                        ended[workflow["id"]] = workflow
            open_ids = [each for each in open_ids if each not in ended]
            assert time.monotonic() < deadline, f"{len(open_ids)} are open: {self.read(open_ids[:1])}{self.logs()}"
            time.sleep(0.2)
        return [ended[each] for each in ids]

    def logs(self) -> str:
        service = "" if self.service is None else self.service.stderr[-3000:]
        return service + "".join(worker.log.read_text()[-3000:] for worker in self.workers)

    def check(self, ids: list[str]) -> dict[str, list[Entry]]:
        """Check every workflow against the ledger. Returns its runs by workflow."""
        workflows = self.wait_ended(ids)
        runs = defaultdict[str, list[Entry]](list)
        for entry in read_ledger(self.ledger):
            runs[entry.workflow_id].append(entry)
        with self.client() as client:
            for workflow in workflows:
                assert workflow["status"] == "COMPLETED", f"{workflow}{self.logs()}"
                tasks = client.get(f"/api/v1/workflows/{workflow['id']}/tasks").json()["tasks"]
                events = client.get(f"/api/v1/workflows/{workflow['id']}/events?limit=1000").json()["events"]
                _check_workflow(workflow, tasks, events, runs[workflow["id"]])
        self.is_checked = True
        return runs


def _check_workflow(
    workflow: dict[str, Any], tasks: list[dict[str, Any]], events: list[dict[str, Any]], runs: list[Entry]
) -> None:
    for step in workflow["steps"]:
        name, result = step["step_id"], step["result"]
        completed = [task for task in tasks if task["step_id"] == name and task["status"] == "COMPLETED"]
        assert [task["id"] for task in completed] == [result["task_id"]] == [step["task_id"]], workflow
        assert [output["path"] for output in completed[0]["outputs"]] == [result["path"]]
        assert sum(event["type"] == "step.completed" and event["step_id"] == name for event in events) == 1
        own = [run for run in runs if run.step_id == name]
        assert any(run.task_id == result["task_id"] and run.ended_at is not None for run in own), (step, own)
        assert {run.task_id for run in own} <= {task["id"] for task in tasks}, "an attempt that isn't recorded"
        for task in tasks:
            _check_one_at_a_time([run for run in own if run.task_id == task["id"]])
    first = [run for run in runs if run.step_id == "first" and run.ended_at is not None]
    second = [run for run in runs if run.step_id == "second"]
    assert min(run.began_at for run in second) >= min(run.ended_at or 0 for run in first), "before its dependency"


def _check_one_at_a_time(runs: list[Entry]) -> None:
    """Check that no two runs of an attempt overlap. A run without an end was killed at some time."""
    ended = sorted((run.began_at, run.ended_at) for run in runs if run.ended_at is not None)
    assert all(before[1] <= after[0] for before, after in pairwise(ended)), runs


@contextmanager
def running_site(durable: TestServer) -> Iterator[Site]:
    dsn = durable.dsn(asyncio.run(create_database(durable.dsn())))
    with fresh_folder() as folder, ExitStack() as stack:
        servers = []
        for name in ("broker", "backend"):
            (folder / name).mkdir()
            server = RedisServer(folder / name, free_port())
            server.start()
            stack.callback(server.stop)
            servers.append(server)
        (folder / "data").mkdir()
        environ = install_plugin(folder / "plugin") | {
            "STEPWELL_DATABASE_URL": dsn,
            "STEPWELL_JWT_SECRET": SECRET,
            "STEPWELL_DATA_DIR": str(folder / "data"),
            "STEPWELL_EXECUTOR": "celery",
            "STEPWELL_CELERY_BROKER_URL": servers[0].url,
            "STEPWELL_CELERY_RESULT_BACKEND": servers[1].url,
            "STEPWELL_LEASE_S": "2",
            "STEPWELL_GRACE_S": "2",
        }
        (folder / "plugin/sitecustomize.py").write_text(
            "from support.processes.shorter_waits import shorten_waits\nshorten_waits()\n"
        )
        running = Site(environ, folder, broker=servers[0], backend=servers[1])
        running.start_service()
        try:
            yield running
        finally:
            for worker in running.workers:
                worker.kill()
            if running.service is not None:
                running.service.kill_group()


@pytest.fixture(scope="module")
def sites(durable: TestServer) -> Iterator[Callable[[], Site]]:
    """Return the site of all tests, with one worker. After a failure it is a new one."""
    with ExitStack() as stack:
        latest: list[Site] = []

        def current() -> Site:
            if not latest or not latest[-1].is_checked:
                stack.close()
                latest.append(stack.enter_context(running_site(durable)))
                latest[-1].start_worker()
            return latest[-1]

        yield current


@pytest.fixture
def site(sites: Callable[[], Site]) -> Site:
    return sites()


def kill_a_worker(site: Site) -> None:
    """SIGKILL to all processes of a worker, in the middle of steps."""
    site.workers.pop().kill()
    site.start_worker()


def kill_processes_of_a_worker(site: Site) -> None:
    """SIGKILL to the processes that do the work. Their worker lives, and starts others."""
    for child in site.workers[-1].children():
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def kill_the_coordinator(site: Site) -> None:
    """SIGKILL to the service, in the middle of steps."""
    assert site.service is not None
    site.service.kill_group()
    site.start_service()


def flush_the_broker(site: Site) -> None:
    """Delete all messages."""
    site.broker.client.flushall()


def silence_the_broker(site: Site) -> None:
    """Let the broker respond to nobody until calls to it have failed."""
    site.broker.pause()
    time.sleep(AWAY_S)
    site.broker.go_on()


def take_the_broker_away(site: Site) -> None:
    """Stop the broker for `AWAY_S`. It keeps its messages."""
    site.broker.stop(save=True)
    time.sleep(AWAY_S)
    site.broker.start()


def take_the_backend_away(site: Site) -> None:
    """Stop the result backend until calls to it have failed."""
    site.backend.stop(save=True)
    time.sleep(AWAY_S)
    site.backend.start()


def flush_the_backend(site: Site) -> None:
    """Delete all results and claims."""
    site.backend.client.flushall()


FAULTS: list[Callable[[Site], None]] = [
    kill_a_worker,
    kill_processes_of_a_worker,
    kill_the_coordinator,
    flush_the_broker,
    silence_the_broker,
    take_the_broker_away,
    take_the_backend_away,
    flush_the_backend,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_step_completes_once_under_each_fault(site: Site, fault: Callable[[Site], None]) -> None:
    ids = site.begin()
    site.wait_at_work(ids)
    fault(site)
    site.check(ids)


def test_a_step_runs_once_though_the_coordinator_dies(site: Site) -> None:
    ids = site.begin(4, work_s=2)
    site.wait_at_work(ids)
    kill_the_coordinator(site)
    runs = site.check(ids)
    assert all(len(runs[each]) == 2 for each in ids), "a step ran again, though its worker lived"


def test_steps_that_reach_a_worker_of_an_older_version_are_retried(site: Site) -> None:
    older = site.start_worker(app="support.processes.older_worker")
    ids = site.begin()
    site.wait_at_work(ids)
    site.workers.remove(older)
    older.stop()
    site.check(ids)


def test_a_task_that_is_delivered_twice_is_done_once(site: Site) -> None:
    site.workers.pop().kill()
    site.start_worker(app="support.processes.impatient_broker")
    site.start_worker(app="support.processes.impatient_broker")
    ids = site.begin(4, work_s=2.5)
    runs = site.check(ids)
    assert all(len(runs[each]) == 2 for each in ids), "a second delivery did the work again"
