"""Two `stepwell serve` processes behind a round robin, which are replaced one after the other under load.

The round robin does what a proxy does: it sends each request to the next process, and to the other one if the
connection is refused.
"""

import asyncio
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from support.processes.stepwell_process import StepwellProcess, start
from support.service.live_service import ENDED, SECRET, token

WORKFLOWS = "/api/v1/workflows/"
_READY_S = 120.0
_RESPONSE_S = 60.0
_PAUSE_S = 0.05
Json = dict[str, Any]


@dataclass
class Report:
    """What clients have seen. `statuses` counts responses; `failures` are those that no client should have to expect.

    `cut` counts connections that ended without a response. `waits_s` are the times for which a running workflow had no
    step at work, and `unended` the workflows that haven't ended.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    refused_connections: int = 0
    cut: int = 0
    failures: list[str] = field(default_factory=list)
    workflows: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    unended: list[str] = field(default_factory=list)

    @property
    def longest_wait_s(self) -> float:
        return max(self.waits_s, default=0.0)


class Deployment:
    """The processes, each on a port of its own, and the clients' way to them."""

    def __init__(self, dsn: str, folder: Path, settings: dict[str, str]) -> None:
        self._folder, self.report = folder, Report()
        self._env = {
            "STEPWELL_DATABASE_URL": dsn,
            "STEPWELL_JWT_SECRET": SECRET,
            "STEPWELL_DATA_DIR": str(folder / "data"),
            "STEPWELL_DEFAULT_PROVIDER": "LOCAL",
            "STEPWELL_LOG_LEVEL": "warning",
            **settings,
        }
        self.processes: dict[int, StepwellProcess] = {}
        self._started: list[StepwellProcess] = []
        # A connection for each request: which process has it is decided anew each time.
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token()}"},
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=_RESPONSE_S,
            trust_env=False,
        )

    async def start(self, count: int = 2) -> None:
        """Start so many processes, and return when all are ready."""
        await asyncio.gather(*(self._start(port) for port in free_ports(count)))
        self._turns = itertools.cycle(self.processes)

    async def _start(self, port: int) -> None:
        process = start("serve", self._folder / "data", self._env, "--port", str(port), logs=self._folder)
        self.processes[port] = process
        self._started.append(process)
        await asyncio.to_thread(process.wait_ready, _READY_S)

    async def replace_all(self) -> list[int]:
        """Replace each process: SIGTERM, its end, and a new one that is ready. Return the exit codes."""
        codes = []
        for port, process in list(self.processes.items()):
            codes.append(await asyncio.to_thread(process.terminate))
            await self._start(port)
        return codes

    @property
    def logs(self) -> str:
        """The log lines of all processes that have been started."""
        return "".join(process.stderr for process in self._started)

    async def aclose(self) -> None:
        await self._client.aclose()
        for process in self.processes.values():
            await asyncio.to_thread(process.kill_group)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request until its response isn't 503. It must be safe to send again."""
        while True:
            try:
                response = await self._client.request(method, f"http://127.0.0.1:{next(self._turns)}{path}", **options)
            except httpx.ConnectError:
                self.report.refused_connections += 1
                await asyncio.sleep(0.01)
            except httpx.TransportError:
                self.report.cut += 1
            else:
                self.report.statuses[response.status_code] += 1
                if response.status_code != 503:
                    return response
                if "Retry-After" not in response.headers:
                    self.report.failures.append(f"{method} {path}: 503 without Retry-After")
                await asyncio.sleep(_PAUSE_S)

    async def send(self, method: str, path: str, *expected: int, **options: Any) -> Json:
        """Send a request until its response is as expected, and return its content. Another status is a failure."""
        while (response := await self.request(method, path, **options)).status_code not in expected:
            self.report.failures.append(f"{method} {path}: {response.status_code} {response.text}")
            assert len(self.report.failures) < 10, self.report.failures
        content: Json = response.json()
        return content

    async def create(self, steps: list[Json], *, begin: bool = True) -> str:
        created = await self.send(
            "POST",
            WORKFLOWS,
            201,
            params={"start": begin},
            headers={"Idempotency-Key": str(uuid4())},
            json={"name": "a test", "origin_instance": "tests", "steps": steps},
        )
        self.report.workflows.append(created["id"])
        return str(created["id"])

    async def until_ended(self, workflow_id: str) -> None:
        while (await self.send("GET", WORKFLOWS + workflow_id, 200))["status"] not in ENDED:
            await asyncio.sleep(_PAUSE_S)

    async def use_verbs(self, stop: asyncio.Event) -> None:
        """Be a client that creates workflows, starts, pauses and resumes each of them, and polls it until its end."""
        while not stop.is_set():
            workflow_id = await self.create(chain(20), begin=False)
            for verb in ("start", "pause", "resume"):
                key = {"Idempotency-Key": str(uuid4())}
                # 409: it has ended before the pause, or before the resume.
                await self.send("POST", f"{WORKFLOWS}{workflow_id}/{verb}", 200, 409, headers=key)
            await self.until_ended(workflow_id)

    async def run_chains(self, stop: asyncio.Event) -> None:
        """Be a client that creates one long chain after the other."""
        while not stop.is_set():
            await self.until_ended(await self.create(chain(400)))

    async def examine(self) -> None:
        """Read the history of all workflows, and add to the report how long they stood still, and which didn't end."""
        for workflow_id in self.report.workflows:
            workflow = await self.send("GET", WORKFLOWS + workflow_id, 200)
            if workflow["status"] != "COMPLETED":
                self.report.unended.append(workflow_id)
            events = await self.send("GET", f"{WORKFLOWS}{workflow_id}/events", 200, params={"limit": 1000})
            self.report.waits_s += waits_of(events["events"])


@asynccontextmanager
async def running_deployment(dsn: str, folder: Path, **settings: str) -> AsyncIterator[Deployment]:
    """Run two processes on the database. *settings* are named without STEPWELL_."""
    deployment = Deployment(dsn, folder, {f"STEPWELL_{name}": value for name, value in settings.items()})
    try:
        await deployment.start()
        yield deployment
    finally:
        await deployment.aclose()


async def deploy_under_load(deployment: Deployment, clients: int) -> list[int]:
    """Replace all processes while *clients* of each kind work, and one long attempt runs in each process.

    Return the exit codes. The report has the rest.
    """
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(deployment.use_verbs(stop))
            group.create_task(deployment.run_chains(stop))
        for _ in deployment.processes:
            await deployment.create([large_image()])
        codes = await deployment.replace_all()
        stop.set()
    for workflow_id in deployment.report.workflows:
        await deployment.until_ended(workflow_id)
    await deployment.examine()
    return codes


def waits_of(events: list[Json]) -> list[float]:
    """Return how long the workflow waited for a process each time: it was running, and none of its steps was."""
    waits, working, since = [], set[str](), None
    for event in events:
        at = datetime.fromisoformat(event["at"])
        match event["type"]:
            case "step.started":
                if since is not None and not working:
                    waits.append((at - since).total_seconds())
                working.add(event["step_id"])
                since = None
            case "step.completed":
                working.discard(event["step_id"])
                since = at
            case "workflow.started" | "workflow.resumed":
                since = at
            case "workflow.paused" | "workflow.completed":
                since = None
    return waits


def large_image() -> Json:
    """A step that takes some seconds."""
    config = {"prompt": "x", "width": 3_000, "height": 3_000}
    return {"id": "large", "task_type": "GENERATION", "config": config, "depends_on": []}


def chain(length: int) -> list[Json]:
    """Steps that end at once, one after the other."""
    return [
        {
            "id": f"s{number}",
            "task_type": "PASSTHROUGH",
            "config": {},
            "depends_on": [f"s{number - 1}"] if number else [],
        }
        for number in range(length)
    ]


def free_ports(count: int) -> list[int]:
    """Return ports that no program uses now, and which a process may use again and again."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
