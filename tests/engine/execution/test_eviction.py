"""Waiting until a workflow isn't in memory: that ends whatever way it leaves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from stepwell.contract.enums import WorkflowStatus
from stepwell.testing import MemoryDatabase
from support.database.failing_store import nothing_left
from support.providers.scripted import Hang, ScriptedProvider, eventually, scripted_step
from support.service.live_service import Service, running_service


@pytest.fixture
def provider() -> ScriptedProvider:
    """Both steps wait for `release`."""
    return ScriptedProvider(script={"a": [Hang()], "b": [Hang()]})


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1) as service:
        yield service


async def start_workflow(service: Service, provider: ScriptedProvider) -> UUID:
    """A workflow of two steps, the first of which runs."""
    created = await service.create(scripted_step("a"), scripted_step("b", "a"))
    await provider.until_called("a")
    return UUID(created["id"])


def waiting(group: asyncio.TaskGroup, service: Service, workflow_id: UUID) -> asyncio.Task[None]:
    return group.create_task(service.app.services.workflows.until_idle(workflow_id))


async def turns(service: Service) -> None:
    """Whoever could go on has: requests have gone to the database and come back."""
    for _ in range(3):
        await service.client.get("/api/v1/workflows/")


async def test_until_it_has_ended_for_all_who_wait(service: Service, provider: ScriptedProvider) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        workflow_id = await start_workflow(service, provider)
        first, second, leaves = (waiting(group, service, workflow_id) for _ in range(3))
        provider.release("a")
        await provider.until_called("b")
        await turns(service)
        assert not any(asyncio_task.done() for asyncio_task in (first, second, leaves))
        leaves.cancel()
        provider.release("b")
        await first
        assert (await service.get(str(workflow_id)))["status"] == "COMPLETED"  # already on disk
        await second
    assert leaves.cancelled()
    await eventually(lambda: nothing_left(service))


async def test_until_a_paused_one_has_nothing_that_runs(service: Service, provider: ScriptedProvider) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        workflow_id = await start_workflow(service, provider)
        idle = waiting(group, service, workflow_id)
        assert (await service.verb(str(workflow_id), "pause")).status_code == 200
        await turns(service)
        assert not idle.done()
        provider.release("a")
        await idle
        workflow = await service.get(str(workflow_id))
        assert workflow["status"] == "PAUSED"
        assert [step["status"] for step in workflow["steps"]] == ["COMPLETED", "PENDING"]
        assert provider.count("b") == 0


async def test_until_it_is_lost(service: Service, provider: ScriptedProvider, memory: MemoryDatabase) -> None:
    other = uuid4()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        workflow_id = await start_workflow(service, provider)
        idle = waiting(group, service, workflow_id)
        memory.take_over(other)
        await turns(service)
        assert not idle.done()  # nobody has found out
        provider.release("a")
        await idle
    assert [(state.owner, state.status) for state in memory.states()] == [(other, WorkflowStatus.RUNNING)]
    await eventually(lambda: nothing_left(service))


async def test_at_once_where_there_is_nothing_to_wait_for(service: Service, provider: ScriptedProvider) -> None:
    async with asyncio.timeout(30):
        provider.release("a", "b")
        workflow_id = await start_workflow(service, provider)
        pending = UUID((await service.create(scripted_step("a"), start=False))["id"])
        await service.app.services.workflows.until_idle(workflow_id)
        for each in (workflow_id, pending, uuid4()):
            # Not even a turn of the loop: it could be closed.
            with pytest.raises(StopIteration):
                service.app.services.workflows.until_idle(each).send(None)
