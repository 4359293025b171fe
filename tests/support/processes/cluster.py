"""Several `stepwell serve` processes on one database, which share their settings and their folder of files.

Steps made by `held_step` are jobs of an emulated worker. Each runs until the test ends it.
"""

import asyncio
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import asyncpg
import httpx

from stepwell.contract.enums import ProviderType
from support.database.postgres import connected
from support.emulators.custom import CustomEmulator, CustomJob
from support.processes.stepwell_process import READY_S, StepwellProcess, start
from support.providers.emulated import World
from support.providers.emulated_in_thread import emulated
from support.service.live_service import ENDED, SECRET, WEBHOOK_SECRET, token

WORKFLOWS = "/api/v1/workflows/"
RESPONSE_S = 120.0  # the longest that a test waits for one response; the service itself gives up earlier
WAIT_S = 120.0
STORED = """
SELECT w.status, s.status, s.task_id, s.depends_on FROM workflows AS w JOIN steps AS s ON s.workflow_id = w.id
WHERE w.id = $1 ORDER BY s.position
"""
Json = dict[str, Any]


class StoredStep(NamedTuple):
    """A step as it is stored. `needs`: the positions of the steps that it depends on."""

    status: str
    task_id: str
    needs: list[int]


class Member:
    """A process of the cluster. `owner` is its id in the database. `open_requests` counts those that a test counts."""

    def __init__(self, process: StepwellProcess) -> None:
        self.process, self.owner, self._killed = process, "", False
        self.open_requests = 0
        self.client = self.client_for(token())

    def client_for(self, bearer: str | None) -> httpx.AsyncClient:
        """Return a client with another token, or without one. The caller closes it."""
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        # The service closes a connection that is idle for 5 s, perhaps just when a request is sent on it.
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=1)
        return httpx.AsyncClient(
            base_url=self.process.url, headers=headers, timeout=RESPONSE_S, limits=limits, trust_env=False
        )

    @property
    def alive(self) -> bool:
        return not self._killed and self.process.process.poll() is None

    async def kill(self) -> None:
        """Send SIGKILL, and wait until the process has gone."""
        self._killed = True
        await asyncio.to_thread(self.process.kill)

    def stop(self) -> None:
        """Send SIGSTOP."""
        self.process.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Send SIGCONT."""
        self.process.process.send_signal(signal.SIGCONT)

    async def verb(self, workflow_id: str, verb: str, **options: Any) -> httpx.Response:
        """Send a verb. "update" is a PATCH of the description."""
        method, path, body = verb_request(workflow_id, verb)
        return await self.client.request(method, path, json=body, **options)

    async def get(self, workflow_id: str) -> Json:
        response = await self.client.get(WORKFLOWS + workflow_id)
        assert response.status_code == 200, response.text
        return cast("Json", response.json())

    async def events(self, workflow_id: str) -> list[Json]:
        response = await self.client.get(f"{WORKFLOWS}{workflow_id}/events", params={"limit": 1000})
        assert response.status_code == 200, response.text
        return cast("list[Json]", response.json()["events"])

    async def until(self, workflow_id: str, wanted: Callable[[Json], bool], within_s: float = WAIT_S) -> Json:
        """Return the workflow once it is as wanted."""
        found, began = Json(), time.monotonic()
        try:
            async with asyncio.timeout(within_s):
                while not wanted(found := await self.get(workflow_id)):
                    await asyncio.sleep(min(max(0.02, 0.1 * (time.monotonic() - began)), 0.25))
        except TimeoutError:
            raise AssertionError(f"not within {within_s} s: {found}") from None
        return found

    async def until_ended(self, workflow_id: str) -> Json:
        return await self.until(workflow_id, lambda workflow: workflow["status"] in ENDED)


class Cluster:
    """The processes. *public_port*: the first process listens there, and providers send their callbacks there."""

    def __init__(self, sql: asyncpg.Connection, folder: Path, worker: World, settings: dict[str, str]) -> None:
        self.sql, self._folder, self._worker, self._settings = sql, folder, worker, settings
        self.members: list[Member] = []
        self._port, self._asking = _free_port(), asyncio.Lock()

    @property
    def worker(self) -> CustomEmulator:
        return cast("CustomEmulator", self._worker.emulator)

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def add(self, count: int = 1) -> list[Member]:
        """Start so many processes, and return them when they are ready."""
        env = self._settings | {"STEPWELL_PUBLIC_URL": self.public_url}
        options = [("--port", str(self._port)) if not self.members and not n else () for n in range(count)]
        started = [start("serve", self._folder / "data", env, *each, logs=self._folder) for each in options]
        try:
            await asyncio.gather(*(asyncio.to_thread(each.wait_ready, READY_S * 2) for each in started))
        except BaseException:
            for each in started:
                each.kill()
            raise
        added = [Member(each) for each in started]
        self.members += added
        return added

    async def identify(self) -> None:
        """Find out the `owner` of each process that has none yet."""
        for member in self.members:
            if not member.owner:
                created = await self.create(member, held_step("probe"))
                member.owner = await self.until_owned(created["id"])
                assert (await member.verb(created["id"], "cancel")).status_code == 200

    async def remove(self, member: Member) -> None:
        """Kill a process and forget it."""
        await member.kill()
        self.members.remove(member)
        await member.client.aclose()

    async def aclose(self) -> None:
        for member in self.members:
            member.process.kill_group()
            await member.client.aclose()

    async def create(self, member: Member, *steps: Json, start: bool = True, **fields: Any) -> Json:
        """Create a workflow at *member*, which runs it if it is started."""
        body = {"name": "a test", "origin_instance": "tests", "steps": list(steps), **fields}
        response = await member.client.post(WORKFLOWS, params={"start": start}, json=body)
        assert response.status_code == 201, response.text
        return cast("Json", response.json())

    async def steps_of(self, workflow_id: str) -> tuple[str, list[StoredStep]]:
        """Return the status of the workflow, and its steps, as they are stored. It costs less than a request."""
        async with self._asking:
            rows = await self.sql.fetch(STORED, workflow_id)
        return rows[0][0], [StoredStep(status, str(task_id), list(needs)) for _, status, task_id, needs in rows]

    async def owner_of(self, workflow_id: str) -> str | None:
        """Return the id of the process that runs the workflow."""
        async with self._asking:
            found = await self.sql.fetchval("SELECT owner FROM workflows WHERE id = $1", workflow_id)
        return None if found is None else str(found)

    async def until_owned(self, workflow_id: str, *, by_other_than: str = "") -> str:
        """Wait until a process, and another one than *by_other_than*, runs the workflow. Return its id."""
        try:
            async with asyncio.timeout(WAIT_S):
                while (owner := await self.owner_of(workflow_id)) in (None, by_other_than):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"no other process took over workflow {workflow_id}") from None
        assert owner is not None
        return owner

    def jobs_of(self, prompt: str) -> list[CustomJob]:
        """Return the jobs that the worker has accepted for this prompt."""
        return self.worker.jobs_with("prompt", prompt)

    async def until_job(self, prompt: str, count: int = 1) -> list[CustomJob]:
        """Wait until the worker has accepted so many jobs for this prompt."""
        async with asyncio.timeout(WAIT_S):
            while len(jobs := self.jobs_of(prompt)) < count:
                await asyncio.sleep(0.01)
        return jobs

    def end_job(self, job: CustomJob, status: str = "succeeded") -> None:
        """End a job. The worker calls back once."""
        self._worker.end_job(job, status)


@asynccontextmanager
async def running_cluster(dsn: str, folder: Path, count: int, **settings: str) -> AsyncIterator[Cluster]:
    """Run *count* processes on the migrated database at *dsn*. *settings* are named without STEPWELL_, in any case."""
    named = {f"STEPWELL_{name.upper()}": value for name, value in settings.items()}
    with emulated(folder, (ProviderType.CUSTOM,)) as worlds:
        (worker,) = worlds
        worker.hold()
        worker.emulator.retryable = False
        env = {
            "STEPWELL_DATABASE_URL": dsn,
            "STEPWELL_JWT_SECRET": SECRET,
            "STEPWELL_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STEPWELL_DATA_DIR": str(folder / "data"),
            "STEPWELL_DEFAULT_PROVIDER": "LOCAL",
            "STEPWELL_BREAKER_FAILURES": "0",
            "STEPWELL_MAX_STEPS_PER_PROVIDER": "10000",
            "STEPWELL_MAX_RUNNING_STEPS": "10000",
            "STEPWELL_GRACE_S": "2",
            "STEPWELL_LOG_LEVEL": "warning",
            **worlds.environment,
            "STEPWELL_POLL_INTERVAL_S": "0.1",
            **named,
        }
        async with connected(dsn) as sql:
            cluster = Cluster(sql, folder, worker, env)
            try:
                await cluster.add(count)
                yield cluster
            finally:
                with suppress(ProcessLookupError):
                    for member in cluster.members:
                        member.go_on()
                await cluster.aclose()


def held_step(step_id: str, *depends_on: str, prompt: str | None = None, **members: Any) -> Json:
    """Return a step that runs until `Cluster.end_job`. By default the worker knows it by the step's id."""
    return {
        "id": step_id,
        "task_type": "LLM_INTERACTION",
        "config": {"prompt": prompt or step_id},
        "provider_config": {"provider_type": "CUSTOM"},
        "depends_on": list(depends_on),
        **members,
    }


def quick_step(step_id: str, *depends_on: str, **config: Any) -> Json:
    """Return a step that ends at once."""
    return {"id": step_id, "task_type": "PASSTHROUGH", "config": config, "depends_on": list(depends_on)}


def verb_request(workflow_id: str, verb: str) -> tuple[str, str, Json | None]:
    """Return method, path and body of a verb. "update" is a PATCH of the description."""
    path = WORKFLOWS + workflow_id
    match verb:
        case "update":
            return "PATCH", path, {"description": "changed"}
        case "cancel":
            return "DELETE", path, None
        case "delete_data":
            return "DELETE", f"{path}/data", None
        case _:
            return "POST", f"{path}/{verb}", None


def anyone(members: Collection[Member], chance: random.Random) -> Member:
    """Return a random process that hasn't been killed."""
    return chance.choice([member for member in members if member.alive])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
