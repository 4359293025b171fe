"""Two processes on one database: clients of one see what the other commits, with and without notifications.

They run on PostgreSQL, because its LISTEN and NOTIFY are the subject.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.engine.events import peer_notifications
from stepwell.engine.events.peer_notifications import PeerNotifications
from stepwell.persistence.stores.event_feed import PostgresEventFeed
from support.providers.scripted import Hang, ScriptedProvider, eventually, passthrough_step, scripted_step
from support.service.live_service import Service, running_service, token
from support.service.sse_client import AsgiStream, numbers, streaming

WORKFLOWS = "/api/v1/workflows/"
LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %stepwell_events%'"
)


class Pair:
    """Two services: *one* runs all workflows, and clients follow them at *other*."""

    def __init__(self, one: Service, other: Service, sql: asyncpg.Connection) -> None:
        self.one, self.other, self.sql = one, other, sql

    @property
    def peers(self) -> PeerNotifications:
        """The notifications of *other*."""
        return self.other.app.services.subscriptions.peers

    async def listeners(self) -> list[int]:
        """Return the process ids of the connections that listen."""
        return [row["pid"] for row in await self.sql.fetch(LISTENERS)]

    async def until_listening(self) -> None:
        async with asyncio.timeout(30):
            while not await self.listeners():
                await asyncio.sleep(0.01)

    def follow(self, workflow_id: str) -> Any:
        return streaming(self.other.app.api, f"{WORKFLOWS}{workflow_id}/events", token())

    async def read_past(self, stream: AsgiStream, workflow_id: str) -> int:
        """Read all stored events of the workflow from *stream*, and return their number."""
        before = len(await self.one.events(workflow_id))
        await stream.frames(before)
        return before


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider(script={"a": [Hang()]})


@pytest.fixture
async def pair(dsn: str, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(
                running_service(dsn, tmp_path, providers=[provider], exclusive=False, grace_s=1)
            )
            for _ in range(2)
        ]
        sql = await asyncpg.connect(dsn)
        stack.push_async_callback(sql.close)
        yield Pair(one, other, sql)
        provider.release("a")


@pytest.fixture
def no_notifications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every notification fail to be sent."""

    async def fail(*_: Any) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr("stepwell.persistence.stores.notifications.PostgresNotifications.send", fail)


async def start_hanging(pair: Pair, provider: ScriptedProvider) -> str:
    """Start a workflow at *one* whose step hangs, and return its id."""
    created = await pair.one.create(scripted_step("a"))
    await provider.until_called("a")
    workflow_id: str = created["id"]
    return workflow_id


async def test_streams_of_another_process_watch_by_notifications(pair: Pair, provider: ScriptedProvider) -> None:
    workflow_id = await start_hanging(pair, provider)
    pair.peers.poll_s = 3600
    async with pair.follow(workflow_id) as stream, streaming(pair.other.app.api, "/api/v1/events", token()) as feed:
        before = await pair.read_past(stream, workflow_id)
        await pair.until_listening()
        provider.release("a")
        rest = await stream.rest()
        assert numbers(rest) == list(range(before + 1, before + len(rest) + 1))
        assert [frame.data for frame in rest] == (await pair.one.events(workflow_id))[before:]
        assert [frame.data["id"] for frame in await feed.frames(len(rest))] == numbers(rest)


async def test_streams_of_another_process_watch_by_polling_without_notifications(
    pair: Pair, provider: ScriptedProvider, no_notifications: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = await start_hanging(pair, provider)
    pair.peers.poll_s = pair.other.app.services.subscriptions.reader.poll_s = 0.02
    async with pair.follow(workflow_id) as stream, streaming(pair.other.app.api, "/api/v1/events", token()) as feed:
        before = await pair.read_past(stream, workflow_id)
        await pair.until_listening()
        provider.release("a")
        rest = await stream.rest()
        assert [frame.data for frame in rest] == (await pair.one.events(workflow_id))[before:]
        assert [frame.data["id"] for frame in await feed.frames(len(rest))] == numbers(rest)


async def test_a_killed_listener_is_replaced_and_misses_nothing(pair: Pair, provider: ScriptedProvider) -> None:
    workflow_id = await start_hanging(pair, provider)
    pair.peers.poll_s = 3600
    async with pair.follow(workflow_id) as stream:
        before = await pair.read_past(stream, workflow_id)
        await pair.until_listening()
        (killed,) = await pair.listeners()
        assert await pair.sql.fetchval("SELECT pg_terminate_backend($1)", killed)
        await pair.one.client.patch(WORKFLOWS + workflow_id, json={"name": "while nobody listens"})
        # The stream reads what it has missed as soon as the process listens again.
        assert [frame.type for frame in await stream.frames(1)] == ["workflow.updated"]
        assert killed not in await pair.listeners()
        provider.release("a")
        assert [frame.data for frame in await stream.rest()] == (await pair.one.events(workflow_id))[before + 1 :]


async def test_a_process_listens_and_polls_only_while_a_client_watches(
    pair: Pair, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_notifications, "_LINGER_S", 0.05)
    workflow_id = await start_hanging(pair, provider)
    assert await pair.listeners() == []
    polls: list[Collection[UUID]] = []
    poll = PostgresEventFeed.last_events

    async def last_events(feed: PostgresEventFeed, scope: TenantScope, ids: Collection[UUID]) -> Any:
        polls.append(ids)
        return await poll(feed, scope, ids)

    monkeypatch.setattr(PostgresEventFeed, "last_events", last_events)
    pair.peers.poll_s = 0.01
    async with pair.follow(workflow_id) as stream:
        await pair.read_past(stream, workflow_id)
        await pair.until_listening()
        async with pair.follow(workflow_id):
            await eventually(lambda: len(polls) > 1)
    async with asyncio.timeout(30):
        while await pair.listeners():
            await asyncio.sleep(0.01)
    count = len(polls)
    assert set(map(tuple, polls)) == {(UUID(workflow_id),)}
    await pair.one.client.patch(WORKFLOWS + workflow_id, json={"name": "x"})
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert len(polls) <= count + 1  # one may have been in flight
    assert await pair.listeners() == []


async def test_any_payload_of_a_notification_only_leads_to_a_read(pair: Pair, provider: ScriptedProvider) -> None:
    """Everybody who may connect can notify, so a payload proves nothing."""
    workflow_id = await start_hanging(pair, provider)
    pair.peers.poll_s = 3600
    async with pair.follow(workflow_id) as stream:
        await pair.read_past(stream, workflow_id)
        await pair.until_listening()
        for payload in ("", "x", ":", "x:y,z", "x:*", f"x:{UUID(workflow_id).hex},", f"x:{UUID(workflow_id).hex}"):
            await pair.sql.execute("SELECT pg_notify('stepwell_events', $1)", payload)
        provider.release("a")
        rest = await stream.rest()
        assert rest[-1].type == "workflow.completed"


@pytest.mark.extended
async def test_many_commits_are_combined_into_few_short_notifications(pair: Pair) -> None:
    payloads: list[str] = []
    await pair.sql.add_listener("stepwell_events", lambda *args: payloads.append(args[-1]))
    for _ in range(5):
        created = [await pair.one.create(passthrough_step("a")) for _ in range(10)]
        for each in created:
            await pair.one.until_ended(each["id"])
    notifications = pair.other.app.stores.database.notifications
    ids = [UUID(int=number) for number in range(1_000)]
    await notifications.send(ids[:200])
    await notifications.send(ids)
    await eventually(lambda: any(payload.endswith(":*") for payload in payloads))
    assert all(len(payload) < 8_000 for payload in payloads)
    assert len(payloads) < 5 * 10 * 3
    assert {len(payload.split(":")[0]) for payload in payloads} == {32}
