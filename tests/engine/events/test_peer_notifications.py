"""Two processes on one database: who follows in one hears of what the other does, with hints and without."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from stepwell.domain.errors import NotFound, Unavailable
from stepwell.domain.tenancy import EVERY_TENANT, TenantScope
from stepwell.engine.events import peer_notifications
from support.providers.scripted import Hang, Scripted, eventually, passthrough, scripted
from support.service.live_service import Service, running_service, token
from support.service.sse_client import AsgiStream, numbers, streaming

WORKFLOWS = "/api/v1/workflows/"
LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %stepwell_events%'"
)


class Pair:
    """*one* runs all workflows; *other* follows them."""

    def __init__(self, one: Service, other: Service, sql: asyncpg.Connection) -> None:
        self.one, self.other, self.sql = one, other, sql

    @property
    def neighbours(self) -> Any:
        return self.other.app.service.following._peers

    async def listeners(self) -> list[int]:
        return [row["pid"] for row in await self.sql.fetch(LISTENERS)]

    async def until_listening(self) -> None:
        async with asyncio.timeout(30):
            while not await self.listeners():
                await asyncio.sleep(0.01)

    def follow(self, workflow_id: str) -> Any:
        return streaming(self.other.app.api, f"{WORKFLOWS}{workflow_id}/events", token())

    async def waits_for(self, stream: AsgiStream, workflow_id: str) -> int:
        """How many events there were, all of which *stream* has."""
        before = len(await self.one.events(workflow_id))
        await stream.frames(before)
        return before


@pytest.fixture
def provider() -> Scripted:
    return Scripted(script={"a": [Hang()]})


@pytest.fixture
async def pair(dsn: str, tmp_path: Path, provider: Scripted) -> AsyncIterator[Pair]:
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
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hint ever comes."""

    async def lost(*_: Any) -> None:
        raise Unavailable("nobody hears that")

    monkeypatch.setattr("stepwell.persistence.stores.notifications.PostgresNotifications.send", lost)


@pytest.mark.parametrize("verb", ["start", "resume", "cancel", "cleanup"])
async def test_a_dry_run_says_what_the_verb_says_where_another_process_has_the_workflow(
    pair: Pair, provider: Scripted, verb: str
) -> None:
    path = WORKFLOWS + await begun(pair, provider)
    method, where = ("DELETE", path) if verb == "cancel" else ("POST", f"{path}/{verb}")
    answers = [await pair.other.client.request(method, where, params=query) for query in ({}, {"dry_run": True})]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    allowed = 200 if verb == "cancel" else 409
    answers = [await pair.one.client.request(method, where, params=query) for query in ({"dry_run": True}, {})]
    assert [answer.status_code for answer in answers] == [allowed, allowed]


async def test_a_dry_run_of_what_a_dead_process_has_left(pair: Pair, provider: Scripted) -> None:
    path, lease = WORKFLOWS + await begun(pair, provider), "UPDATE processes SET lease_until = clock_timestamp() "
    await pair.sql.execute(lease + "- interval '1 s' WHERE id = (SELECT owner FROM workflows)")
    answer = await pair.other.client.delete(path, params={"dry_run": True})
    assert (answer.status_code, answer.json()["cancelled"]) == (200, ["a"])
    await pair.sql.execute(lease + "+ interval '1 minute'")


async def begun(pair: Pair, provider: Scripted) -> str:
    created = await pair.one.create(scripted("a"))
    await provider.until_called("a")
    workflow_id: str = created["id"]
    return workflow_id


async def test_by_hints(pair: Pair, provider: Scripted) -> None:
    workflow_id = await begun(pair, provider)
    pair.neighbours._poll_s = 3600
    async with pair.follow(workflow_id) as stream, streaming(pair.other.app.api, "/api/v1/events", token()) as feed:
        before = await pair.waits_for(stream, workflow_id)
        await pair.until_listening()
        provider.release("a")
        rest = await stream.rest()
        assert numbers(rest) == list(range(before + 1, before + len(rest) + 1))
        assert [frame.data for frame in rest] == (await pair.one.events(workflow_id))[before:]
        assert [frame.data["id"] for frame in await feed.frames(len(rest))] == numbers(rest)


async def test_without_them(pair: Pair, provider: Scripted, deaf: None, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow_id = await begun(pair, provider)
    pair.neighbours._poll_s = pair.other.app.service.following._reader._poll_s = 0.02
    async with pair.follow(workflow_id) as stream, streaming(pair.other.app.api, "/api/v1/events", token()) as feed:
        before = await pair.waits_for(stream, workflow_id)
        await pair.until_listening()
        provider.release("a")
        rest = await stream.rest()
        assert [frame.data for frame in rest] == (await pair.one.events(workflow_id))[before:]
        assert [frame.data["id"] for frame in await feed.frames(len(rest))] == numbers(rest)


async def test_a_listener_that_is_killed_comes_back(pair: Pair, provider: Scripted) -> None:
    workflow_id = await begun(pair, provider)
    pair.neighbours._poll_s = 3600
    async with pair.follow(workflow_id) as stream:
        before = await pair.waits_for(stream, workflow_id)
        await pair.until_listening()
        (killed,) = await pair.listeners()
        assert await pair.sql.fetchval("SELECT pg_terminate_backend($1)", killed)
        await pair.one.client.patch(WORKFLOWS + workflow_id, json={"name": "while nobody listens"})
        # What it has missed it reads as soon as it listens again.
        assert [frame.type for frame in await stream.frames(1)] == ["workflow.updated"]
        assert killed not in await pair.listeners()
        provider.release("a")
        assert [frame.data for frame in await stream.rest()] == (await pair.one.events(workflow_id))[before + 1 :]


async def test_nobody_listens_or_asks_without_need(
    pair: Pair, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_notifications, "_LINGER_S", 0.05)
    workflow_id = await begun(pair, provider)
    assert await pair.listeners() == []
    asked: list[Collection[UUID]] = []
    ask = pair.neighbours._feed.last_events

    async def last_events(scope: TenantScope, ids: Collection[UUID]) -> Any:
        asked.append(ids)
        return await ask(scope, ids)

    monkeypatch.setattr(pair.neighbours._feed, "last_events", last_events)
    pair.neighbours._poll_s = 0.01
    async with pair.follow(workflow_id) as stream:
        await pair.waits_for(stream, workflow_id)
        await pair.until_listening()
        async with pair.follow(workflow_id):
            await eventually(lambda: len(asked) > 1)
    async with asyncio.timeout(30):
        while await pair.listeners():
            await asyncio.sleep(0.01)
    known = len(asked)
    assert set(map(tuple, asked)) == {(UUID(workflow_id),)}
    await pair.one.client.patch(WORKFLOWS + workflow_id, json={"name": "x"})
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert len(asked) <= known + 1  # one may have been on its way
    assert await pair.listeners() == []


async def test_what_others_say_is_not_believed(pair: Pair, provider: Scripted) -> None:
    """Anybody who may connect can notify: it is a reason to look, whatever it says."""
    workflow_id = await begun(pair, provider)
    pair.neighbours._poll_s = 3600
    async with pair.follow(workflow_id) as stream:
        await pair.waits_for(stream, workflow_id)
        await pair.until_listening()
        for payload in ("", "x", ":", "x:y,z", "x:*", f"x:{UUID(workflow_id).hex},", f"x:{UUID(workflow_id).hex}"):
            await pair.sql.execute("SELECT pg_notify('stepwell_events', $1)", payload)
        provider.release("a")
        rest = await stream.rest()
        assert rest[-1].type == "workflow.completed"


async def test_many_at_once_are_told_by_few_words(pair: Pair) -> None:
    said: list[str] = []
    await pair.sql.add_listener("stepwell_events", lambda *args: said.append(args[-1]))
    for _ in range(5):
        created = [await pair.one.create(passthrough("a")) for _ in range(10)]
        for each in created:
            await pair.one.until_ended(each["id"])
    hints = pair.neighbours._notifications
    ids = [UUID(int=number) for number in range(1_000)]
    await hints.send(ids[:200])
    await hints.send(ids)
    await eventually(lambda: bool(said) and said[-1].endswith(":*"))
    assert all(len(payload) < 8_000 for payload in said)
    assert len(said) < 5 * 10 * 3
    assert {len(payload.split(":")[0]) for payload in said} == {32}


async def waiting(pair: Pair, group: asyncio.TaskGroup, service: Service, workflow_id: str) -> asyncio.Task[bool]:
    awaiting = service.app.service.awaiting
    task = group.create_task(awaiting.until_terminal(EVERY_TENANT, UUID(workflow_id), 30))
    await eventually(lambda: UUID(workflow_id) in service.app.components.engine.bus.watched)
    return task


async def test_an_end_is_awaited_wherever_it_comes_about(pair: Pair, provider: Scripted) -> None:
    workflow_id = await begun(pair, provider)
    pair.neighbours._poll_s = 3600
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        here = await waiting(pair, group, pair.one, workflow_id)
        there = await waiting(pair, group, pair.other, workflow_id)
        await pair.until_listening()
        assert not here.done()
        assert not there.done()
        provider.release("a")
        assert await here
        assert await there
    assert await pair.other.app.service.awaiting.until_terminal(EVERY_TENANT, UUID(workflow_id), 0)
    for service in (pair.one, pair.other):
        assert not service.app.components.engine.bus.watched


async def test_what_ends_waiting_without_an_end(pair: Pair, provider: Scripted) -> None:
    workflow_id = UUID(await begun(pair, provider))
    awaiting = pair.one.app.service.awaiting
    assert not await awaiting.until_terminal(EVERY_TENANT, workflow_id, 0.01)
    with pytest.raises(NotFound):
        await awaiting.until_terminal(TenantScope("other"), workflow_id, 30)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = await waiting(pair, group, pair.one, str(workflow_id))
        pair.one.app.service.following.close()
        assert not await task
    assert not await awaiting.until_terminal(EVERY_TENANT, workflow_id, 30)  # as long as it is stopping
    assert not pair.one.app.components.engine.bus.watched
