"""Webhooks of several tenants at one host, rows that have changed since they were read, and unreadable rows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from stepwell.contract.enums import DeliveryStatus
from stepwell.engine.webhooks.deliverer import SendLimits, WebhookDeliverer
from stepwell.lifecycle.webhook_deliveries import DueDelivery
from stepwell.testing import MemoryDatabase
from support.emulators.webhook_receiver import HANG, WebhookReceiver, response_of, running_sink
from support.providers.scripted import ScriptedProvider, eventually, scripted_step
from support.service.live_service import Service, running_service
from support.service.webhook_requests import deliverer_of

PER_LANE = SendLimits().per_lane


@pytest.fixture
async def service(memory_in_real_time: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(
        memory_in_real_time, tmp_path, providers=[ScriptedProvider()], grace_s=1, webhook_timeout_s=60
    ) as service:
        yield service


@pytest.fixture
async def sink() -> AsyncIterator[WebhookReceiver]:
    async with running_sink() as sink:
        yield sink


@pytest.fixture
def deliverer(service: Service) -> WebhookDeliverer:
    return deliverer_of(service)


async def run_with_webhook(service: Service, url: str, **fields: Any) -> str:
    """Run a workflow to its end, with *url* as its webhook, and return its id."""
    created = await service.create(scripted_step("a"), webhook_url=url, **fields)
    workflow_id: str = (await service.until_ended(created["id"]))["id"]
    return workflow_id


def make_unreadable(service: Service, *ids: str) -> None:
    """Let the events of these workflows' deliveries have a type that this version doesn't know."""
    outbox = service.app.stores.database.outbox
    due = outbox.due

    async def due_unreadable(*args: Any) -> list[DueDelivery]:
        return [
            structs.replace(each, event=None, unreadable="of another version") if str(each.workflow_id) in ids else each
            for each in await due(*args)
        ]

    outbox.due = due_unreadable  # type: ignore[method-assign, assignment]


@contextmanager
def sending_nothing(deliverer: WebhookDeliverer) -> Iterator[None]:
    """Let no send start inside the block; all that is due starts after it."""
    limits, deliverer.limits = deliverer.limits, SendLimits(total=0)
    yield
    deliverer.limits = limits
    deliverer.schedule_now("any lane")


async def test_hanging_receivers_delay_no_other_tenant_at_the_same_host(
    service: Service, sink: WebhookReceiver
) -> None:
    sink.response = HANG
    for _ in range(PER_LANE):
        await run_with_webhook(service, sink.url(), origin_tenant_id="x")
    await sink.until(PER_LANE)
    other = await run_with_webhook(service, sink.url(), origin_tenant_id="y")
    await sink.until(1, other)
    sink.gate.set()


@pytest.mark.parametrize("full", ["x", pytest.param(None, marks=pytest.mark.extended)])
async def test_a_tenant_at_its_limit_delays_no_other_at_a_free_host(
    service: Service, sink: WebhookReceiver, deliverer: WebhookDeliverer, full: str | None
) -> None:
    deliverer.limits = SendLimits(per_tenant=PER_LANE)
    async with AsyncExitStack() as stack:
        slow = await stack.enter_async_context(running_sink("127.0.0.2", response=HANG))
        for _ in range(PER_LANE):
            await run_with_webhook(service, slow.url(), origin_tenant_id=full)
        await slow.until(PER_LANE)
        # More than a poll reads of a lane.
        waiting = [await run_with_webhook(service, sink.url(), origin_tenant_id=full) for _ in range(12)]
        for _ in range(3):
            other = await run_with_webhook(service, sink.url(), origin_tenant_id="y")
            await sink.until(1, other)
        await eventually(lambda: deliverer.waiting)
        assert {one.payload["data"]["origin_tenant_id"] for one in sink.received} == {"y"}
        slow.gate.set()
        await sink.until(3 + len(waiting))
        assert sink.times(one.id for one in sink.received) == [1] * 15
        await eventually(lambda: deliverer.sending == 0)
    assert (deliverer.next_due, deliverer.state_size) == (None, 0)


async def test_a_tenant_that_reaches_its_limit_during_a_poll_delays_no_other(
    service: Service, sink: WebhookReceiver, deliverer: WebhookDeliverer
) -> None:
    deliverer.limits = SendLimits(per_tenant=1)
    sink.response = HANG
    with sending_nothing(deliverer):
        for _ in range(12):
            await run_with_webhook(service, sink.url(), origin_tenant_id="x")
        other = await run_with_webhook(service, sink.url(), origin_tenant_id="y")
    assert len(await sink.until(1, other)) == 1
    sink.gate.set()
    await sink.until(13)


@pytest.mark.parametrize("readable", [True, False])
async def test_a_row_read_before_the_last_attempt_was_recorded_is_not_sent(
    service: Service, sink: WebhookReceiver, deliverer: WebhookDeliverer, *, readable: bool
) -> None:
    sink.responses = [response_of(503, retry_after="3600")] if readable else []
    deliverer.delays_s = [0.0, 3_600.0]
    outbox, stale, go_on = service.app.stores.database.outbox, asyncio.Event(), asyncio.Event()
    due, calls = outbox.due, 0

    async def slow_due(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        found = await due(*args)
        if calls == 2:  # this response comes late
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
        with sending_nothing(deliverer):
            first = await run_with_webhook(service, sink.url())
            if not readable:
                make_unreadable(service, first)
        await eventually(lambda: deliverer.sending == 1)
        second = await run_with_webhook(service, sink.url())
        await marked.wait()
        await eventually(lambda: deliverer.sending == 0)
        go_on.set()
        await sink.until(1, second)
        await eventually(lambda: deliverer.sending == 0)
        await eventually(lambda: deliverer.waiting)
    assert (len(sink.of(first)), len(sink.of(second))) == (int(readable), 1)
    assert deliverer.outcomes == {"PENDING": 1, "DELIVERED": 1}


async def test_an_unreadable_row_is_a_failed_attempt(
    service: Service, sink: WebhookReceiver, deliverer: WebhookDeliverer, memory_in_real_time: MemoryDatabase
) -> None:
    deliverer.delays_s = [0.0, 3_600.0]
    with sending_nothing(deliverer):
        unreadable = [await run_with_webhook(service, sink.url()) for _ in range(12)]
        make_unreadable(service, *unreadable)
        readable = await run_with_webhook(service, sink.url())
    await sink.until(1, readable)
    await eventually(lambda: deliverer.sending == 0 and deliverer.outcomes.total() == 13)
    rows = [row for workflow in memory_in_real_time.tables.workflows.values() for row in workflow.deliveries.values()]
    expected = [(DeliveryStatus.PENDING, 1)] * len(unreadable) + [(DeliveryStatus.DELIVERED, 1)]
    assert [(row.status, row.tries) for row in rows] == expected
    errors = [[attempt.error for attempt in row.attempts] for row in rows[:-1]]
    assert errors == [["the service could not make it; its log says why"]] * len(unreadable)
    assert len(sink.received) == 1
