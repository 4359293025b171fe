"""Requests that wait for the end of a workflow: commits that happen during a read of its row are handled correctly."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import pytest
from msgspec import Struct

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.events import completion
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.events.completion import CompletionWaiter
from stepwell.ports.storage import WorkflowReader
from support.providers.scripted import eventually

OURS = UUID(int=1)
RUNNING, FAILED, COMPLETED = WorkflowStatus.RUNNING, WorkflowStatus.FAILED, WorkflowStatus.COMPLETED


class _State(Struct):
    status: WorkflowStatus


class _Record(Struct):
    state: _State


class SlowReader:
    """A store that ends a read when `end_read` is called, with the status of when the read began."""

    def __init__(self) -> None:
        self.status = RUNNING
        self.away = False
        self.reads = 0
        self._answers: deque[asyncio.Event] = deque()

    async def get(self, *_: Any, **__: Any) -> _Record:
        self.reads += 1
        status, answered = self.status, asyncio.Event()
        self._answers.append(answered)
        if self.away:
            raise Unavailable("the database is away")
        await answered.wait()
        return _Record(_State(status))

    @property
    def pending(self) -> int:
        """The number of reads that have not ended."""
        return len(self._answers)

    def end_read(self) -> None:
        self._answers.pop().set()


class World:
    """A bus and a store with one workflow."""

    def __init__(self) -> None:
        self.bus, self.store = EventBus(), SlowReader()

    def commit(self, status: WorkflowStatus) -> None:
        self.store.status = status
        self.bus.publish(CommittedEvents(OURS, None, status, "o", []))

    async def wait_for_read(self, times: int) -> None:
        await eventually(lambda: self.store.reads == times, "it is read")

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[asyncio.Task[bool]]:
        """Run a request that waits, and whose first read is in flight."""
        waits = CompletionWaiter(self.bus, cast("WorkflowReader", self.store)).until_terminal(EVERY_TENANT, OURS, 3600)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            asyncio_task = group.create_task(waits)
            await self.wait_for_read(1)
            yield asyncio_task


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("reads", [1, 2])
async def test_an_end_that_is_published_during_a_read_counts(world: World, reads: int) -> None:
    async with world.waiting() as task:
        if reads == 2:
            world.store.end_read()
            world.bus.invalidate([OURS])
            await world.wait_for_read(2)
        world.commit(COMPLETED)
        world.store.end_read()
        assert await task
    assert world.store.reads == reads


async def test_an_end_before_a_resume_does_not_count(world: World) -> None:
    world.store.status = FAILED
    async with world.waiting() as asyncio_task:
        world.commit(RUNNING)
        world.store.end_read()
        await world.wait_for_read(2)
        world.store.end_read()
        await eventually(lambda: world.store.pending == 0, "its read has ended")
        assert not asyncio_task.done()
        world.commit(COMPLETED)
        assert await asyncio_task
    assert world.store.reads == 2


async def test_a_later_read_that_fails_is_repeated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "OUTAGE_RETRY_S", 0.01)
    async with world.waiting() as task:
        world.store.end_read()
        world.store.away, world.store.status = True, COMPLETED
        world.bus.invalidate([OURS])
        await world.wait_for_read(3)
        world.store.away = False
        await eventually(lambda: world.store.reads > 3, "it is read again")
        world.store.end_read()
        assert await task


async def test_a_first_read_that_fails_raises(world: World) -> None:
    world.store.away = True
    with pytest.raises(Unavailable):
        await CompletionWaiter(world.bus, cast("WorkflowReader", world.store)).until_terminal(EVERY_TENANT, OURS, 3600)
    assert not world.bus.watched
