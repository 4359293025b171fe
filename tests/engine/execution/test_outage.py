"""PostgreSQL killed and brought back under load: 503 meanwhile, and then it is as if nothing had been."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.records import TaskRecord
from stepwell.persistence.schema.migrations import migrate
from stepwell.ports.providers import Attempt, AttemptIO
from support.database.failing_store import nothing_left
from support.database.postgres import TestServer, create_database, running_server
from support.providers.scripted import (
    Fail,
    Hang,
    ScriptedProvider,
    Succeed,
    eventually,
    passthrough_step,
    scripted_step,
)
from support.service.live_service import Service, running_service

ROUNDS = 3
STEPS = (
    scripted_step("a"),
    *(scripted_step(f"b{n}", "a") for n in range(3)),
    passthrough_step("c", "b0", "b1", "b2", input_mappings=[{"from_step": "a", "from_field": "f", "to_field": "g"}]),
)
BODY = {"name": "n", "origin_instance": "load", "steps": list(STEPS), "config": {"retry": {"base_s": 0}}}


@pytest.fixture(scope="module")
def own() -> Iterator[TestServer]:
    """A server that may be killed."""
    with running_server() as running:
        yield running


async def killed(own: TestServer) -> None:
    """The whole server dies at once, and is brought back after a while."""
    os.kill(own.pid, signal.SIGKILL)
    await eventually(lambda: not own.embedded.running, "the server is dead")
    await eventually(own.embedded.respawn, "the server starts")
    await asyncio.to_thread(own.embedded.wait_ready)


async def cut_off(own: TestServer) -> None:
    """Every connection of the service is ended by the server."""
    connection = await asyncpg.connect(own.dsn())
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stepwell'"
    )
    await connection.close()


class Load:
    """Clients that make workflows, look at them and rename them, for as long as it lasts."""

    def __init__(self, service: Service, rng: random.Random) -> None:
        self.service, self.rng = service, rng
        self.codes: Counter[int] = Counter()
        self.made: list[str] = []
        self.without_retry_after = 0
        self.over = False

    async def client(self) -> None:
        while not self.over:
            response = await self.send("POST", "/api/v1/workflows/", params={"start": True}, json=BODY)
            if response.status_code == 201:
                self.made.append(response.json()["id"])
            if self.made:
                path = f"/api/v1/workflows/{self.rng.choice(self.made)}"
                await self.send("GET", path)
                await self.send("PATCH", path, json={"description": "d"})
            await asyncio.sleep(0.02)

    async def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        response = await self.service.client.request(method, path, **arguments)
        self.codes[response.status_code] += 1
        if response.status_code == 503 and "retry-after" not in response.headers:
            self.without_retry_after += 1
        return response

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(self.client())
            try:
                yield
            finally:
                self.over = True

    async def more(self, workflows: int = 5) -> None:
        """Until that many more workflows were made."""
        wanted = len(self.made) + workflows
        await eventually(lambda: len(self.made) >= wanted, "the service is back")


@pytest.mark.parametrize("fault", [killed, pytest.param(cut_off, marks=pytest.mark.extended)])
async def test_an_outage_costs_nothing_but_time(own: TestServer, tmp_path: Path, fault: Any) -> None:
    dsn = own.dsn(await create_database(own.dsn()))
    await migrate(dsn)
    provider = ScriptedProvider(script={"b1": [Fail(before=2)] * 10_000}, default=Succeed({"f": 1}))
    async with running_service(dsn, tmp_path, providers=[provider], grace_s=1) as service:
        load = Load(service, random.Random(7))
        async with load.going_on():
            for _ in range(ROUNDS):
                await load.more()
                await fault(own)
            await load.more()
        assert set(load.codes) <= {200, 201, 503}
        assert load.without_retry_after == 0
        if fault is killed:
            assert load.codes[503] >= ROUNDS
        # Those whose response was lost come back a little later.
        async with asyncio.timeout(30):
            while (await service.client.get("/api/v1/workflows/", params={"status": "RUNNING"})).json()["total"]:
                await asyncio.sleep(0.01)
        await eventually(lambda: nothing_left(service), "all has ended")
        await check_all(dsn, provider, load.made)
        assert (await service.client.get("/health/ready")).status_code == 200


async def check_all(dsn: str, provider: ScriptedProvider, made: list[str]) -> None:
    sql = await asyncpg.connect(dsn)
    found = await sql.fetch("SELECT id, status, completed_steps, last_event, owner, epoch FROM workflows")
    assert {(row["status"], row["completed_steps"], row["owner"]) for row in found} == {("COMPLETED", 5, None)}
    # Those whose response was lost are there too.
    assert set(made) <= {str(row["id"]) for row in found}
    for row in found:
        numbers = [
            event["id"]
            for event in await sql.fetch("SELECT id FROM events WHERE workflow_id = $1 ORDER BY id", row["id"])
        ]
        assert numbers == list(range(1, row["last_event"] + 1))
    completed = "SELECT count(*) FROM events WHERE type = 'step.completed' GROUP BY workflow_id, step_id"
    assert {count for (count,) in await sql.fetch(completed)} == {1}
    tasks = await sql.fetch(
        "SELECT t.id, t.workflow_id, s.step_id, t.attempt FROM tasks AS t JOIN steps AS s USING (workflow_id, position)"
        " WHERE t.provider IS NOT NULL"
    )
    calls = Counter((call.task_id, call.workflow_id, call.step_id, call.number) for call in provider.calls)
    assert calls == Counter(tuple(row) for row in tasks), "each attempt ran as often as it is recorded"
    results = await sql.fetch("SELECT result::text FROM steps WHERE step_id = 'c'")
    assert {row["result"] for row in results} == {'{"g":1}'}
    async with asyncio.timeout(60):
        while await sql.fetchval("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"):
            await asyncio.sleep(0.01)
    await sql.close()


async def test_while_the_database_is_away_every_call_says_so(own: TestServer, tmp_path: Path) -> None:
    dsn = own.dsn(await create_database(own.dsn()))
    await migrate(dsn)
    provider = ScriptedProvider()
    async with running_service(dsn, tmp_path, providers=[provider], grace_s=1) as service:
        workflow_id = (await service.create(scripted_step("a"), start=False))["id"]
        os.kill(own.pid, signal.SIGKILL)
        await eventually(lambda: not own.embedded.running, "the server is dead")
        path = f"/api/v1/workflows/{workflow_id}"
        for method, route in [
            ("GET", "/health/ready"),
            ("GET", "/api/v1/workflows/"),
            ("GET", path),
            ("GET", f"{path}/events"),
            ("GET", f"{path}/tasks"),
            ("GET", f"/api/v1/tasks/{workflow_id}"),
            ("GET", f"/api/v1/artifacts/media/{workflow_id}/x"),
            ("POST", f"{path}/start"),
            ("POST", f"{path}/pause"),
            ("POST", f"{path}/resume"),
            ("POST", f"{path}/cleanup"),
            ("DELETE", path),
        ]:
            response = await service.client.request(method, route)
            assert (response.status_code, "retry-after" in response.headers) == (503, True), route
        response = await service.client.patch(path, json={"name": "m"})
        assert (response.status_code, "retry-after" in response.headers) == (503, True)
        assert (await service.client.get("/health/live")).status_code == 200
        await eventually(own.embedded.respawn, "the server starts")
        await asyncio.to_thread(own.embedded.wait_ready)
        assert (await service.get(workflow_id))["status"] == "PENDING"
        assert (await service.verb(workflow_id, "start")).status_code == 200
        assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
        await eventually(lambda: nothing_left(service))


async def test_the_service_may_leave_while_the_database_is_away(own: TestServer, tmp_path: Path) -> None:
    dsn = own.dsn(await create_database(own.dsn()))
    await migrate(dsn)
    provider = ScriptedProvider(script={"a": [Succeed()]})
    async with running_service(dsn, tmp_path, providers=[provider], grace_s=1) as service:
        workflow_id = (await service.create(scripted_step("a"), scripted_step("b", "a"), start=False))["id"]
        assert (await service.verb(workflow_id, "start")).status_code == 200
        os.kill(own.pid, signal.SIGKILL)
    await eventually(lambda: not own.embedded.running, "the server is dead")
    await eventually(own.embedded.respawn, "the server starts")
    await asyncio.to_thread(own.embedded.wait_ready)
    async with running_service(dsn, tmp_path, providers=[provider], grace_s=1) as service:
        assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
        await eventually(lambda: nothing_left(service))


class Pictures(ScriptedProvider):
    """Its step "a" stores a file; the others, once released, read the one that is mapped to them."""

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        if attempt.step_id == "a":
            return {"path": (await io.store("a.bin", b"1")).path}
        result = await super().run(attempt, io)
        return result | {"read": len((await io.fetch(attempt.inputs["reference_image_url"], "image")).data)}


@pytest.mark.extended
async def test_an_attempt_that_asks_whose_a_file_is_waits_for_the_database(
    own: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = own.dsn(await create_database(own.dsn()))
    await migrate(dsn)
    provider = Pictures(default=Hang())
    mapping = {"from_step": "a", "from_field": "path", "to_field": "reference_image_url"}
    steps = scripted_step("a"), scripted_step("b", "a", input_mappings=[mapping], max_retries=0)
    async with running_service(dsn, tmp_path, providers=[provider], grace_s=1) as service:
        workflow_id = (await service.create(*steps))["id"]
        await provider.until_called("b")
        os.kill(own.pid, signal.SIGKILL)
        await eventually(lambda: not own.embedded.running, "the server is dead")
        asked = Counter[str]()
        store = service.app.stores.database.reader
        original = store.task

        async def counted(scope: TenantScope, task_id: UUID) -> TaskRecord | None:
            asked["task"] += 1
            return await original(scope, task_id)

        monkeypatch.setattr(store, "task", counted)
        provider.release("b")
        await eventually(lambda: asked["task"] >= 2, "it has asked in vain, and again")
        await eventually(own.embedded.respawn, "the server starts")
        await asyncio.to_thread(own.embedded.wait_ready)
        workflow = await service.until_ended(workflow_id)
        assert (workflow["status"], workflow["final_step_result"]) == ("COMPLETED", {"read": 1})
        await eventually(lambda: nothing_left(service))
