"""Who waits for an end while the table is being looked at: what is told meanwhile counts, and so does what is not."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import pytest
from msgspec import Struct

from stepwell.contract.enums import WorkflowStatus
from stepwell.domain.errors import Unavailable
from stepwell.domain.tenancy import EVERY_TENANT
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


class Slow:
    """A store whose answers are on their way until `answer`: what they say is what was so when it was asked."""

    def __init__(self) -> None:
        self.status = RUNNING
        self.away = False
        self.looks = 0
        self._answers: deque[asyncio.Event] = deque()

    async def get(self, *_: Any, **__: Any) -> _Record:
        self.looks += 1
        seen, answered = self.status, asyncio.Event()
        self._answers.append(answered)
        if self.away:
            raise Unavailable("the database is away")
        await answered.wait()
        return _Record(_State(seen))

    def answer(self) -> None:
        self._answers.pop().set()


class World:
    def __init__(self) -> None:
        self.bus, self.store = EventBus(), Slow()

    def commit(self, status: WorkflowStatus) -> None:
        self.store.status = status
        self.bus.publish(CommittedEvents(OURS, None, status, "o", []))

    async def until_looking(self, times: int) -> None:
        await eventually(lambda: self.store.looks == times, "it looks")

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[asyncio.Task[bool]]:
        """One who waits, and whose first look is on its way."""
        waits = CompletionWaiter(self.bus, cast("WorkflowReader", self.store)).until_terminal(EVERY_TENANT, OURS, 3600)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(waits)
            await self.until_looking(1)
            yield task


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("looks", [1, 2])
async def test_an_end_that_is_told_during_a_look_is_no_less_one(world: World, looks: int) -> None:
    async with world.waiting() as task:
        if looks == 2:
            world.store.answer()
            world.bus.invalidate([OURS])
            await world.until_looking(2)
        world.commit(COMPLETED)
        world.store.answer()
        assert await task
    assert world.store.looks == looks


async def test_an_end_that_was_before_a_resume_is_none(world: World) -> None:
    world.store.status = FAILED
    async with world.waiting() as task:
        world.commit(RUNNING)
        world.store.answer()
        await world.until_looking(2)
        world.store.answer()
        await eventually(lambda: not world.store._answers, "it has its answer")
        assert not task.done()
        world.commit(COMPLETED)
        assert await task
    assert world.store.looks == 2


async def test_a_look_that_fails_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_RETRY_S", 0.01)
    async with world.waiting() as task:
        world.store.answer()
        world.store.away, world.store.status = True, COMPLETED
        world.bus.invalidate([OURS])
        await world.until_looking(3)
        world.store.away = False
        await eventually(lambda: world.store.looks > 3, "it looks again")
        world.store.answer()
        assert await task


async def test_the_first_look_is_the_callers(world: World) -> None:
    world.store.away = True
    with pytest.raises(Unavailable):
        await CompletionWaiter(world.bus, cast("WorkflowReader", world.store)).until_terminal(EVERY_TENANT, OURS, 3600)
    assert not world.bus._watchers
