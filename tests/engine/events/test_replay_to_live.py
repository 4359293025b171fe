"""The transition of a stream from stored events to live ones: no event is missing, and none is sent twice."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.definition import WorkflowUpdate
from stepwell.engine.events import event_stream, feed_stream
from stepwell.engine.events.bus import EventBus
from stepwell.engine.events.event_stream import QueuedEvent, SendBuffer
from stepwell.engine.events.feed_stream import FeedSubscriber
from stepwell.engine.events.subscriptions import EventSubscriptions
from stepwell.rules.event_feed import EVERYTHING, FeedCursor
from stepwell.testing import MemoryDatabase
from support.providers.scripted import passthrough_step
from support.service.live_service import Service, running_service
from support.service.sse_client import Frame, parsed

ROUNDS, EACH = 20, 50


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(memory, tmp_path, database_pool=8) as service:
        yield service


def subscriptions_of(service: Service) -> EventSubscriptions:
    return service.app.services.subscriptions


def bus(service: Service) -> EventBus:
    return service.app.engine.bus


class Run:
    """A workflow that is updated all the time until all clients have connected, and a little longer."""

    def __init__(self, service: Service, dice: Random) -> None:
        self.service, self.dice = service, dice
        self.workflow_id = UUID(int=0)
        self.events = self.opened = self.live = 0
        self._waiting: list[tuple[int, asyncio.Event]] = []

    async def write(self) -> None:
        created = await self.service.create(passthrough_step("a"), start=False)
        self.workflow_id, engine = UUID(created["id"]), self.service.app.services
        self.events = 1
        while self.opened < EACH:
            await engine.workflows.update(EVERY_TENANT, "x", self.workflow_id, WorkflowUpdate(name="again"))
            self.events += 1
            for wanted, event in self._waiting:
                if wanted <= self.events:
                    event.set()
        await engine.workflows.update(EVERY_TENANT, "x", self.workflow_id, WorkflowUpdate(name="at last"))
        await engine.workflows.perform(EVERY_TENANT, "x", self.workflow_id, "cancel")

    async def follow(self) -> tuple[int, list[Frame]]:
        """Connect at a random moment, and read all events after a random one. Return that one and the frames."""
        self._waiting.append((self.dice.randrange(1, 12), event := asyncio.Event()))
        await event.wait()
        for _ in range(self.dice.randrange(20)):
            await asyncio.sleep(0)
        after = self.dice.choice((0, 0, self.dice.randrange(self.events), self.events - 1))
        parts = []
        async with subscriptions_of(self.service).follow(EVERY_TENANT, self.workflow_id, after, None) as stream:
            self.opened += 1
            if self.dice.random() < 0.2:
                bus(self.service).invalidate(
                    [self.workflow_id]
                )  # a notification of another process may arrive at any time
            while (part := await stream.next(30)) is not None:
                assert part
                parts.append(part)
            self.live += len(parts) - 1
        assert stream.close_reason is None
        return after, [parsed(block) for block in b"".join(parts).decode().split("\n\n")[:-1]]


@pytest.mark.parametrize(
    ("rounds", "most"),
    [pytest.param(ROUNDS, event_stream.MOST_EVENTS, marks=pytest.mark.extended), (3, 1)],
    ids=["roomy", "narrow"],
)
async def test_a_thousand_clients_that_connect_during_writes_get_each_event_once(
    service: Service, monkeypatch: pytest.MonkeyPatch, rounds: int, most: int
) -> None:
    """*narrow*: the send buffers are almost full, so that streams read the database again and again."""
    monkeypatch.setattr(event_stream, "MOST_EVENTS", most)
    dice, live = Random(7), 0
    for _ in range(rounds):
        run = Run(service, dice)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            clients = [group.create_task(run.follow()) for _ in range(EACH)]
            group.create_task(run.write())
        history = await service.events(str(run.workflow_id))
        assert history[-1]["type"] == "workflow.cancelled"
        for after, came in (client.result() for client in clients):
            assert [frame.data for frame in came] == history[after:]
            assert [int(frame.id or 0) for frame in came] == list(range(after + 1, len(history) + 1))
        live += run.live
    assert live >= rounds * EACH
    assert subscriptions_of(service).open == 0
    assert not bus(service).watched


async def wait_for_random_moment(dice: Random, created: Sequence[UUID]) -> None:
    count = dice.randrange(20)
    while len(created) < count:
        await asyncio.sleep(0)
    for _ in range(dice.randrange(50)):
        await asyncio.sleep(0)


async def check_complete(streams: EventSubscriptions, after: FeedCursor, received: bytes) -> None:
    found = [parsed(block) for block in received.decode().split("\n\n")[:-1]]
    whole = (await streams.page(EVERY_TENANT, EVERYTHING, after, 1_000)).events
    assert [frame.id for frame in found] == [streams.cursors.issue(each.position) for each in whole]
    assert [frame.data["workflow_id"] for frame in found] == [str(each.workflow_id) for each in whole]


@pytest.mark.parametrize(
    "slice_s", [pytest.param(feed_stream._SLICE_S, marks=pytest.mark.extended), -1], ids=["at once", "one by one"]
)
async def test_clients_of_the_feed_that_connect_at_any_moment_get_each_event_once(
    service: Service, monkeypatch: pytest.MonkeyPatch, slice_s: float
) -> None:
    """They connect during writes, and start at a position that some client has reached."""
    monkeypatch.setattr(feed_stream, "_SLICE_S", slice_s)
    dice, streams = Random(11), subscriptions_of(service)
    ids: list[UUID] = []
    positions: list[FeedCursor] = [(await streams.page(EVERY_TENANT, EVERYTHING, None, 1)).position]
    last: list[FeedCursor] = []

    async def write() -> None:
        for _ in range(20):
            created = await service.create(passthrough_step("a"), passthrough_step("b", "a"))
            ids.append(UUID(created["id"]))
        for workflow_id in ids:
            await service.until_ended(str(workflow_id))
        last.append((await streams.page(EVERY_TENANT, EVERYTHING, None, 1_000)).events[-1].position)

    async def follow() -> None:
        await wait_for_random_moment(dice, ids)
        after = dice.choice([dice.choice(positions), None])
        received = b""
        async with streams.follow_all(EVERY_TENANT, EVERYTHING, after) as stream:
            if after is None:
                after = streams.cursors.read(str(stream.position))
            while not last or streams.cursors.read(stream.position or "0") < last[0]:
                received += await stream.next(0.1) or b""
                if stream.position is not None and dice.random() < 0.3:
                    positions.append(streams.cursors.read(stream.position))
        await check_complete(streams, after, received)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(write())
        for _ in range(50):
            group.create_task(follow())
    await check_own_order(service, ids)


async def check_own_order(service: Service, ids: Sequence[UUID]) -> None:
    whole = (await subscriptions_of(service).page(EVERY_TENANT, EVERYTHING, None, 1_000)).events
    for workflow_id in ids:
        mine = [each.event.id for each in whole if each.workflow_id == workflow_id]
        assert mine == list(range(1, len(await service.events(str(workflow_id))) + 1))


def bytes_held_by(events: Sequence[QueuedEvent[FeedCursor]]) -> int:
    """The size of all texts that *events* keep in memory."""
    found: dict[int, object] = {}
    left: list[object] = list(events)
    while left:
        if not isinstance(each := left.pop(), type) and id(each) not in found:
            found[id(each)] = each
            left += gc.get_referents(each)
    return sum(len(each) for each in found.values() if isinstance(each, bytes))


async def test_a_send_buffer_holds_each_event_once(service: Service) -> None:
    reader, buffer = subscriptions_of(service).reader, SendBuffer[FeedCursor]()
    late = FeedSubscriber(EVERY_TENANT, EVERYTHING, buffer, delay_s=60)
    prompt = FeedSubscriber(EVERY_TENANT, EVERYTHING, SendBuffer())
    await reader.join(late, from_now=True)
    buffer.needs_reload = False
    created = await service.create(*(passthrough_step(name) for name in "abc"))
    await service.until_ended(created["id"])
    await reader.join(prompt, from_now=True)  # the reader has read few events until now
    number, queued = len(await service.events(created["id"])), list[QueuedEvent[FeedCursor]]()
    async with asyncio.timeout(30):
        while b"".join(event.frame for event in queued).count(b"\n\n") < number:
            await buffer.wait(asyncio.get_running_loop().time() + 1)
            queued += buffer.take()
    reader.leave(late)
    reader.leave(prompt)
    assert len(queued) < number  # some are sent together
    assert bytes_held_by(queued) == sum(len(event.frame) for event in queued)
