"""Two processes on one database: what each returns and notices of a workflow that one of them runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from stepwell.basics.errors import NotFound
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.testing import MemoryDatabase
from stepwell.testing.memory_tables import NEVER
from support.providers.scripted import Hang, ScriptedProvider, eventually, scripted_step
from support.service.live_service import Service, running_service

WORKFLOWS = "/api/v1/workflows/"


@dataclass
class Pair:
    """Two services: *one* runs all workflows."""

    one: Service
    other: Service


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider(script={"a": [Hang()]})


@pytest.fixture
async def pair(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(
                running_service(memory, tmp_path, providers=[provider], exclusive=False, grace_s=1)
            )
            for _ in range(2)
        ]
        yield Pair(one, other)
        provider.release("a")


async def start_hanging(pair: Pair, provider: ScriptedProvider) -> str:
    """Start a workflow at *one* whose step hangs, and return its id."""
    created = await pair.one.create(scripted_step("a"))
    await provider.until_called("a")
    workflow_id: str = created["id"]
    return workflow_id


@pytest.mark.parametrize("verb", ["start", "resume", "cancel", "cleanup"])
async def test_a_dry_run_and_its_verb_have_one_response_if_another_process_runs_the_workflow(
    pair: Pair, provider: ScriptedProvider, verb: str
) -> None:
    path = WORKFLOWS + await start_hanging(pair, provider)
    method, url = ("DELETE", path) if verb == "cancel" else ("POST", f"{path}/{verb}")
    dry = [await each.client.request(method, url, params={"dry_run": True}) for each in (pair.one, pair.other)]
    assert (dry[0].content, dry[0].headers.get("etag")) == (dry[1].content, dry[1].headers.get("etag"))
    response = await pair.other.client.request(method, url)
    allowed = 200 if verb == "cancel" else 409
    assert [each.status_code for each in (*dry, response)] == [allowed] * 3


async def test_a_dry_run_works_for_a_workflow_of_a_dead_process(
    pair: Pair, provider: ScriptedProvider, memory: MemoryDatabase
) -> None:
    path, (state,) = WORKFLOWS + await start_hanging(pair, provider), memory.states()
    assert state.owner is not None
    lease_until, memory.tables.processes[state.owner] = memory.tables.processes[state.owner], NEVER
    response = await pair.other.client.delete(path, params={"dry_run": True})
    assert (response.status_code, response.json()["cancelled"]) == (200, ["a"])
    memory.tables.processes[state.owner] = lease_until


async def start_waiting(group: asyncio.TaskGroup, service: Service, workflow_id: str) -> asyncio.Task[bool]:
    """Start a task that waits for the end of the workflow at *service*."""
    waiter = service.app.services.completion
    asyncio_task = group.create_task(waiter.until_terminal(EVERY_TENANT, UUID(workflow_id), 30))
    await eventually(lambda: UUID(workflow_id) in service.app.engine.bus.watched)
    return asyncio_task


async def test_the_end_of_a_workflow_is_noticed_in_both_processes(
    pair: Pair, provider: ScriptedProvider, memory: MemoryDatabase
) -> None:
    workflow_id = await start_hanging(pair, provider)
    pair.other.app.services.subscriptions.peers.poll_s = 3600
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        here = await start_waiting(group, pair.one, workflow_id)
        there = await start_waiting(group, pair.other, workflow_id)
        await eventually(lambda: memory.tables.workflow_channel.subscribers == 2, "both listen")
        assert not here.done()
        assert not there.done()
        provider.release("a")
        assert await here
        assert await there
    assert await pair.other.app.services.completion.until_terminal(EVERY_TENANT, UUID(workflow_id), 0)
    for service in (pair.one, pair.other):
        assert not service.app.engine.bus.watched


async def test_waiting_ends_without_the_workflows_end_by_a_timeout_or_a_stop(
    pair: Pair, provider: ScriptedProvider
) -> None:
    workflow_id = UUID(await start_hanging(pair, provider))
    waiter = pair.one.app.services.completion
    assert not await waiter.until_terminal(EVERY_TENANT, workflow_id, 0.01)
    with pytest.raises(NotFound):
        await waiter.until_terminal(TenantScope("other"), workflow_id, 30)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = await start_waiting(group, pair.one, str(workflow_id))
        pair.one.app.services.subscriptions.close()
        assert not await task
    assert not await waiter.until_terminal(EVERY_TENANT, workflow_id, 30)  # because the service is stopping
    assert not pair.one.app.engine.bus.watched
