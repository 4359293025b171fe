"""Webhooks of several tenants at one host; rows that have changed since they were read, or can't be read at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from stepwell.engine.webhooks.deliverer import PER_LANE, WebhookDeliverer
from support.emulators.webhook_receiver import HANG, Sink, answered, running_sink
from support.providers.scripted import Scripted, eventually, scripted
from support.service.live_service import Service, running_service


@pytest.fixture
async def service(dsn: str, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(dsn, tmp_path, providers=[Scripted()], grace_s=1) as service:
        yield service


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as sink:
        yield sink


@pytest.fixture
def dispatcher(service: Service) -> WebhookDeliverer:
    dispatcher = service.app.service.webhooks._dispatcher
    assert isinstance(dispatcher, WebhookDeliverer)
    return dispatcher


async def told_of(service: Service, url: str, **fields: Any) -> str:
    created = await service.create(scripted("a"), webhook_url=url, **fields)
    ended: str = (await service.until_ended(created["id"]))["id"]
    return ended


async def broken(service: Service, *ids: str) -> None:
    """What ended them is told of as no version tells it."""
    sql = await asyncpg.connect(service.dsn)
    ended = "UPDATE events SET type = 'of another version' WHERE type = 'workflow.completed' AND workflow_id = ANY ($1)"
    await sql.execute(ended, [UUID(each) for each in ids])
    await sql.close()


async def looked(dispatcher: WebhookDeliverer) -> None:
    """Until it has looked at all that is due."""
    await eventually(lambda: bool(dispatcher._stirred._waiters) and not dispatcher._stirred.is_set())


async def test_receivers_that_hang_hold_up_no_other_tenant_at_the_same_host(service: Service, sink: Sink) -> None:
    sink.answer = HANG
    for _ in range(PER_LANE):
        await told_of(service, sink.url(), origin_tenant_id="x")
    await sink.until(PER_LANE)
    other = await told_of(service, sink.url(), origin_tenant_id="y")
    await sink.until(1, other)
    sink.gate.set()


@pytest.mark.parametrize("full", ["x", None])
async def test_a_tenant_at_its_limit_holds_up_nobody_at_a_host_that_is_free(
    service: Service, sink: Sink, dispatcher: WebhookDeliverer, monkeypatch: pytest.MonkeyPatch, full: str | None
) -> None:
    monkeypatch.setattr("stepwell.engine.webhooks.deliverer.PER_TENANT", PER_LANE)
    async with AsyncExitStack() as stack:
        slow = await stack.enter_async_context(running_sink("127.0.0.2", answer=HANG))
        for _ in range(PER_LANE):
            await told_of(service, slow.url(), origin_tenant_id=full)
        await slow.until(PER_LANE)
        # More than are looked at where nobody is at a limit.
        waiting = [await told_of(service, sink.url(), origin_tenant_id=full) for _ in range(12)]
        for _ in range(3):
            other = await told_of(service, sink.url(), origin_tenant_id="y")
            await sink.until(1, other)
        await looked(dispatcher)
        assert {one.told["data"]["origin_tenant_id"] for one in sink.received} == {"y"}
        slow.gate.set()
        await sink.until(3 + len(waiting))
        assert sink.times(one.id for one in sink.received) == [1] * 15
        await eventually(lambda: dispatcher.sending == 0)
    assert (dispatcher._tenants, dispatcher._agenda.next(), dispatcher._agenda._held) == ({}, None, {})


async def test_a_tenant_that_gets_to_its_limit_in_one_look_hides_nobody(
    service: Service, sink: Sink, dispatcher: WebhookDeliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.engine.webhooks.deliverer.PER_TENANT", 1)
    sink.answer = HANG
    look, dispatcher._closed = dispatcher._look, True
    for _ in range(12):
        await told_of(service, sink.url(), origin_tenant_id="x")
    other = await told_of(service, sink.url(), origin_tenant_id="y")
    dispatcher._closed = False
    await look()
    assert len(await sink.until(1, other)) == 1
    sink.gate.set()
    await sink.until(13)


@pytest.mark.parametrize("readable", [True, False])
async def test_what_was_read_before_the_last_try_was_marked_is_not_tried(
    service: Service, sink: Sink, dispatcher: WebhookDeliverer, *, readable: bool
) -> None:
    sink.answers = [answered(503, retry_after="3600")] if readable else []
    dispatcher.delays_s = [0.0, 3_600.0]
    outbox, stale, go_on = dispatcher._outbox, asyncio.Event(), asyncio.Event()
    due, calls = outbox.due, 0

    async def slow_due(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        found = await due(*args)
        if calls == 2:  # the answer of this one comes late
            stale.set()
            await go_on.wait()
        return found

    outbox.due = slow_due  # type: ignore[method-assign, assignment]
    marked, mark = asyncio.Event(), outbox.record

    async def slow_mark(*args: Any) -> Any:
        if not marked.is_set():
            await stale.wait()
        again = await mark(*args)
        marked.set()
        return again

    outbox.record = slow_mark  # type: ignore[method-assign, assignment]
    async with asyncio.timeout(30):
        dispatcher._closed = True
        first = await told_of(service, sink.url())
        if not readable:
            await broken(service, first)
        dispatcher._closed = False
        dispatcher.renewed("")
        await eventually(lambda: dispatcher.sending == 1)
        second = await told_of(service, sink.url())
        await marked.wait()
        await eventually(lambda: dispatcher.sending == 0)
        go_on.set()
        await sink.until(1, second)
        await eventually(lambda: dispatcher.sending == 0)
        await looked(dispatcher)
    assert (len(sink.of(first)), len(sink.of(second))) == (int(readable), 1)
    assert dispatcher.outcomes == {"PENDING": 1, "DELIVERED": 1}


async def test_a_row_that_cannot_be_read_is_a_try_that_failed(
    service: Service, sink: Sink, dispatcher: WebhookDeliverer
) -> None:
    dispatcher.delays_s = [0.0, 3_600.0]
    dispatcher._closed = True
    unreadable = [await told_of(service, sink.url()) for _ in range(12)]
    await broken(service, *unreadable)
    whole = await told_of(service, sink.url())
    dispatcher._closed = False
    dispatcher.renewed("")
    await sink.until(1, whole)
    await eventually(lambda: dispatcher.sending == 0 and dispatcher.outcomes.total() == 13)
    sql = await asyncpg.connect(service.dsn)
    rows = await sql.fetch("SELECT status, tries, attempts::text AS told FROM deliveries ORDER BY created_at")
    assert [(row["status"], row["tries"]) for row in rows] == [("PENDING", 1)] * len(unreadable) + [("DELIVERED", 1)]
    assert all("the service could not make it" in row["told"] for row in rows[:-1])
    assert len(sink.received) == 1
    await sql.close()
