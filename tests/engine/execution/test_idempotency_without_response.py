"""Keys of requests that end without an effect or without a response: a repeat in any process is handled correctly."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from stepwell.basics.errors import StillRunning, Unavailable
from stepwell.basics.idempotency import KeyClaim
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.enums import DeliveryStatus
from stepwell.engine.execution import idempotency, workflow_access
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.persistence.clock import uuid7
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_tables import DeliveryRow, KeyRow
from support.database.failing_store import BEFORE, use_failing_store
from support.emulators.webhook_receiver import WebhookReceiver, running_sink
from support.providers.scripted import Hang, ScriptedProvider, eventually, scripted_step
from support.service.live_service import Service, running_service

WORKFLOWS = "/api/v1/workflows/"
BODY: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": [scripted_step("a")]}
KEY = {"Idempotency-Key": "k"}
NOBODY = UUID(int=0)


@pytest.fixture
async def one(memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(idempotency, "OUTAGE_RETRY_S", 0.02)
    provider = ScriptedProvider(default=Hang())
    async with running_service(memory, tmp_path / "1", providers=[provider], exclusive=False, grace_s=1) as service:
        yield service


@pytest.fixture
async def other(one: Service, memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    provider = ScriptedProvider(default=Hang())
    async with running_service(memory, tmp_path / "2", providers=[provider], exclusive=False, grace_s=1) as service:
        yield service


@pytest.fixture
async def sink() -> AsyncIterator[WebhookReceiver]:
    async with running_sink() as sink:
        yield sink


async def create(service: Service, **headers: str) -> httpx.Response:
    return await service.client.post(WORKFLOWS, json=BODY, headers=KEY | headers)


def only_key(memory: MemoryDatabase) -> KeyRow:
    """Return the row of the only key."""
    (row,) = memory.tables.keys.values()
    return row


def only_delivery(memory: MemoryDatabase) -> DeliveryRow:
    """Return the row of the only delivery of the only workflow."""
    (workflow,) = memory.tables.workflows.values()
    (row,) = workflow.deliveries.values()
    return row


async def wait_until_released(memory: MemoryDatabase) -> None:
    await eventually(lambda: not memory.tables.keys, "the key is released")


async def wait_until_disowned(memory: MemoryDatabase) -> None:
    await eventually(lambda: only_key(memory).owner == NOBODY, "any process may respond")


async def assert_counts_as_first(service: Service, memory: MemoryDatabase) -> None:
    """Assert that a request with the key is handled as the first one."""
    response = await create(service)
    assert (response.status_code, "idempotency-replayed" in response.headers) == (201, False)
    assert len(memory.tables.workflows) == 1


def keys_of(service: Service) -> Any:
    return service.app.stores.database.keys


async def raise_unavailable(*_: Any) -> Any:
    raise Unavailable("the database is away")


def losing_the_response(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return *call* with a response that gets lost after it has taken effect."""

    async def lost(*values: Any) -> Any:
        await call(*values)
        raise Unavailable("the outcome is lost")

    return lost


async def test_a_key_that_could_not_be_released_is_released_once_the_database_is_back(
    one: Service, other: Service, memory: MemoryDatabase
) -> None:
    use_failing_store(one).inserts.append(BEFORE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys_of(one), "release", raise_unavailable)
        assert (await create(one)).status_code == 503
        response = await create(other)
        assert (response.status_code, response.headers["retry-after"]) == (409, "1")
    await wait_until_released(memory)
    await assert_counts_as_first(other, memory)


async def test_a_claim_whose_result_was_lost_is_released(
    one: Service, other: Service, memory: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_of(one), "claim", losing_the_response(keys_of(one).claim))
    assert (await create(one)).status_code == 503
    await wait_until_released(memory)
    await assert_counts_as_first(other, memory)


async def test_a_claim_that_arrives_after_its_release_is_released_again(
    one: Service, other: Service, memory: MemoryDatabase, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, claims = keys_of(one), list[tuple[Any, ...]]()
    claim, release, released = keys.claim, keys.release, list[Any]()

    async def late(*values: Any) -> Any:
        claims.append(values)
        raise Unavailable("the outcome is lost")

    async def release_first(batch: Any) -> None:
        await release(batch)
        released.extend(batch)
        if len(released) == 1:
            assert (await claim(*claims[0])).mine

    monkeypatch.setattr(keys, "claim", late)
    monkeypatch.setattr(keys, "release", release_first)
    assert (await create(one)).status_code == 503
    await eventually(lambda: len(released) == 1 and len(memory.tables.keys) == 1, "the claim has arrived")
    clock.advance(one.app.services.idempotency.statement_s + 1)
    await eventually(lambda: len(released) == 2, "it is released again")
    assert released[0] == released[1]
    await assert_counts_as_first(other, memory)


async def test_a_late_claim_cannot_take_the_key_from_a_later_one(one: Service, memory: MemoryDatabase) -> None:
    clock = one.app.process.clock
    late, now = uuid7(clock.now() - timedelta(seconds=1)), uuid7(clock.now())
    assert (await keys_of(one).claim(EVERY_TENANT, "k", now, b"")).mine
    with pytest.raises(StillRunning):
        await keys_of(one).claim(EVERY_TENANT, "k", late, b"")
    assert only_key(memory).token == now


@pytest.mark.parametrize("place", ["claim", "store_response"])
async def test_a_cancelled_request_releases_or_hands_over_its_key(
    one: Service, other: Service, memory: MemoryDatabase, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    reached, inner = asyncio.Event(), getattr(keys_of(one), place)

    async def halt(*values: Any) -> Any:
        if place == "claim":
            await inner(*values)
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(keys_of(one), place, halt)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        request = group.create_task(create(one))
        await reached.wait()
        assert (await create(other)).status_code == 409
        request.cancel()
    if place == "claim":
        await wait_until_released(memory)
        await assert_counts_as_first(other, memory)
    else:
        await wait_until_disowned(memory)
        response = await create(other)
        assert (response.status_code, response.headers["idempotency-replayed"]) == (201, "true")
        assert len(memory.tables.workflows) == 1


async def test_another_process_responds_for_a_verb_once_that_is_decided(
    one: Service, other: Service, memory: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow, workflow_store = await one.create(scripted_step("a")), use_failing_store(one)
    monkeypatch.setattr(workflow_access, "COMMIT_S", 0.1)
    workflow_store.gate.clear()
    path = f"{WORKFLOWS}{workflow['id']}/pause"
    assert (await one.client.post(path, headers=KEY)).status_code == 503
    assert (await other.client.post(path, headers=KEY)).status_code == 409
    assert not one.app.services.idempotency.unreleased
    workflow_store.gate.set()
    await wait_until_disowned(memory)
    response = await other.client.post(path, headers=KEY)
    assert (response.status_code, response.json()["status"]) == (200, "PAUSED")
    assert response.headers["idempotency-replayed"] == "true"
    assert [event["type"] for event in await one.events(workflow["id"])].count("workflow.paused") == 1


async def test_the_number_of_unreleased_keys_is_bounded(one: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "_MOST_UNRELEASED", 2)
    monkeypatch.setattr(keys_of(one), "release", raise_unavailable)
    use_failing_store(one).inserts.extend([BEFORE] * 3)
    for key in ("k", "l", "m"):
        assert (await create(one, **{"Idempotency-Key": key})).status_code == 503
    assert {each.key for each in one.app.services.idempotency.unreleased} <= {"l", "m"}


async def test_a_key_lasts_two_days_from_the_request_that_took_effect(
    one: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_of(one), "release", raise_unavailable)
    use_failing_store(one).inserts.append(BEFORE)
    assert (await create(one)).status_code == 503
    clock.advance(47 * 3600)
    first = await create(one)
    assert first.status_code == 201
    clock.advance(47 * 3600)
    again = await create(one)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


class TestRedelivery:
    async def _delivered(self, one: Service, sink: WebhookReceiver, memory: MemoryDatabase) -> tuple[UUID, str, str]:
        """Return a workflow whose webhook was delivered, the delivery's id, and the path of its redelivery."""
        workflow = await one.create(scripted_step("a"), webhook_url=sink.url())
        assert (await one.verb(workflow["id"], "cancel")).status_code == 200
        await sink.until(1)
        await eventually(lambda: only_delivery(memory).status is DeliveryStatus.DELIVERED)
        name = sink.received[0].id
        return UUID(workflow["id"]), name, f"{WORKFLOWS}{workflow['id']}/deliveries/{name}/redeliver"

    @pytest.mark.parametrize("lost", ["store_response", "redeliver"])
    async def test_a_redelivery_without_a_response_is_sent_once(
        self, one: Service, other: Service, sink: WebhookReceiver, memory: MemoryDatabase, lost: str
    ) -> None:
        _, name, path = await self._delivered(one, sink, memory)
        with pytest.MonkeyPatch.context() as patch:
            if lost == "store_response":
                patch.setattr(keys_of(one), "store_response", raise_unavailable)
            else:
                stored = one.app.stores.database.deliveries
                patch.setattr(stored, "redeliver", losing_the_response(stored.redeliver))
            assert (await one.client.post(path, headers=KEY)).status_code == 503
        await sink.until(2)
        await eventually(lambda: only_delivery(memory).status is DeliveryStatus.DELIVERED)
        await wait_until_disowned(memory)
        response = await other.client.post(path, headers=KEY)
        assert (response.status_code, response.headers["idempotency-replayed"]) == (200, "true")
        assert (response.json()["id"], response.json()["status"]) == (name, "DELIVERED")
        assert len(response.json()["attempts"]) == 2
        assert (await one.client.post(path, headers=KEY)).content == response.content
        assert len(sink.received) == 2

    async def test_a_redelivery_whose_key_was_taken_over_sends_nothing(
        self, one: Service, sink: WebhookReceiver, memory: MemoryDatabase
    ) -> None:
        workflow_id, name, _ = await self._delivered(one, sink, memory)
        with pytest.raises(StillRunning):
            await one.app.services.webhooks.redeliver(
                EVERY_TENANT, workflow_id, name, Preconditions(KeyClaim("every", "k", uuid4()))
            )
        assert only_delivery(memory).status is DeliveryStatus.DELIVERED
        assert len(sink.received) == 1
